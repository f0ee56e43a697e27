"""Offline iterations: one rollout, collected or read once, then many iterations on it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from rlft.data.dataset_file import Dataset, read_dataset, write_dataset
from rlft.data.held_out import held_out_steps
from rlft.data.rollout_datamodule import RolloutDataModule, episode_metrics, learner_of
from rlft.errors import UserError, require
from rlft.files.folders import typed_path
from rlft.rollout import Workers
from rlft.runs import directory
from rlft.trajectories import read_header
from rlft.types import (
    Actor,
    AdvantageEstimate,
    DataFile,
    EnvFactory,
    Irrelevant,
    Learner,
    LearningRows,
    Length,
    Rollout,
    Steps,
    TensorRows,
)

DATASET = "dataset.safetensors"  # in the run directory
TRAJECTORIES = (".h5", ".hdf5")  # how the names of such files end
LABELS = "advantage.class"  # what a dataset's labels are
PICTURED = 1024  # steps `[N]` with pictures that an actor is asked about at once: features of more take much memory
NOT_LABELLED = "none"  # what is said instead of those that have not been measured


class OfflineDataModule(RolloutDataModule):
    """Collects one rollout, estimates its advantages, and serves it again in every iteration.

    It is collected with the start policy, or for a `BCModule` with its demonstrator.

    The rollout and its advantages are written to the run directory as `dataset.safetensors`, and they are part of
    every checkpoint, so that a resumed run does not collect again. Re-rollouts are made once; advantages that come from
    a critic which learns are estimated anew in every iteration. Since env steps stand still, metrics are logged against
    iterations.

    `dataset` may also name trajectories that `rlft collect` or ManiSkill has written: these are the data. Where they do
    not say how likely their actions were, as demonstrations do not, the start policy takes the place of the unknown
    one: the likelihood ratios of an update then measure how far the actor has moved, but they correct for nothing.

    Held-out episodes never train. Their losses are logged after every iteration as `losses/validation_policy_loss` and
    `losses/validation_value_loss`, for the weights that are evaluated; the update's normalisation of advantages sees
    all episodes. To stop on one of them:

        trainer:
          callbacks:
            - class_path: EarlyStopping
              init_args: {monitor: losses/validation_policy_loss, patience: 10}

    Args:
        env: the environment to act in.
        num_envs: environments stepped in parallel.
        num_steps: env steps per environment, once for the whole run; of no meaning for trajectories.
        num_minibatches: parts that one pass over the data is split into; must divide num_envs * num_steps, unless the
            data are trajectories.
        update_epochs: passes over the data per iteration.
        dataset: to use instead of collecting: an `.h5` or `.hdf5` file of trajectories of the same environment, or a
            `dataset.safetensors` of an earlier run of the same environment, sizes and advantage estimator.
        max_episodes: of trajectories, read at most so many, the first ones; `null` reads all.
        validation_fraction: share of the episodes that are held out; EarlyStopping under `trainer.callbacks` may
            monitor their losses.
        num_workers: processes to simulate in; 0 simulates in the main process, `null` uses one per processor core.
        total_timesteps: must be `null`: env steps do not count the iterations here, `trainer.max_epochs` does.
        seed: addresses initial states, action noise and shuffling; follows `seed_everything`; outside of the
            command line 1 by default.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.
    """

    fixed = True
    shareable = False

    def __init__(
        self,
        env: EnvFactory,
        num_envs: int = 128,
        num_steps: int = 200,
        num_minibatches: int = 32,
        update_epochs: int = 4,
        dataset: DataFile | None = None,
        max_episodes: int | None = None,
        validation_fraction: float = 0.0,
        num_workers: Irrelevant[int | None] = None,
        total_timesteps: Irrelevant[Length[int | None]] = None,
        seed: int | None = None,
        workers: Irrelevant[Workers | None] = None,
    ) -> None:
        self.dataset = None if dataset is None else typed_path(dataset)
        self.reads_trajectories = self.dataset is not None and self.dataset.suffix in TRAJECTORIES
        super().__init__(env, num_envs, num_steps, num_minibatches, update_epochs, num_workers, None, seed, workers)
        if total_timesteps is not None:
            raise UserError("data.total_timesteps means nothing for fixed data; set trainer.max_epochs instead.")
        require(max_episodes is None or max_episodes >= 1, "data.max_episodes", max_episodes, "at least 1, or null")
        if max_episodes is not None and not self.reads_trajectories:
            raise UserError("data.max_episodes is of use only with trajectories in data.dataset; leave it out.")
        self.max_episodes = max_episodes
        if not 0 <= validation_fraction < 1:
            raise UserError(f"data.validation_fraction is {validation_fraction}; it must be at least 0 and below 1.")
        self.validation_fraction = validation_fraction
        self._recorded: Rollout | None = None  # the trajectories, [M, 1], on the CPU
        self._recorded_in: dict[str, str | int] = {}  # which file that was, and how much of it
        self._data: Dataset | None = None  # on the CPU
        self._training: TensorRows | None = None  # where the module is

    def _check_batch(self) -> None:
        """Trajectories are as many as they are, and split into nearly equal parts."""
        if not self.reads_trajectories:
            super()._check_batch()

    def setup(self, stage: str) -> None:
        """Reads the dataset, if there is one, before anything is simulated."""
        if stage != "fit":
            return
        super().setup(stage)
        if self.dataset is None:
            return
        if self.reads_trajectories:
            self._read_trajectories(self.dataset)
        else:
            self._data = self._dataset
            self._check(f"data.dataset {self.dataset}", self._data)

    def _read_trajectories(self, path: Path) -> None:
        learner = learner_of(self.trainer)
        if learner.needs_visited:
            kind = learner.data_settings()["advantage.class"]
            raise UserError(f"model.advantage {kind} goes back to simulator states, which {path} has none of.")
        self._recorded = self.trajectories(path, max_episodes=self.max_episodes, needs_rewards=learner.needs_rewards)
        self._recorded_in = {"trajectories.sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        if self.max_episodes is not None:
            self._recorded_in["trajectories.max_episodes"] = self.max_episodes

    @cached_property
    def _dataset(self) -> Dataset:
        """What an earlier run has written."""
        assert self.dataset is not None
        return read_dataset(self.dataset)

    @cached_property
    def data_policy(self) -> str | None:
        """Who played the data; `None` for the module's own policy, which `_check` compares with that of the data."""
        if self.dataset is None:
            return None
        if not self.reads_trajectories:
            return self._dataset.info.get("data_policy")
        header = read_header(self.dataset)
        source = header.get("source_type") or "unknown"
        return ", ".join(sorted({str(episode.get("policy") or source) for episode in header["episodes"]}))

    def _batch(self, learner: Learner, iteration: int) -> TensorRows:
        """The same transitions in every iteration; new advantages only if they come from a critic that learns."""
        if self._training is None or learner.relabels:
            self._training = self._without_held_out(*self._rows(learner, iteration))
        return self._training

    def _rows(self, learner: Learner, iteration: int) -> tuple[Rollout, LearningRows]:
        """Collects, unless a file or a checkpoint has the data."""
        if self._data is None:
            to_rows = self._collect if self._recorded is None else self._rows_of_recorded
            rollout, made = to_rows(learner, iteration)
            self._data = Dataset(rollout, made.labels, self._info(rollout, made.labels)).to("cpu")
            self._write(self._data)
            return rollout, made
        data = self._data.to(learner.device)
        self.steps = Steps(data.info["env_steps"], data.info["sim_steps"])
        nothing = self.no_rerollouts(learner.actor, iteration)
        return data.rollout, learner.to_rows(data.rollout, nothing, data.labels)

    def _rows_of_recorded(self, learner: Learner, iteration: int) -> tuple[Rollout, LearningRows]:
        """What `_collect` does, for trajectories that have been read."""
        assert self._recorded is not None
        rollout = _with_log_prob(self._recorded.to(learner.device), learner.actor)
        nothing = self.no_rerollouts(learner.actor, iteration)
        made = learner.to_rows(rollout, nothing)
        self._count(rollout, nothing)
        learner.add_metrics(episode_metrics(rollout, self.rollouts.spec))
        return rollout, made

    def _without_held_out(self, rollout: Rollout, made: LearningRows) -> TensorRows:
        """The rows that train; the others are set aside."""
        held = held_out_steps(rollout.done, self.validation_fraction)  # [T, N]
        training, held_out = (made.rows[made.mask & part] for part in (~held, held))
        if not len(training):
            raise UserError(f"data.validation_fraction is {self.validation_fraction}: no episode is left to train.")
        if self.validation_fraction and not len(held_out):
            raise UserError("No transition of the held-out episodes has an advantage; raise data.validation_fraction.")
        self.rollout = rollout
        self.held_out = held_out if self.validation_fraction else None
        return training

    def _info(self, rollout: Rollout, labels: AdvantageEstimate | None) -> dict[str, Any]:
        num_steps, num_envs = rollout.reward.shape
        return {
            **self._demands(),
            **({"trajectories.path": str(self.dataset), "data_policy": self.data_policy} if self._recorded_in else {}),
            "num_envs": num_envs,
            "num_steps": num_steps,
            "seed": self.seed,
            "env_steps": self.steps.env,
            "sim_steps": self.steps.sim,
            "metrics": dict(labels.metrics) if labels else {},
        }

    def _demands(self) -> dict[str, Any]:
        """What a dataset must have in common with this configuration."""
        return {
            **learner_of(self.trainer).data_settings(),
            **{f"env.{name}": value for name, value in self.env.data_settings().items()},
            "task": self.rollouts.spec.task,
            **({} if self.reads_trajectories else {"num_envs": self.num_envs, "num_steps": self.num_steps}),
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
            **self._recorded_in,
        }

    def _check(self, what: str, data: Dataset) -> None:
        """Refuses data of another environment, other sizes or other labels than those the run is named after."""
        anew = learner_of(self.trainer).relabels
        found, wanted = ({LABELS: NOT_LABELLED, **settings} for settings in (data.info, self._demands()))
        for name, value in wanted.items():
            if name.startswith("advantage.") and anew:
                continue
            if name in found and found[name] != value:
                raise UserError(f"{what} was made with {name} {found[name]}, but this config has {value}.")

    def _write(self, data: Dataset) -> None:
        if folder := directory.of_trainer(self.trainer):
            write_dataset(folder / DATASET, data)

    def state_dict(self) -> dict[str, Any]:
        """The data themselves: a checkpoint goes on without its run directory, and with exactly these numbers."""
        return {} if self._data is None else {"tensors": self._data.tensors(), "info": dict(self._data.info)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`; it takes precedence over `dataset`."""
        if state_dict:
            self._data = Dataset.of_tensors(state_dict["tensors"], state_dict["info"])
            self._check("The checkpoint's dataset", self._data)


def _with_log_prob(rollout: Rollout, actor: Actor) -> Rollout:
    """Puts the density under `actor` where that of the policy that acted is not known."""
    if not actor.can("log_prob"):
        return rollout
    size = PICTURED if rollout.obs.image.shape[-1] else len(rollout)
    parts = (rollout[first : first + size] for first in range(0, len(rollout), size))
    with torch.no_grad():
        log_prob = torch.cat([actor.log_prob(part.obs, part.action) for part in parts])  # [T, N]
    known = rollout.log_prob_known
    return replace(
        rollout, log_prob=torch.where(known, rollout.log_prob, log_prob), log_prob_known=torch.ones_like(known)
    )
