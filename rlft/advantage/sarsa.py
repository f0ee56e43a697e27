"""SARSA as an advantage estimator: Q and V of the policy that collected the data.

Expected SARSA (Sutton and Barto 2018, "Reinforcement Learning", section 6.6) with the expectation over the actions left
to a V network: implicit Q-learning at expectile 0.5, where V is the mean of Q over the data's actions. The deviations
are those listed there; besides, the smaller of two Q lies below Q^mu where they disagree, which `single_q` avoids.
"""

from typing import Literal

from rlft.advantage.iql import IQL


class SARSA(IQL):
    """V and Q of the policy that collected the data, learned one or several steps ahead.

    Args:
        gamma: discount per env step.
        n_step: env steps that Q's target looks ahead before it trusts V.
        single_q: one Q network instead of two, of which V learns from the smaller value.
        polyak: share of the way that the target networks move towards Q after every gradient step.
        advantage: `gae`: along the trajectories, with V. `q_minus_v`: what the target networks say of the action.
        gae_lambda: of `gae` and of the logged explained variance: 0 trusts V after one step, 1 uses the whole return.
        reward_scale: factor on every reward before anything else is computed.
    """

    def __init__(
        self,
        gamma: float = 0.8,
        n_step: int = 1,
        single_q: bool = False,
        polyak: float = 0.005,
        advantage: Literal["gae", "q_minus_v"] = "gae",
        gae_lambda: float = 0.95,
        reward_scale: float = 1.0,
    ) -> None:
        super().__init__(
            gamma=gamma,
            expectile=0.5,
            n_step=n_step,
            single_q=single_q,
            polyak=polyak,
            advantage=advantage,
            gae_lambda=gae_lambda,
            reward_scale=reward_scale,
        )
