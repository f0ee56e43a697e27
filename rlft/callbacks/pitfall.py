"""What a mistake is, and what is known of a run that may be in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What is known of a run; `None` where something is not known or has no meaning."""

    start_success: float | None = None  # deterministic success rate of the start policy
    start_success_sampled: float | None = None  # the same with sampled actions, if those are what is learned from
    monitors: tuple[str, ...] = ()  # metrics that decide which policy is kept, or when something happens
    run_name: str | None = None
    start_policy: str | None = None
    estimator: str | None = None  # class name, as are those that follow
    update: str | None = None
    q_minus_v: bool = False  # advantages are a learned Q minus a learned V
    regressed: bool = False  # advantages are what a network predicts that was fitted to advantages
    num_samples: int | None = None  # re-rollouts per state
    rollout_policy: str | None = None  # who plays them
    gamma: float | None = None
    reward_mode: str | None = None
    reward_scale: float = 1.0
    update_epochs: int = 1
    target_kl: float | None = None
    actor_rate: float = 3e-4  # the highest learning rate of a part of the actor
    learning_rate_warmup: int = 0  # gradient steps
    warmup_iterations: int = 0
    iterations: int | None = None  # of the whole run, if it has an end
    batch_size: int | None = None  # transitions per iteration
    offline: bool = False
    data_policy: str | None = None  # who collected the data
    critic_of: str | None = None  # whose value the critic is that the run starts with
    off_policy: bool = False  # critics bootstrap from a replay buffer
    offline_iterations: int = 0  # before anything is simulated
    hindsight: bool = False  # some transitions have goals that were reached instead
    episode_steps: int | None = None  # env steps until an episode is truncated
    highest_return: float | None = None  # that the critics can say
    temperature: float | None = None  # what the actor is paid for a nat of entropy, at the start
    passes_success: bool = False  # targets have something that follows a success
    critic_layers: int = 0
    critic_width: int = 0


@dataclass(frozen=True)
class Pitfall:
    """One mistake.

    Attributes:
        number: in the founding documents' list, after which it goes on.
        id: for silencing it.
        applies: whether a run makes it.
        reason: what is wrong with it; may have facts in braces, which have to be known where it applies.
        evidence: `established` by measurements of ours, which are named; `claimed` in the founding documents and not
            measured here; `doubtful`, claimed but in doubt.
        remedy: what to do.
    """

    number: int
    id: str
    applies: Callable[[Facts], bool]
    reason: str
    evidence: str
    remedy: str

    def sentence(self, facts: Facts) -> str:
        """What a user is told whose run is in it."""
        return f"Pitfall {self.id}: {self.reason.format(**vars(facts))} ({self.evidence}). {self.remedy}"
