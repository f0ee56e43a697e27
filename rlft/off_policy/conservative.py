"""Critics that say little of actions which the data do not have, but no less than the data are known to be worth.

Source: Kumar et al. 2020, "Conservative Q-Learning for Offline Reinforcement Learning" (CQL), 2006.04779, equation 4
and appendix F, whose integral over actions is estimated with uniform actions and with those of the policy here and at
the next observation; and Nakamoto et al. 2023, "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online
Fine-Tuning", 2303.05479, equation 5.1. The weights of the samples are those of their code. Zhou et al. 2024, "Efficient
Online Reinforcement Learning Fine-Tuning Need Not Retain Offline Data" (WSRL), 2412.07762, leave the term out online.

Deviations: there is no Lagrange multiplier for the weight, and no maximum over next actions in the targets. Squared
errors are halved here and returns are at most 1: a weight alpha of theirs, with rewards that they multiply by c, is
`weight: alpha / (2 c)` with `temperature: 1 / c`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from rlft.errors import require
from rlft.off_policy.objective import Bounds, Values
from rlft.types import Ability, Actor, CalibratedBatch, Obs, ReplayBatch


class Conservative:
    """Adds weight (temperature log sum_a exp(Q(s, a) / temperature) / mu(a) - Q(s, a_data)) to the loss of a critic.

    The actions a are samples of the densities mu: uniform ones, and the policy's at s and at the next observation.
    Calibrated, Q of the policy's is at least the return of the episode from s on: what is below that already is not
    pushed further down. Where an episode has not ended in the data, there is no such bound, and it is plain CQL.

    Actions beyond their bounds are clipped to them and count with the density that they had.

    Args:
        weight: of the term.
        temperature: how much of a difference in Q counts; 1 is for returns of tens.
        num_actions: samples of each of the three kinds, of which a gradient step evaluates all.
        calibrated: Cal-QL; else CQL.
        only_offline: leave the term out once something is simulated, as WSRL does.
    """

    needs: frozenset[Ability] = frozenset({"act", "log_prob"})  # what it asks of an actor

    def __init__(
        self,
        weight: float = 0.25,
        temperature: float = 0.1,
        num_actions: int = 4,
        calibrated: bool = True,
        only_offline: bool = False,
    ) -> None:
        require(0 <= weight < math.inf, "model.conservative.weight", weight, "at least 0 and finite")
        require(0 < temperature < math.inf, "model.conservative.temperature", temperature, "above 0 and finite")
        require(num_actions >= 1, "model.conservative.num_actions", num_actions, "at least 1")
        self.weight, self.temperature, self.num_actions = weight, temperature, num_actions
        self.calibrated, self.only_offline = calibrated, only_offline

    def loss(
        self, values: Values, of_data: Tensor, actor: Actor, batch: ReplayBatch, bounds: Bounds, noise: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What to add to the loss of each critic, `[E, B]`, and metrics.

        Args:
            values: Q, `[E, M]`, of observations `[M]` and actions `[M, A]`.
            of_data: Q of the actions of the minibatch, `[E, B]`.
            actor: whose actions they are to be conservative of; it gets no gradient.
            batch: a `CalibratedBatch` if this is calibrated.
            bounds: of actions.
            noise: decides which actions.
        """
        action, log_density = self._samples(actor, batch, bounds, noise)  # [3K, B, A], [3K, B]
        count, size, _ = action.shape
        everywhere = batch.obs.map(lambda x: x.expand(count, *x.shape).flatten(0, 1))  # [3K * B]
        found = values(everywhere, action.flatten(0, 1))  # [E, 3K * B]
        found = found.reshape(len(found), count, size)
        bound = self._bound(batch)  # [B]
        of_policy = found[:, self.num_actions :]
        metrics = {"charts/calibrated_actions": (of_policy < bound).float().mean()} if self.calibrated else {}
        found = torch.cat([found[:, : self.num_actions], of_policy.maximum(bound)], 1)
        gap = soft_maximum(found, log_density, self.temperature) - of_data  # [E, B]
        return self.weight * gap, {"losses/conservative_gap": gap.detach().mean(), **metrics}

    def _bound(self, batch: ReplayBatch) -> Tensor:
        """What Q of the policy's actions is raised to, `[B]`."""
        if self.calibrated:
            assert isinstance(batch, CalibratedBatch)  # the module asks for returns
            return batch.returned
        return torch.full_like(batch.transition.reward, -math.inf)

    @torch.no_grad()
    def _samples(
        self, actor: Actor, batch: ReplayBatch, bounds: Bounds, noise: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Actions `[3K, B, A]`, within their bounds, and log densities `[3K, B]`: first the uniform ones."""
        width = bounds.high - bounds.low  # [A]
        shape = self.num_actions, len(batch)
        share = torch.rand(*shape, len(width), generator=noise, device=noise.device)
        uniform = bounds.low + width * share
        actions, log_densities = [uniform], [-width.log().sum().expand(shape)]
        for obs in (batch.obs, batch.transition.next_obs):
            action, log_density = self._of_policy(actor, obs, noise)
            actions.append(bounds.clip(action))
            log_densities.append(log_density)
        return torch.cat(actions), torch.cat(log_densities)

    def _of_policy(self, actor: Actor, obs: Obs, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples at each observation `[B]`: actions `[K, B, A]`, and log densities `[K, B]`."""
        shape = self.num_actions, len(obs)
        normal = torch.randn(*shape, actor.noise_dim, generator=noise, device=noise.device)
        acted = actor.act(obs.map(lambda x: x.expand(self.num_actions, *x.shape)), normal)
        return acted.action, acted.joint_log_prob


def soft_maximum(values: Tensor, log_density: Tensor, temperature: float) -> Tensor:
    """The `[E, B]` temperature log sum_k exp(Q_k / temperature) / mu_k of `Q [E, K, B]` at samples of `mu [K, B]`."""
    return temperature * (values / temperature - log_density).logsumexp(1)
