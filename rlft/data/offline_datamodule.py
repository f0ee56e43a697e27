"""Offline iterations: one rollout, collected and given its advantages once, then many iterations on it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from rlft.data.dataset import LabelledRollout, read_dataset, write_dataset
from rlft.data.minibatches import flatten
from rlft.data.rollout_datamodule import Learner, RolloutDataModule
from rlft.errors import UserError
from rlft.types import AdvantageEstimate, Batch, EnvFactory

VALIDATION_LOSS = "losses/validation_policy_loss"
DATASET = "dataset.safetensors"  # in the run directory
# Settings that neither transitions nor labels depend on.
UNRELATED = {"device", "vf_coef", "clip_vloss", "vf_clip_coef"}
PRIMITIVES = str | int | float | None  # what json and a checkpoint read without running code hold


class OfflineLearner(Learner, Protocol):
    """What this data module needs of the module it feeds, besides what every data module needs."""

    policy: str | None
    advantage: object
    fixed_data: bool
    held_out: Batch | None
    env_steps: int
    sim_steps: int

    def signal(self, estimate: AdvantageEstimate) -> torch.Tensor:
        """The policy update's signal `[T, N]` for advantages that are known already."""
        ...


class OfflineDataModule(RolloutDataModule):
    """Collects one rollout with the start policy, estimates its advantages, and serves it again in every iteration.

    The rollout and its advantages are written to the run directory as `dataset.safetensors`, and they are part of
    every checkpoint, so that a resumed run neither collects nor estimates again. Since env steps stand still, metrics
    are logged against iterations.

    Held-out environments never train. Their loss is logged after every iteration as `losses/validation_policy_loss`,
    for the weights that are evaluated; the update's normalisation of advantages sees all environments. To stop on it:

        trainer:
          callbacks:
            - class_path: EarlyStopping
              init_args: {monitor: losses/validation_policy_loss, patience: 10}

    Args:
        env: the environment to act in.
        num_envs: environments stepped in parallel.
        num_steps: env steps per environment, once for the whole run.
        num_minibatches: parts that one pass over the data is split into; must divide num_envs * num_steps.
        update_epochs: passes over the data per iteration.
        dataset: a `dataset.safetensors` of an earlier run of the same environment, sizes and advantage estimator, to
            use instead of collecting.
        validation_fraction: share of the environments whose transitions are held out; EarlyStopping under
            `trainer.callbacks` may monitor their `losses/validation_policy_loss`.
        num_workers: processes to simulate in; 0 simulates in the main process, `null` uses one per processor core.
        total_timesteps: must be `null`: env steps do not count the iterations here, `trainer.max_epochs` does.
        seed: addresses initial states, action noise and shuffling; follows `seed_everything`.
    """

    def __init__(
        self,
        env: EnvFactory,
        num_envs: int = 128,
        num_steps: int = 200,
        num_minibatches: int = 32,
        update_epochs: int = 4,
        dataset: str | None = None,
        validation_fraction: float = 0.0,
        num_workers: int | None = None,
        total_timesteps: int | None = None,
        seed: int = 1,
    ) -> None:
        super().__init__(env, num_envs, num_steps, num_minibatches, update_epochs, num_workers, None, seed)
        if total_timesteps is not None:
            raise UserError("data.total_timesteps means nothing for fixed data; set trainer.max_epochs instead.")
        if not 0 <= validation_fraction < 1:
            raise UserError(f"data.validation_fraction is {validation_fraction}; it must be at least 0 and below 1.")
        self.num_held_out = max(1, round(validation_fraction * num_envs)) if validation_fraction else 0
        if self.num_held_out >= num_envs:
            raise UserError(
                f"data.validation_fraction is {validation_fraction}: of {num_envs} envs none is left to train."
            )
        self.dataset = dataset
        self._data: LabelledRollout | None = None  # on the CPU
        self._training: Batch | None = None  # where the module is

    def setup(self, stage: str) -> None:
        """Reads the dataset, if there is one, before anything is simulated."""
        trainer: Any = self.trainer
        if stage == "fit":
            if not self.num_held_out and VALIDATION_LOSS in {stop.monitor for stop in trainer.early_stopping_callbacks}:
                raise UserError(f"EarlyStopping on {VALIDATION_LOSS} needs data.validation_fraction to be above 0.")
            self._learner().fixed_data = True
            if self.dataset is not None:
                self._data = read_dataset(Path(self.dataset))
                self._check(f"data.dataset {self.dataset}", self._data)

    def _batch(self, learner: Learner, iteration: int) -> Batch:
        """The same in every iteration."""
        if self._training is None:
            self._training = self._prepare(cast(OfflineLearner, learner), iteration)
        return self._training

    def _prepare(self, learner: OfflineLearner, iteration: int) -> Batch:
        """Collects, unless a file or a checkpoint has the data, and sets the held-out part aside."""
        if self._data is None:
            rollout, estimate, signal = self._collect(learner, iteration)
            self._data = LabelledRollout(rollout, estimate, self._info(learner, estimate)).to("cpu")
            self._write(self._data)
        else:
            data = self._data.to(learner.device)
            rollout, estimate, signal = data.rollout, data.estimate, learner.signal(data.estimate)
            learner.env_steps, learner.sim_steps = self._data.info["env_steps"], self._data.info["sim_steps"]
        # Whole environments: neighbouring transitions of an episode are too alike to test one on the other. Which ones
        # does not matter, since their initial states are independent.
        trains = torch.arange(self.num_envs, device=estimate.mask.device) < self.num_envs - self.num_held_out  # [N]
        transition = learner.transition(rollout)
        training, held_out = (
            flatten(rollout, replace(estimate, mask=estimate.mask & part), signal, transition)
            for part in (trains, ~trains)
        )
        if self.num_held_out and not len(held_out):
            raise UserError("No transition of the held-out envs has an advantage; raise data.validation_fraction.")
        learner.held_out = held_out if self.num_held_out else None
        return training

    def _learner(self) -> OfflineLearner:
        assert self.trainer is not None
        return cast(OfflineLearner, self.trainer.lightning_module)

    def _info(self, learner: OfflineLearner, estimate: AdvantageEstimate) -> dict[str, Any]:
        return {
            **self._demands(),
            "seed": self.seed,
            "env_steps": learner.env_steps,
            "sim_steps": learner.sim_steps,
            "metrics": dict(estimate.metrics),
        }

    def _demands(self) -> dict[str, Any]:
        """What a dataset must have in common with this configuration."""
        return {
            "policy": self._learner().policy or "scratch",
            **_settings("env", self.env),
            **_settings("advantage", self._learner().advantage),
            "task": self.rollouts.spec.task,
            "num_envs": self.num_envs,
            "num_steps": self.num_steps,
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
        }

    def _check(self, what: str, data: LabelledRollout) -> None:
        """Refuses data of another environment, other sizes or other advantages than those the run is named after."""
        for name, value in self._demands().items():
            if name in data.info and data.info[name] != value:
                raise UserError(f"{what} was made with {name} {data.info[name]}, but this config has {value}.")

    def _write(self, data: LabelledRollout) -> None:
        trainer: Any = self.trainer
        if trainer.logger is not None and trainer.log_dir is not None and not trainer.fast_dev_run:
            write_dataset(Path(trainer.log_dir) / DATASET, data)

    def state_dict(self) -> dict[str, Any]:
        """The data themselves: a checkpoint goes on without its run directory, and with exactly these numbers."""
        return {} if self._data is None else {"tensors": self._data.tensors(), "info": dict(self._data.info)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`; it takes precedence over `dataset`."""
        if state_dict:
            self._data = LabelledRollout.of_tensors(state_dict["tensors"], state_dict["info"])
            self._check("The checkpoint's dataset", self._data)


def _settings(name: str, thing: object) -> dict[str, Any]:
    """Class and arguments of an environment or estimator, as far as it keeps them: `advantage.gamma` and so on."""
    names = set(inspect.signature(type(thing).__init__).parameters) - UNRELATED
    kept = {f"{name}.{k}": v for k, v in vars(thing).items() if k in names and isinstance(v, PRIMITIVES)}
    return {f"{name}.class": type(thing).__name__, **kept}
