"""One epoch is one iteration: collect a little, learn a little from all that has been collected, again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from rlft.data import replay_files
from rlft.data.hindsight import check_goals, check_successes
from rlft.data.on_demand import OnDemand
from rlft.data.replay_buffer import ReplayBuffer, ended, shares
from rlft.data.reward_normalization import RewardNormalization
from rlft.data.rollout_datamodule import RolloutDataModule, episode_metrics, learner_of
from rlft.data.stored_rewards import StoredRewards, inputs_of
from rlft.errors import UserError, require
from rlft.files.folders import typed_path
from rlft.rollout import Workers
from rlft.runs import directory
from rlft.types import (
    DataFile,
    EnvFactory,
    Experience,
    Irrelevant,
    Length,
    ReplayBatch,
    ReplayLearner,
    ReplaySource,
    Rollout,
    TensorRows,
    generator_at,
)


class ReplayDataModule(RolloutDataModule, ReplaySource):
    """Collects a few env steps at a time, and serves minibatches of everything that has been collected.

    The same with any number of workers: action noise is addressed by seed, iteration, part and environment, and which
    transitions a minibatch has by seed, iteration and part. Experience is kept in files beside the checkpoints, one for
    every iteration; a run that goes on reads them.

    Args:
        env: the environment to act in.
        num_envs: environments stepped in parallel.
        num_steps: env steps per environment and iteration.
        collect_steps: env steps per environment between updates; must divide num_steps. The simulator's contact caches
            are dropped every time, as at every start of a rollout.
        updates_per_step: gradient steps of the critics per env step.
        minibatch_size: transitions of a gradient step.
        capacity: env steps that are kept, of all environments together; the oldest ones go.
        prior: ManiSkill trajectories (h5, such as demonstrations) that minibatches are mixed with (Ball et al. 2023,
            RLPD).
        prior_share: their share of every minibatch; 0 uses them in offline iterations alone.
        offline_iterations: at the start, that simulate nothing and have only prior data in their minibatches, of which
            they have as many as any other iteration.
        num_workers: processes to simulate in; 0 simulates in the main process, `null` uses one per processor core.
        total_timesteps: env steps to collect in all; sets the number of iterations in place of `trainer.max_epochs`, to
            which it adds the offline ones.
        seed: addresses initial states, action noise and minibatches; follows `seed_everything`; outside of the
            command line 1 by default.
        her: share of a minibatch's transitions whose goal is replaced by one that their episode has reached later
            (Andrychowicz et al. 2017, HER, strategy `future`), for tasks with goals in their observations and the
            sparse reward; of episodes in which what is to be moved has moved, as soon as there are any.
        reward_normalization: has rewards count in standard deviations of the return; `null` leaves them as they are.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.
    """

    shareable = False

    def __init__(
        self,
        env: EnvFactory,
        num_envs: int = 50,
        num_steps: int = 100,
        collect_steps: int = 10,
        updates_per_step: float = 0.3,
        minibatch_size: int = 256,
        capacity: int = 1_000_000,
        prior: DataFile | None = None,
        prior_share: float = 0.5,
        offline_iterations: int = 0,
        num_workers: Irrelevant[int | None] = None,
        total_timesteps: Irrelevant[Length[int | None]] = None,
        seed: int | None = None,
        her: float = 0.0,
        reward_normalization: RewardNormalization | None = None,
        workers: Irrelevant[Workers | None] = None,
    ) -> None:
        super().__init__(env, num_envs, num_steps, 1, 1, num_workers, total_timesteps, seed, workers)
        require(collect_steps >= 1, "data.collect_steps", collect_steps, "at least 1")
        if num_steps % collect_steps:
            raise UserError(f"data.collect_steps is {collect_steps}, which does not divide num_steps {num_steps}.")
        require(minibatch_size >= 1, "data.minibatch_size", minibatch_size, "at least 1")
        require(capacity >= num_envs, "data.capacity", capacity, f"at least num_envs, {num_envs}")
        require(0 < updates_per_step < float("inf"), "data.updates_per_step", updates_per_step, "above 0 and finite")
        require(0 <= prior_share <= 1, "data.prior_share", prior_share, "from 0 to 1")
        right = round(updates_per_step * self.batch_size) >= 1
        require(right, "data.updates_per_step", updates_per_step, f"at least 1 / {self.batch_size}, for one update")
        require(offline_iterations >= 0, "data.offline_iterations", offline_iterations, "at least 0")
        require(0 <= her <= 1, "data.her", her, "from 0 to 1")
        if offline_iterations and prior is None:
            raise UserError(
                f"data.offline_iterations is {offline_iterations}, but there is no data.prior to learn from; "
                "`rlft collect` makes such a file."
            )
        self.collect_steps = collect_steps
        self.updates_per_step = updates_per_step
        self.minibatch_size = minibatch_size
        self.capacity = capacity
        self.prior = prior
        self.prior_share = prior_share
        self.offline_iterations = offline_iterations
        self.her = her
        self.reward_normalization = reward_normalization
        self.rewards = StoredRewards(reward_normalization)
        self.buffer = ReplayBuffer(capacity // num_envs, self.rewards.counted)
        self._prior: ReplayBuffer | None = None  # what `prior` holds
        self._spent = 0.0  # seconds of the running iteration that went into collecting
        self._kept: list[int] = []  # iterations whose experience is in files
        self._kept_in: Path | None = None  # the version whose files they are, if that is not this run's own

    def setup(self, stage: str) -> None:
        """Reads the prior data, if there are some, before anything is simulated; refuses hindsight without goals."""
        super().setup(stage)
        if stage == "fit" and self.her and (horizon := replay_learner_of(self).horizon):
            raise UserError(f"model.horizon is {horizon} and data.her {self.her:g}; one of them has to be 0.")
        if stage == "fit" and self.her:
            check_goals(self.rollouts.spec, self.reward_mode, self.her)
        if stage == "fit" and self.reward_normalization is not None:
            self.reward_normalization.begin(replay_learner_of(self).gamma)
        if stage != "fit" or self.prior is None:
            return
        rollout = self.trajectories(typed_path(self.prior))
        self._prior = ReplayBuffer(len(rollout), self.rewards.counted)
        self._prior.add(self._experience(replay_learner_of(self), rollout))
        self.rewards.add_apart(self._prior.whole)
        self.passes_success = passes_success(rollout)

    @property
    def updates(self) -> int:
        """Minibatches of an iteration."""
        return round(self.updates_per_step * self.batch_size)

    def iterate(self) -> Iterator[TensorRows]:
        """Collects and yields in turn; while the learner warms up, it collects all before it yields."""
        assert self.trainer is not None
        iteration, learner = self.trainer.current_epoch, replay_learner_of(self)
        if iteration < self.offline_iterations:
            yield from self._iterate_offline(learner, iteration)
            return
        parts = self.num_steps // self.collect_steps
        counts = shares(self.updates, parts)
        if self._warms_up(learner, iteration):
            counts = [0] * (parts - 1) + [self.updates if learner.warmup == "returns" else 0]
        rollouts: list[Rollout] = []
        collected: list[Experience] = []
        for part, count in enumerate(counts):
            rollouts.append(self._collect_part(learner, iteration * parts + part))
            collected.append(self._experience(learner, rollouts[-1]))
            self._keep(collected[-1])
            if part == parts - 1:
                self._finish_collecting(learner, iteration, rollouts, Experience.cat(collected))
            if iteration == 0 and not any(counts[:part]) and (count or part == parts - 1):
                learner.begin(self.buffer.whole)
            yield from self._batches(learner, iteration, part, count) if count else ()

    def _keep(self, experience: Experience) -> None:
        self.buffer.add(experience)
        self.rewards.add(experience)
        if self._prior is not None and self.normalizes_rewards:
            self._prior.recount()

    def _iterate_offline(self, learner: ReplayLearner, iteration: int) -> Iterator[TensorRows]:
        """Yields prior data; in as many parts as an iteration that collects, which bounds the memory."""
        assert self._prior is not None  # the constructor refuses it
        if iteration == 0:
            learner.begin(self._prior.whole)
        for part, count in enumerate(shares(self.updates, self.num_steps // self.collect_steps)):
            yield from self._batches(learner, iteration, part, count) if count else ()

    def _warms_up(self, learner: ReplayLearner, iteration: int) -> bool:
        """Whether the policy only collects; offline iterations come before that."""
        return iteration >= self.offline_iterations and learner.warms_up(iteration - self.offline_iterations)

    def _collect_part(self, learner: ReplayLearner, address: int) -> Rollout:
        started = time.perf_counter()
        scale = learner.noise_scale(self.num_envs)
        rollout, _ = self._act(learner.collector, self.collect_steps, address, noise_scale=scale)
        self._spent += time.perf_counter() - started
        self._count(rollout, self.no_rerollouts(learner.collector, 0))
        return rollout

    def _experience(self, learner: ReplayLearner, rollout: Rollout) -> Experience:
        """What the learner keeps of a rollout, on the CPU, where the buffer is."""
        nothing = self.no_rerollouts(learner.collector, 0)
        made = learner.to_rows(rollout.to(learner.device), nothing).rows
        assert isinstance(made, Experience)
        return made.to("cpu")

    def _finish_collecting(
        self, learner: ReplayLearner, iteration: int, rollouts: Sequence[Rollout], experience: Experience
    ) -> None:
        """What there is to say of all that the iteration has collected, and its file."""
        self.rollout = Rollout.cat(rollouts)
        if self.her:
            check_successes(self.rollouts.spec, self.rollout, experience.usable)
        self.passes_success |= passes_success(self.rollout)
        self.recent = ended(self.buffer.counted(experience), learner.gamma)
        told = episode_metrics(self.rollout, self.rollouts.spec)
        scale = {"charts/reward_scale": self.rewards.scale} if self.normalizes_rewards else {}
        learner.add_metrics({"time/rollout": self._spent, **told, **scale, **self._replacements()})
        learner.add_metrics(self._begun.metrics())
        self._spent = 0.0
        if folder := directory.of_trainer(self.trainer):
            if self._kept_in is not None:
                replay_files.take_over(self._kept_in, folder, self._kept, self.rewards.recompute)
                self._kept_in = None
            replay_files.write_segment(folder, iteration, experience, inputs_of(self.rollout, self.rollouts.spec))
        self._kept.append(iteration)

    def _batches(self, learner: ReplayLearner, iteration: int, part: int, count: int) -> Sequence[TensorRows]:
        generator = generator_at([self.seed, iteration, part])
        if self._warms_up(learner, iteration):
            return self.buffer.returns(count, self.minibatch_size, learner.gamma, generator)
        of_prior = self.minibatch_size if iteration < self.offline_iterations else self.of_prior
        sources = [
            (buffer, size, self._relabelled(buffer, size))
            for buffer, size in ((self.buffer, self.minibatch_size - of_prior), (self._prior, of_prior))
            if buffer is not None and size
        ]
        if self.her:
            relabelled = sum(relabelled for *_, relabelled in sources)
            learner.add_metrics({"charts/her_share": relabelled / self.minibatch_size})
        parts = [part for source in sources for part in self._parts(learner, *source, count, generator)]
        if len(parts) == 1:
            return parts[0]
        return OnDemand(count, lambda place: ReplayBatch.cat([batches[place] for batches in parts]))

    def _relabelled(self, buffer: ReplayBuffer, size: int) -> int:
        """Of `size` transitions of a buffer, those that get another goal."""
        goals = self.rollouts.spec.goals if self.her else None
        return round(self.her * size) if goals is not None and buffer.has_moved(goals) else 0

    def _parts(
        self,
        learner: ReplayLearner,
        buffer: ReplayBuffer,
        size: int,
        relabelled: int,
        count: int,
        generator: torch.Generator,
    ) -> Iterator[Sequence[ReplayBatch]]:
        """The transitions of `count` minibatches that come of a buffer: as they were, then with other goals."""
        n_step, gamma = learner.n_step, learner.gamma
        how: dict[str, Any] = {"returns": learner.needs_returns, "bootstrap_at_done": learner.bootstrap_at_done}
        if size > relabelled:
            asked = count, size - relabelled, n_step, gamma, generator
            yield buffer.transitions(*asked, horizon=learner.horizon, **how)
        if relabelled:
            goals = self.rollouts.spec.goals
            assert goals is not None  # or nothing would be relabelled
            yield buffer.relabelled(count, relabelled, n_step, gamma, generator, goals, **how)

    @property
    def of_prior(self) -> int:
        """Transitions of a minibatch that are prior data."""
        return 0 if self.prior is None else round(self.prior_share * self.minibatch_size)

    @property
    def normalizes_rewards(self) -> bool:  # type: ignore[override]
        """Whether rewards count in standard deviations of the return."""
        return self.reward_normalization is not None

    @property
    def reward_scale(self) -> float:  # type: ignore[override]
        """What rewards are multiplied by in the minibatches of this moment."""
        return self.rewards.scale

    def state_dict(self) -> dict[str, Any]:
        """Where every environment is, which iterations have their experience in files, and what their rewards are."""
        rewards = self.rewards.state_dict(self.env, self.rollouts.spec)
        return {**super().state_dict(), "replay": list(self._kept), "rewards": rewards}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`, and reads the files beside the checkpoint.

        Raises:
            UserError: if there are none, or they are of other environments, or of another reward and nothing has been
                said of what is to become of them.
        """
        super().load_state_dict(state_dict)
        assert self.trainer is not None
        if self.trainer.state.fn != "fit":  # nothing is learned
            return
        if "replay" not in state_dict or self.trainer.ckpt_path is None:
            raise UserError("The checkpoint is not of a run with data ReplayDataModule, so there is nothing to replay.")
        self._kept = list(state_dict["replay"])
        self._kept_in = Path(self.trainer.ckpt_path).absolute().parent.parent
        saved = state_dict.get("rewards")
        replay_learner_of(self).notes += self.rewards.settle(self.env, self.rollouts.spec, saved, self.on_reward_change)
        if self.rewards.drops:
            self._kept = []
        for iteration in self._kept:
            self._keep(self.rewards.again(*replay_files.read_segment(self._kept_in, iteration)))
        self.rewards.load(saved)


def passes_success(rollout: Rollout) -> bool:
    """Whether an episode goes on after a success, so that what follows it counts as well."""
    return bool((rollout.success & ~rollout.terminated & ~rollout.truncated).any())


def replay_learner_of(data: ReplayDataModule) -> ReplayLearner:
    """The module of a run.

    Raises:
        UserError: if it does not learn from a replay buffer.
    """
    learner = learner_of(data.trainer)
    if not isinstance(learner, ReplayLearner):
        kind = type(learner).__name__
        raise UserError(f"data ReplayDataModule needs a model that learns from replay, as OffPolicyModule; not {kind}.")
    return learner
