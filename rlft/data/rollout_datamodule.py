"""One epoch is one iteration: collect, estimate, then minibatches of what was collected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from rlft.data.begun import Begun
from rlft.data.minibatches import minibatches
from rlft.envs.snapshots import require_snapshots
from rlft.errors import UserError, require
from rlft.files.rows import entries_of, rows_of
from rlft.rollout import IterationRerollouts, Workers, make_rollouts, refuse_idle
from rlft.trajectories.reader import read_trajectories
from rlft.types import (
    ORDINARY,
    REWARD_TERM,
    Actor,
    EnvFactory,
    EnvSource,
    EnvSpec,
    EnvStates,
    Irrelevant,
    Learner,
    LearningRows,
    Length,
    Obs,
    Rerollouts,
    Rollout,
    Rollouts,
    Steps,
    TensorRows,
    Visited,
    generator_at,
    seen_with,
)

NO_VISITED_STATES = Visited.nothing(  # no states to go back to
    EnvStates(
        physics=torch.zeros(0, 0, dtype=torch.uint8),
        task=torch.zeros(0, 0, dtype=torch.float64),
        obs=Obs(state=torch.zeros(0, 0)),
        elapsed=torch.zeros(0, dtype=torch.int64),
        episode=torch.zeros(0, dtype=torch.int64),
    )
)
VALIDATION = "losses/validation_"  # how the names of what held-out data measure begin


def learner_of(trainer: lightning.Trainer | None) -> Learner:
    """The module of a run.

    Raises:
        UserError: if it is no learner.
    """
    assert trainer is not None  # Lightning attaches it before it calls a data module
    module = trainer.lightning_module
    if not isinstance(module, Learner):
        kind = type(module).__name__
        raise UserError(f"model {kind} is no rlft.types.Learner, as FinetuneModule is; it cannot learn from rollouts.")
    return module


class RolloutDataModule(lightning.LightningDataModule, EnvSource):
    """Collects a rollout at the start of every epoch and serves it in minibatches.

    Args:
        env: the environment to act in.
        num_envs: environments stepped in parallel.
        num_steps: env steps per environment and iteration.
        num_minibatches: parts that one pass over an iteration's data is split into; must divide num_envs * num_steps.
        update_epochs: passes over an iteration's data.
        num_workers: processes to simulate in; 0 simulates in the main process, `null` uses one per processor core.
            Several learners have as many each, by default of their share of the cores.
        total_timesteps: env steps to collect in all; sets the number of iterations in place of `trainer.max_epochs`.
        seed: addresses initial states, action noise and shuffling; follows `seed_everything`; outside of the
            command line 1 by default.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.
    """

    shareable = True

    def __init__(
        self,
        env: EnvFactory,
        num_envs: int = 100,
        num_steps: int = 50,
        num_minibatches: int = 5,
        update_epochs: int = 100,
        num_workers: Irrelevant[int | None] = None,
        total_timesteps: Irrelevant[Length[int | None]] = None,
        seed: int | None = None,
        workers: Irrelevant[Workers | None] = None,
    ) -> None:
        super().__init__()
        sizes = {
            "num_envs": num_envs,
            "num_steps": num_steps,
            "num_minibatches": num_minibatches,
            "update_epochs": update_epochs,
        }
        for name, size in sizes.items():
            require(size >= 1, f"data.{name}", size, "at least 1")
        require(num_workers is None or num_workers >= 0, "data.num_workers", num_workers, "at least 0")
        refuse_idle(num_workers, workers)
        self.env = env
        self.num_envs = num_envs
        self.num_steps = num_steps
        self.num_minibatches = num_minibatches
        self.update_epochs = update_epochs
        self._check_batch()
        self.num_workers, self.workers = num_workers, workers
        self.seed = 1 if seed is None else seed
        self.validation_fraction = 0.0  # share of the data that is held out
        self.on_rerollouts: Callable[[int, int], None] = lambda begun, total: None  # for whoever shows progress
        self.rollout: Rollout | None = None  # the running iteration's, for whoever looks at it
        self._replaced = 0  # workers, of which the log knows
        self._states: EnvStates | None = None  # where the environments are; the first iteration starts new episodes
        self._begun = Begun([ORDINARY] * num_envs)

    def _check_batch(self) -> None:
        """Refuses to split a batch into parts of different sizes."""
        if self.batch_size % self.num_minibatches:
            raise UserError(
                f"data.num_minibatches is {self.num_minibatches}, which does not divide the batch of "
                f"{self.num_envs} envs x {self.num_steps} steps = {self.batch_size}."
            )

    def setup(self, stage: str) -> None:
        """Refuses to stop on what is never measured, and too few environments, before anything is simulated."""
        if stage != "fit":
            return
        self._check_early_stopping()
        learner = learner_of(self.trainer)
        self._check_choices(learner.actor)
        if learner.needs_visited:
            require_snapshots(self.rollouts.spec, f"model.advantage {learner.data_settings()['advantage.class']}")
        fewest = learner.fewest_envs
        if self.num_envs < fewest:
            found = self.num_envs
            raise UserError(f"data.num_envs is {found}; model.advantage as configured needs at least {fewest}.")

    def _check_choices(self, actor: Actor) -> None:
        spec, kind = self.rollouts.spec, type(actor).__name__
        if actor.choices != spec.choices:
            has, acts = (
                "any vector" if choices is None else f"one of {choices} choices"
                for choices in (spec.choices, actor.choices)
            )
            raise UserError(
                f"An action of {spec.task} is {has}, but model.actor {kind} decides for {acts}; "
                f"{_remedy(spec.choices, actor.choices)}."
            )

    def _check_early_stopping(self) -> None:
        assert self.trainer is not None
        for stop in self.trainer.early_stopping_callbacks:
            if stop.monitor.startswith(VALIDATION) and not self.validation_fraction:
                raise UserError(
                    f"EarlyStopping on {stop.monitor} needs data OfflineDataModule with validation_fraction above 0."
                )

    @property
    def batch_size(self) -> int:
        """Env steps per iteration."""
        return self.num_envs * self.num_steps

    @property
    def obs_dim(self) -> int:
        """Numbers per observation of the environment."""
        return self.rollouts.spec.obs_dim

    @property
    def action_dim(self) -> int:
        """Numbers per action of the environment."""
        return self.rollouts.spec.action_dim

    @property
    def privileged_dim(self) -> int:
        """Numbers per observation of the environment that only a demonstrator may see."""
        return self.rollouts.spec.privileged_dim

    @property
    def reward_mode(self) -> str | None:
        """Which reward the environment gives; `None` if it knows only one."""
        return getattr(self.env, "reward_mode", None)

    def trajectories(self, path: Path, *, max_episodes: int | None = None, needs_rewards: bool = True) -> Rollout:
        """Episodes of a file, which have to be of this environment; see `read_trajectories`."""
        spec = self.rollouts.spec
        return read_trajectories(
            path,
            spec,
            getattr(self.env, "control_mode", spec.control_mode),
            self.reward_mode,
            task_options=seen_with(self.env.describe(spec)),
            max_episodes=max_episodes,
            needs_rewards=needs_rewards,
        )

    @property
    def data_policy(self) -> str | None:
        """Whose data this is; `None` for that of the module's own policy."""
        return None

    @cached_property
    def rollouts(self) -> Rollouts:
        """The environments; started on first use."""
        return make_rollouts(self.env, self.num_envs, self.num_workers, self.workers)

    def train_dataloader(self) -> RolloutLoader:
        """One iteration per pass."""
        return RolloutLoader(self)

    def val_dataloader(self) -> list[int]:
        """`rlft validate` evaluates in a callback; Lightning's loop needs one batch to run at all."""
        return [0]

    def iterate(self) -> Iterator[TensorRows]:
        """Collects once, then yields `update_epochs * num_minibatches` minibatches."""
        assert self.trainer is not None
        iteration = self.trainer.current_epoch
        batch = self._batch(learner_of(self.trainer), iteration)
        yield from minibatches(batch, self.num_minibatches, self.update_epochs, generator_at([self.seed, iteration]))

    @property
    def updates(self) -> int:
        """Minibatches of an iteration."""
        return self.update_epochs * self.num_minibatches

    def _batch(self, learner: Learner, iteration: int) -> TensorRows:
        """The transitions of one iteration."""
        _, made = self._collect(learner, iteration)
        return made.rows[made.mask]

    def _collect(self, learner: Learner, iteration: int) -> tuple[Rollout, LearningRows]:
        """A new rollout, and what the learner makes of it."""
        started, actor = time.perf_counter(), learner.collector
        rollout, visited = self._act(actor, self.num_steps, iteration, keep_visited=learner.needs_visited)
        told = episode_metrics(rollout, self.rollouts.spec)
        learner.add_metrics({"time/rollout": time.perf_counter() - started, **told})
        learner.add_metrics(self._begun.metrics())
        self.rollout = rollout
        rerollouts = self.rerollouts_from(visited, actor, self.seed, iteration)
        rollout = rollout.to(learner.device)
        made = learner.to_rows(rollout, rerollouts)
        self._count(rollout, rerollouts)
        learner.add_metrics({**rerollouts.metrics(), **self._replacements()})
        return rollout, made

    def _act(
        self,
        actor: Actor,
        num_steps: int,
        address: int,
        *,
        keep_visited: bool = False,
        noise_scale: Tensor | None = None,
    ) -> tuple[Rollout, Visited]:
        """Goes on where the environments are; arguments as of `Rollouts.collect`."""
        if self._states is None:
            self._states = self.rollouts.initial_states(self.seed, self.starts)
            self._begun = Begun.at(self._states.episode, self.starts, self.seed)
        episode = self._states.episode
        rollout, self._states, visited = self.rollouts.collect(
            actor,
            self._states,
            num_steps,
            self.seed,
            address,
            keep_visited=keep_visited,
            noise_scale=noise_scale,
            starts=self.starts,
        )
        self._begun.follow(rollout, episode, self.starts, self.seed)
        return rollout, visited

    def _count(self, rollout: Rollout, rerollouts: Rerollouts) -> None:
        """What it has cost."""
        env = rollout.reward.numel()
        self.steps = Steps(self.steps.env + env, self.steps.sim + env + rerollouts.sim_steps)

    def _replacements(self) -> dict[str, float]:
        """Workers that had to be replaced since the last time; nothing if there were none, as it should be."""
        before, self._replaced = self._replaced, self.rollouts.workers_replaced
        return {"charts/workers_replaced": self._replaced - before} if self._replaced > before else {}

    def rerollouts_from(self, visited: Visited, actor: Actor, seed: int, iteration: int) -> IterationRerollouts:
        """The simulator for an estimator, with the states of a rollout of `actor`, or with `NO_VISITED_STATES`."""
        return IterationRerollouts(self.rollouts, actor, visited, seed, iteration, self._progress)

    def no_rerollouts(self, actor: Actor, iteration: int) -> IterationRerollouts:
        """The simulator without states to go back to."""
        return self.rerollouts_from(NO_VISITED_STATES, actor, self.seed, iteration)

    def _progress(self, begun: int, total: int) -> None:
        """Re-rollouts take minutes, in which Lightning itself would not look for a request to end."""
        if self.trainer is not None and self.trainer.received_sigterm:
            raise SIGTERMException
        self.on_rerollouts(begun, total)

    def state_dict(self) -> dict[str, Any]:
        """Where every environment is: with it a resumed run continues as if it had not stopped."""
        if self._states is None:
            return {}
        return {"states": entries_of(self._states), "stages": list(self._begun.stages)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        if "states" in state_dict:
            states = rows_of(EnvStates, state_dict["states"])
            if len(states) != self.num_envs or states.obs.state.shape[1] != self.obs_dim:
                raise UserError(
                    f"The checkpoint has {len(states)} envs with {states.obs.state.shape[1]} observations, this config "
                    f"{self.num_envs} with {self.obs_dim}; a run goes on with what it began with."
                )
            self._states = states
            self._begun = Begun(state_dict.get("stages", [ORDINARY] * self.num_envs))

    def teardown(self, stage: str) -> None:
        """Ends the workers."""
        self.close()

    def close(self) -> None:
        """Ends the workers, if they were ever started."""
        if "rollouts" in self.__dict__:
            self.rollouts.close()


class RolloutLoader:
    """What Lightning iterates over: sized, and lazy, so that nothing is collected before an epoch has begun."""

    def __init__(self, data: RolloutDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.updates

    def __iter__(self) -> Iterator[TensorRows]:
        return self.data.iterate()


def _remedy(wanted: int | None, found: int | None) -> str:
    """What to do where actions are other choices than an actor's; `None` for vectors."""
    if wanted is None:
        return "set model.actor to one of vectors, such as GaussianActor"
    choices = f"model.actor.choices {wanted}"
    return f"set {choices}" if found is not None else f"set model.actor CategoricalActor and {choices}"


def episode_metrics(rollout: Rollout, spec: EnvSpec) -> dict[str, float]:
    """What a rollout says of the policy that collected it; the means of a reward's terms add up to `train/reward`."""
    terms = spec.named(REWARD_TERM) if rollout.info.shape[-1] else {}  # recordings have none
    return {
        "train/episodes": int(rollout.done.sum()),
        "train/success_rate": float(rollout.success[rollout.done].float().mean()),  # NaN if no episode has ended
        "train/reward": float(rollout.reward.mean()),
        **{f"{REWARD_TERM}{name}": float(rollout.info[..., column].mean()) for name, column in terms.items()},
    }
