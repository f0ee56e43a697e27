"""Pretraining of the part of an encoder that looks at pictures: to tell them again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.demonstrated import DemonstratedModule
from rlft.modules.injection import start_actor, start_name
from rlft.networks import CategoricalActor, EncodedActor, NoCritic, QuantileActor
from rlft.networks.decoder import ConvDecoder, reconstruction_error
from rlft.networks.encoders import ConvEncoder
from rlft.types import (
    Actor,
    AdvantageEstimate,
    Critic,
    LearningRows,
    NeedsLength,
    Observed,
    PolicyName,
    Rerollouts,
    Rollout,
    Start,
)


class AutoencoderModule(DemonstratedModule):
    """Trains `encoder.image` of an actor, with a decoder that is left behind, to reproduce pictures.

    The policy that it writes is the actor with that encoder, everything else as it was at the start: another run takes
    it by `inject_from` and `inject: image`. Pictures go in as that actor normalises them; the error is that of pixels
    from 0 to 1. `losses/reconstruction` and, of held-out episodes, `losses/validation_reconstruction` are it.

    The optimiser's arguments are documented in `IterationModule`; the decoder is the submodule `decoder`.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        actor: how to build the actor when there is no `policy`; one that looks at pictures.
        demonstrator: who plays what is seen: a zoo name, or a policy or checkpoint file; `null` has the actor do it. Of
            no meaning where `data.dataset` holds it.
        policy: the policy to start from: a policy or checkpoint file; `null` starts from scratch.
        data_policy: whose data they are, if they come from a file; taken from the data.
        privileged_dim: numbers per observation that only a demonstrator may see; taken from the environment.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        actor: Start[Callable[[int, int], Actor]],
        demonstrator: PolicyName | None = None,
        policy: Start[PolicyName | None] = None,
        data_policy: str | None = None,
        learning_rate: float = 1e-3,
        learning_rate_factors: dict[str, float] | None = None,
        learning_rate_warmup: int = 0,
        anneal_lr: NeedsLength[bool] = False,
        max_grad_norm: float = 1.0,
        on_bad_numbers: OnBadNumbers = "stop",
        privileged_dim: int | None = None,
    ) -> None:
        super().__init__(
            learning_rate, learning_rate_factors, learning_rate_warmup, anneal_lr, max_grad_norm, on_bad_numbers
        )
        self._begin_with(demonstrator, data_policy, (obs_dim, privileged_dim or 0), action_dim)
        self.policy = demonstrator or start_name(policy, None, "none")
        self.actor = start_actor(policy, actor, obs_dim, action_dim)
        self.decoder = ConvDecoder(eye_of(self.actor))
        self.critic: Critic = NoCritic()

    @property
    def trains_actor(self) -> bool:
        """What it does is of no meaning: only a part of it learns."""
        return False

    def network_rates(self) -> dict[str, float]:
        """Both learn at one rate."""
        return {"actor": self.learning_rate, "decoder": self.learning_rate}

    # ---- what is seen --------------------------------------------------------------------------------------------

    def to_rows(
        self, rollout: Rollout, rerollouts: Rerollouts, labels: AdvantageEstimate | None = None
    ) -> LearningRows:
        """Every observation is a row."""
        return LearningRows(Observed(rollout.obs), self.usable(rollout), None)

    # ---- one iteration -------------------------------------------------------------------------------------------

    def training_step(self, batch: Observed) -> Tensor | None:
        """The error of a minibatch, or `None` if nothing is to be learned."""
        loss = self.error(batch)
        self.metrics.average({"losses/reconstruction": loss.detach()})
        return loss if loss.requires_grad else None

    def error(self, batch: Observed) -> Tensor:
        """Mean squared error of the pictures of observations `[B]`."""
        image = batch.obs.image
        return reconstruction_error(self.decoder(eye_of(self.actor)(image)), image)

    @torch.no_grad()
    def _outputs(self, batch: Observed) -> dict[str, Tensor]:
        """What the networks make of a minibatch, `[B, F]`."""
        return {"features": eye_of(self.actor)(batch.obs.image)}

    def _validate(self, held_out: Observed) -> dict[str, float]:
        """How well pictures that never train are reproduced."""
        weights = self.evaluated()
        total = sum(float(weights.error(part)) * len(part) for part in held_out.in_parts())
        return {"losses/validation_reconstruction": total / len(held_out)}


def eye_of(actor: Actor) -> ConvEncoder:
    """The part of an actor that looks at pictures.

    Raises:
        UserError: if it has none.
    """
    if isinstance(actor, QuantileActor | CategoricalActor | EncodedActor) and actor.encoder.image is not None:
        return actor.encoder.image
    raise UserError(
        f"model.actor {type(actor).__name__} as configured looks at no picture; it must be a QuantileActor, a "
        "CategoricalActor or an EncodedActor with an image."
    )
