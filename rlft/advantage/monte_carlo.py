"""Monte-Carlo returns of the collected episodes: GAE with lambda = 1.

The return of a step is the discounted reward to the end of its episode. An episode that the rollout cuts off has no
return yet: `tail` says what to do with its steps.
"""

import dataclasses
from typing import Literal

from torch import Tensor

from rlft.advantage.base import BootstrapAtDone
from rlft.advantage.gae import GAE
from rlft.statistics.fit import explained_variance
from rlft.types import AdvantageEstimate, Critic, Rerollouts, Rollout


class MonteCarlo(GAE):
    """Discounted return of the rest of the episode minus a learned V.

    Args:
        gamma: discount per env step.
        tail: steps of episodes still running when the rollout ends. `bootstrap`: the critic's value stands for the
            rest. `drop`: leave them out, which keeps the estimate free of the critic but favours short episodes.
        bootstrap_at_done: what follows an episode's last state. `truncation`: its value after the time limit, nothing
            after success or failure. `always`: its value in both cases, as ManiSkill's PPO does. `never`: nothing.
        reward_scale: factor on every reward before anything else is computed.
        vf_coef: weight of the value loss.
        clip_vloss: penalise the larger of the plain and the clipped value error (PPO2's value clipping).
        vf_clip_coef: how far a value may move before `clip_vloss` clips it, in units of the scaled return.
    """

    def __init__(
        self,
        gamma: float = 0.8,
        tail: Literal["bootstrap", "drop"] = "bootstrap",
        bootstrap_at_done: BootstrapAtDone = "truncation",
        reward_scale: float = 1.0,
        vf_coef: float = 0.5,
        clip_vloss: bool = False,
        vf_clip_coef: float = 0.2,
    ) -> None:
        super().__init__(
            gamma=gamma,
            gae_lambda=1.0,
            bootstrap_at_done=bootstrap_at_done,
            reward_scale=reward_scale,
            vf_coef=vf_coef,
            clip_vloss=clip_vloss,
            vf_clip_coef=vf_clip_coef,
        )
        self.tail = tail

    def estimate(self, rollout: Rollout, critic: Critic, rerollouts: Rerollouts) -> AdvantageEstimate:
        """GAE at lambda = 1, without the unfinished tails if those are dropped."""
        estimate = super().estimate(rollout, critic, rerollouts)
        if self.tail == "bootstrap":
            return estimate
        mask = _finished(rollout.done)
        variance = explained_variance(estimate.value[mask], estimate.value_target[mask])
        return dataclasses.replace(estimate, mask=mask, metrics={"losses/explained_variance": variance})


def _finished(done: Tensor) -> Tensor:
    """[T, N] bool: the step's episode ends within the rollout."""
    return done.int().flip(0).cummax(0).values.flip(0) > 0
