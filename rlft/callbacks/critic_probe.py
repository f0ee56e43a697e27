"""Critic against ground truth: re-rollouts in a fixed set of states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import Tensor

from rlft.advantage import MonteCarloRerollout
from rlft.advantage.gae import bootstrap_value
from rlft.callbacks.access import environments, finetuner
from rlft.data.dataset_file import Dataset
from rlft.data.rollout_datamodule import NO_VISITED_STATES
from rlft.envs.snapshots import require_snapshots
from rlft.errors import UserError, require
from rlft.modules import FinetuneModule
from rlft.modules.metrics import log_metrics
from rlft.networks import NoCritic
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy
from rlft.statistics.fit import correlation
from rlft.statistics.mismatch import classifier_auc, critic_fit, mmd_squared, neighbour_percentile
from rlft.types import AdvantageEstimate, PolicyName, Rollout

FEWEST_STATES = 20  # below, distances between distributions mean nothing
MOST_STATES = 2000  # that distances are measured of: memory and time grow with their square
PROBE_SEED = 1_000_003  # no run of ours has it, so that probe states are not training states


class CriticProbe(lightning.Callback):
    """Compares the critic with re-rollouts in a fixed set of states.

    The states are collected once, at the start of a run, and their values and advantages measured by playing on from
    them. The critic is then compared with them before the first and after every iteration: `probe/explained_variance`,
    `probe/calibration_slope`, `probe/value_bias` and `probe/value_rank_correlation` of its values,
    `probe/advantage_correlation` of the advantages that the run's estimator makes of it. The measured ones have
    sampling errors: no correlation can exceed the square root of `probe/advantage_reliability`. The truth is that of a
    fixed policy, so agreement may fall as a run's own policy leaves it. The simulator steps this takes are
    `probe/sim_steps`, not part of `steps/sim`.

    How far an iteration's states are from the probe's: `probe/state_auc`, with which a classifier tells them apart (0.5
    if it cannot), `probe/state_mmd_squared` (0 on average if they are distributed alike) and
    `probe/state_neighbour_percentile`, how far outside the probe's they lie on average (0.5 if they do not). The last
    two hold for independent states. Those of one episode resemble each other, so that both are larger, the percentile
    by much, even where nothing differs: compare them with those of the first iteration.

    Re-rollouts end after one time limit of their own, or with that of the episode if the estimator's
    `bootstrap_at_done` is `never`: the truth has the horizon and the reward scale of the run's critic.

    Args:
        policy: whose values are the truth: a zoo name or policy file; `null` takes the policy a run starts with.
        states_policy: who visits the states; `null` takes the policy a run starts with.
        num_samples: re-rollouts per state.
        num_steps: env steps that each environment collects.
        every_k: measure every k-th of them.
        seed: addresses the initial states and all noise.
        name: what its metrics begin with; a second probe in the same run needs another one.
    """

    changes_results = False  # it only observes

    def __init__(
        self,
        policy: PolicyName | None = None,
        states_policy: PolicyName | None = None,
        num_samples: int = 8,
        num_steps: int = 50,
        every_k: int = 10,
        seed: int = PROBE_SEED,
        name: str = "probe",
    ) -> None:
        for option, value in (("num_samples", num_samples), ("num_steps", num_steps), ("every_k", every_k)):
            require(value >= 1, f"CriticProbe.{option}", value, "at least 1")
        require(0 <= seed < 2**32, "CriticProbe.seed", seed, f"a number from 0 to {2**32 - 1}")
        self.policy = policy
        self.states_policy = states_policy
        self.num_samples = num_samples
        self.num_steps = num_steps
        self.every_k = every_k
        self.seed = seed
        self.name = name
        self._truth: Dataset | None = None

    @property
    def state_key(self) -> str:
        """Where its state is in a checkpoint."""
        return f"CriticProbe {self.name}"

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses a run without a critic."""
        module, data = finetuner(self, pl_module), environments(self, trainer)
        if not module.advantage.wants_critic:
            raise UserError(f"CriticProbe: {type(module.advantage).__name__} as configured has no critic to probe.")
        states = data.num_envs * self.num_steps
        if states < FEWEST_STATES:
            raise UserError(
                f"CriticProbe.num_steps {self.num_steps} makes {states} states; raise it for {FEWEST_STATES}."
            )
        require_snapshots(data.rollouts.spec, "CriticProbe")
        for name in (self.policy, self.states_policy):
            if name is not None:
                check_shapes(load_policy(name), data.rollouts.spec.obs_dim, data.rollouts.spec.action_dim)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measures the truth, and the critic a run starts with; a resumed run has both."""
        if self._truth is None:
            module = finetuner(self, pl_module)
            self._truth = self._measure(trainer, module)
            metrics = {**self._labels.metrics, **self._compare(trainer, module)}
            log_metrics(trainer, metrics, module.x_axis)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compares the critic that this iteration's updates have produced; the module logs it with the iteration."""
        module, rollout = finetuner(self, pl_module), environments(self, trainer).rollout
        assert rollout is not None  # the iteration has had one
        module.add_metrics({**self._compare(trainer, module), **self._distance(rollout)})

    def state_dict(self) -> dict[str, Any]:
        """The truth, which a resumed run cannot measure again: its policy has moved on."""
        return {"tensors": self._truth.tensors(), "info": dict(self._truth.info)} if self._truth else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        if state_dict:
            self._truth = Dataset.of_tensors(state_dict["tensors"], state_dict["info"])

    def _estimator(self, module: FinetuneModule) -> MonteCarloRerollout:
        """Of the truth, with the horizon of the run's critic."""
        critic = module.critic_info()
        ends = critic is not None and critic["bootstrap_at_done"] == "never"
        return MonteCarloRerollout(
            self.policy,
            self.num_samples,
            module.advantage.gamma,
            horizon="remaining" if ends else "fresh",
            common_noise=True,
            every_k=self.every_k,
        )

    @property
    def _labels(self) -> AdvantageEstimate:
        """What was measured in the states of the probe."""
        assert self._truth is not None
        assert self._truth.labels is not None
        return self._truth.labels

    @torch.no_grad()
    def _measure(self, trainer: lightning.Trainer, module: FinetuneModule) -> Dataset:
        data = environments(self, trainer)
        rollouts = data.rollouts
        actor = module.actor if self.states_policy is None else load_policy(self.states_policy).actor
        states = rollouts.initial_states(self.seed)
        rollout, _, visited = rollouts.collect(actor, states, self.num_steps, self.seed, iteration=0, keep_visited=True)
        simulator = data.rerollouts_from(visited, module.actor, self.seed, iteration=0)
        estimate = self._estimator(module).estimate(rollout, NoCritic(), simulator)
        metrics = {
            f"{self.name}/advantage_reliability": estimate.metrics.get("charts/advantage_reliability", float("nan")),
            f"{self.name}/sim_steps": rollout.reward.numel() + simulator.sim_steps,
        }
        scale = module.advantage.reward_scale
        advantage, value = scale * estimate.advantage, scale * estimate.value_target
        estimate = replace(estimate, advantage=advantage, value_target=value, metrics=metrics)
        return Dataset(rollout, estimate, {"metrics": metrics})

    @torch.no_grad()
    def _compare(self, trainer: lightning.Trainer, module: FinetuneModule) -> dict[str, float]:
        assert self._truth is not None
        truth, mask = self._labels, self._labels.mask
        value = module.evaluated().critic(self._truth.rollout.obs.to(module.device)).cpu()[mask]  # [M]
        advantage = self._advantage(trainer, module, self._truth.rollout.to(module.device)).cpu()[mask]  # [M]
        fit = critic_fit(value, truth.value_target[mask])
        return {
            f"{self.name}/explained_variance": fit.explained_variance,
            f"{self.name}/calibration_slope": fit.calibration_slope,
            f"{self.name}/value_bias": fit.bias,
            f"{self.name}/value_rank_correlation": fit.spearman,
            f"{self.name}/advantage_correlation": correlation(advantage, truth.advantage[mask]),
        }

    def _distance(self, rollout: Rollout) -> dict[str, float]:
        assert self._truth is not None
        probe, states = (_by_environment(r.obs.state.cpu()) for r in (self._truth.rollout, rollout))
        return {
            f"{self.name}/state_auc": classifier_auc(probe, states),
            f"{self.name}/state_mmd_squared": mmd_squared(probe, states),
            f"{self.name}/state_neighbour_percentile": float(neighbour_percentile(probe, states).mean()),
        }

    def _advantage(self, trainer: lightning.Trainer, module: FinetuneModule, rollout: Rollout) -> Tensor:
        """What the run's estimator makes of its critic, `[T, N]`; one TD error where it would simulate instead."""
        critic, estimator = module.evaluated().critic, module.advantage
        if estimator.needs_visited:
            ends = estimator.critic_value().bootstrap_at_done
            successor = bootstrap_value(rollout, critic(rollout.next_obs), ends)  # [T, N]
            delta: Tensor = rollout.reward + estimator.gamma * successor - critic(rollout.obs)
            return delta
        nothing = environments(self, trainer).rerollouts_from(NO_VISITED_STATES, module.actor, self.seed, iteration=0)
        return estimator.estimate(rollout, critic, nothing).advantage


def _by_environment(obs: Tensor) -> Tensor:
    """At most `MOST_STATES` of `obs [T, N, O]` as `[M, O]`, those of an environment side by side."""
    thinned = obs[:: -(-obs.shape[0] * obs.shape[1] // MOST_STATES)]  # every so many steps, of all environments
    return thinned.transpose(0, 1).flatten(0, 1)
