"""A policy that can be asked for good actions.

Advantage conditioning of Physical Intelligence 2025, "pi*0.6: a VLA That Learns From Experience" (arXiv 2511.14759),
with the guidance of Frans, Park, Abbeel, Levine 2025, "Diffusion Guidance Is a Controllable Policy Improvement
Operator" (arXiv 2505.23458).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from rlft.networks.actors import DiagonalGaussianActor, GaussianActor
from rlft.networks.descriptions import describe
from rlft.networks.distributions import DiagonalGaussian
from rlft.types import Obs

NEGATIVE, POSITIVE, NULL = 0, 1, 2  # the indicator: worse actions, better actions, not told which


class ConditionedActor(DiagonalGaussianActor):
    """A `GaussianActor` whose mean also depends on an indicator; it acts under the condition POSITIVE.

    One learned vector per condition is added to the first hidden layer before its activation, which equals a one-hot
    input beside the observation. The vectors begin as zeros: at first every condition acts as the given actor does, bit
    for bit. All conditions share one standard deviation.

    Args:
        actor: gives its weights, which are copied.
        guidance: how far to go from the unconditioned towards the positive mean; 1 is plain conditioning.
    """

    guidance: Tensor  # a buffer, so that a saved policy acts as it did

    def __init__(self, actor: GaussianActor, guidance: float = 1.0) -> None:
        super().__init__(actor.obs_dim, actor.log_std.detach().clone())
        self.encoder = copy.deepcopy(actor.encoder)
        self.action_head = copy.deepcopy(actor.action_head)
        hidden_dim = len(next(self.encoder.parameters()))
        self.embedding = nn.Parameter(self.log_std.new_zeros(3, hidden_dim))  # [condition, hidden]
        self.register_buffer("guidance", torch.tensor(guidance))
        self._given = describe(actor)

    def arguments(self) -> dict[str, Any]:
        """An actor like the one that gave its weights, and the guidance of now."""
        return {"actor": self._given, "guidance": self.guidance.item()}

    def forward(self, obs: Obs) -> Tensor:
        """The guided mean action `[..., A]`.

        Guidance (Frans et al. 2025) acts with pi_g ~ pi(a|s) (pi(a|s, positive) / pi(a|s))^g. For Gaussians with
        precisions L_u, L_c the product is a Gaussian with precision L_g = L_u + g (L_c - L_u) and mean
        [(1 - g) L_u m_u + g L_c m_c] / L_g. Here L_u = L_c, so that L_g is the same and m_g = (1 - g) m_u + g m_c.
        """
        positive = self.conditional(obs, POSITIVE)
        if self.guidance == 1:
            return positive  # saves a pass
        return torch.lerp(self.conditional(obs, NULL), positive, self.guidance)

    def conditional(self, obs: Obs, indicator: Tensor | int) -> Tensor:
        """The mean action `[..., A]` under a condition per row, `[...]` int64, or one for all rows."""
        first, *others = self.encoder
        # Not `self.embedding[indicator]`, whose gradient adds up in an order that depends on the threads.
        condition = nn.functional.embedding(torch.as_tensor(indicator, device=obs.device), self.embedding)
        hidden: Tensor = first(obs.state) + condition  # [..., hidden]
        for layer in others:
            hidden = layer(hidden)
        mean: Tensor = self.action_head(hidden)
        return mean

    def conditioned(self, obs: Obs, indicator: Tensor | int) -> DiagonalGaussian:
        """Of the actions under such a condition."""
        return DiagonalGaussian(self.conditional(obs, indicator), self.log_std)
