"""Known pitfalls, noticed before they cost a day."""

from __future__ import annotations

import sys
from typing import Any, Literal

import lightning
from torch import Tensor

from rlft.callbacks.access import callbacks_of, environments, learner
from rlft.callbacks.known_pitfalls import PITFALLS, found
from rlft.callbacks.pitfall import Facts
from rlft.errors import UserError
from rlft.modules import OffPolicyModule
from rlft.modules.iteration import IterationModule
from rlft.types import EnvSource, ReplaySource

SAMPLED = "eval_stochastic/success_rate"


class Pitfalls(lightning.Callback):
    """Looks for known pitfalls in the configuration and in what is measured at the start, and says so.

    Every message has the reason, the evidence and a remedy; it is printed and stands in the report.

    Args:
        action: `warn`, or `refuse` to end the run.
        silence: ids of pitfalls not to look for, as the messages name them.
    """

    changes_results = False  # it only observes

    def __init__(self, action: Literal["warn", "refuse"] = "warn", silence: list[str] | None = None) -> None:
        known = [pitfall.id for pitfall in PITFALLS]
        for name in silence or []:
            if name not in known:
                raise UserError(f"pitfalls.silence has {name!r}; it must be among {', '.join(known)}.")
        self.action = action
        self.silence = set(silence or [])

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Looks at the configuration."""
        if stage == "fit":
            module, data = learner(self, pl_module), environments(self, trainer)
            self._look(module, facts_of(trainer, module, data))  # printed with the other notes of the start

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Looks at the evaluation of the start policy."""
        self._look_at_start(trainer, learner(self, pl_module), trainer.callback_metrics.get(SAMPLED))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compares it with the first rollout, which the start policy collected with sampled actions.

        An evaluation with sampled actions, if there is one, tells more: it has the same initial states. Whether
        episodes go on after a success shows once there is one.
        """
        module = learner(self, pl_module)
        if SAMPLED not in trainer.callback_metrics:
            self._look_at_start(trainer, module, module.finish_iteration().metrics.get("train/success_rate"))
        if isinstance(module.source, ReplaySource) and module.source.passes_success:
            self._tell(self._look(module, facts_of(trainer, module, environments(self, trainer))))

    def _look_at_start(
        self, trainer: lightning.Trainer, module: IterationModule, sampled: float | Tensor | None
    ) -> None:
        """At what is measured of the start policy, in the first iteration: until its end nothing else is logged."""
        start = trainer.callback_metrics.get("eval/success_rate")
        if trainer.current_epoch > 0 or start is None or not module.trains_actor:
            return
        # Fixed data are nobody's sample of now, and a replay buffer is filled with noise that is not the policy's.
        samples = not module.source.fixed and not isinstance(module.source, ReplaySource)
        rate = float(sampled) if sampled is not None and samples else None
        self._tell(self._look(module, Facts(start_success=float(start), start_success_sampled=rate)))

    def _look(self, module: IterationModule, facts: Facts) -> list[str]:
        """Notes every pitfall once, and returns what is new."""
        pitfalls = [pitfall for pitfall in found(facts) if pitfall.id not in self.silence]
        for pitfall in pitfalls:
            if self.action == "refuse":
                raise UserError(f"{pitfall.sentence(facts)} --pitfalls.silence '[{pitfall.id}]' does it all the same.")
            self.silence.add(pitfall.id)
        sentences = [pitfall.sentence(facts) for pitfall in pitfalls]
        module.notes += sentences
        return sentences

    @staticmethod
    def _tell(sentences: list[str]) -> None:
        for sentence in sentences:
            print(sentence, file=sys.stderr, flush=True)


def facts_of(trainer: lightning.Trainer, module: IterationModule, data: EnvSource) -> Facts:
    """What the built parts of a run tell of it."""
    own, update = module.policy, module.update
    return Facts(
        monitors=_monitors(trainer),
        run_name=trainer.logger.name if trainer.logger else None,
        start_policy=own,
        update=None if update is None else type(update).__name__,
        reward_mode=data.reward_mode,
        update_epochs=data.update_epochs,
        target_kl=None if update is None else update.target_kl,
        actor_rate=_actor_rate(module),
        learning_rate_warmup=module.optimisation.warmup,
        warmup_iterations=module.warmup_iterations,
        iterations=trainer.max_epochs,
        batch_size=data.batch_size,
        offline=data.fixed,
        data_policy=data.data_policy or own,
        critic_of=module.critic_of,
        critic_layers=len(module.critic.widths),
        critic_width=max(module.critic.widths, default=0),
        **_facts_of_estimator(module, own),
        **_facts_of_replay(module, data),
    )


def _facts_of_estimator(module: IterationModule, own: str | None) -> dict[str, Any]:
    """What an estimator, if there is one, tells; `own` is the policy that a run starts from."""
    advantage = module.advantage
    if advantage is None:
        return {}
    value = advantage.critic_value()
    return {
        "estimator": type(advantage).__name__,
        "q_minus_v": advantage.q_minus_v,
        "regressed": advantage.regressed,
        "num_samples": advantage.num_samples,
        "rollout_policy": None if advantage.num_samples is None else value.policy or own,
        "gamma": value.gamma,
        "reward_scale": value.reward_scale,
    }


def _facts_of_replay(module: IterationModule, data: EnvSource) -> dict[str, Any]:
    """What critics that learn from a replay buffer, if there are some, tell."""
    if not (isinstance(module, OffPolicyModule) and isinstance(data, ReplaySource)):
        return {}
    return {
        "off_policy": True,
        "offline_iterations": data.offline_iterations,
        "hindsight": data.her > 0,
        "episode_steps": data.rollouts.spec.max_episode_steps,
        "gamma": module.gamma,
        "reward_scale": data.reward_scale,
        "highest_return": module.critic.reading.high,
        "temperature": module.objective.temperature,
        "passes_success": data.passes_success or module.bootstrap_at_done == "always",
    }


def _actor_rate(module: IterationModule) -> float:
    """The highest learning rate of a part of the actor, as the configuration says."""
    optimisation = module.optimisation
    factors = [optimisation.own_factor(group) for group in optimisation.groups() if group.network == "actor"]
    return float(module.network_rates().get("actor", 0.0) * max(factors, default=0.0))


def _monitors(trainer: lightning.Trainer) -> tuple[str, ...]:
    """What decides in the callbacks of a run, whose `monitor` is Lightning's word for it."""
    return tuple(str(monitor) for callback in callbacks_of(trainer) if (monitor := getattr(callback, "monitor", None)))
