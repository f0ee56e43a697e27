"""Behaviour cloning: an actor that does what was demonstrated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError, require
from rlft.modules.bad_numbers import OnBadNumbers
from rlft.modules.demonstrated import DemonstratedModule
from rlft.modules.injection import Inject, check_source, inject_part, start_actor, start_name
from rlft.modules.offsets import actions_at, checked_weights
from rlft.networks import GaussianActor, NoCritic
from rlft.networks.choice_heads import ChoiceHeads, ChoosingActor
from rlft.networks.distributions import DiagonalGaussian
from rlft.networks.future_heads import Dropout, FutureHeads, MeanActor, no_dropout
from rlft.types import (
    Actor,
    AdvantageEstimate,
    CloningBatch,
    Critic,
    LearningRows,
    NeedsLength,
    PolicyName,
    Rerollouts,
    Rollout,
    Start,
)


class BCModule(DemonstratedModule):
    """Clones demonstrations: those of a `demonstrator`, whom the data module lets play, or those of `data.dataset`.

    The demonstrations are fixed with an `OfflineDataModule`, and new in every iteration with a `RolloutDataModule`.

    With several `offsets`, heads beside the actor's own predict, from the features of its encoder, the action that many
    steps later or earlier: the loss is sum_o w_o L_o / sum_o w_o, L_o the mean over the steps for which there is such
    an action in the same episode. These heads and all dropout are left behind in training; the policy is a plain actor.

    `losses/policy_loss` is the loss of the actor's own actions, whatever else is predicted, so that runs compare; that
    of an offset is `losses/offset_<o>`, the weighted mean of all `losses/total_loss`. Of held-out episodes, without
    dropout: `losses/validation_policy_loss`, `losses/validation_offset_<o>`, and `losses/validation_mse`, the mean
    squared error of the mean action whatever the loss is.

    Of a `CategoricalActor`, whose actions are choices, the loss is the cross-entropy; a `QuantileActor` has its values
    for logits, of which `value` learns nothing, since it is the same for all choices. Of held-out episodes
    `charts/validation_accuracy` and `charts/validation_accuracy_<o>`, the shares of choices that are predicted rightly,
    take the place of the squared error; `charts/validation_recall_<c>` is the share of the steps with choice c.

    The optimiser's arguments are documented in `IterationModule`; the heads of other offsets are the submodule `heads`.

    Args:
        obs_dim: numbers per observation; taken from the environment.
        action_dim: numbers per action; taken from the environment.
        demonstrator: who plays the demonstrations: a zoo name such as `pickcube/expert`, or a policy or checkpoint
            file; `null` clones the start policy. Of no meaning where `data.dataset` holds them.
        policy: the policy to start from: a zoo name such as `pickcube/weak`, or a policy or checkpoint file; `null`
            starts from scratch.
        actor: how to build the actor when there is no `policy`: a `GaussianActor`, an `EncodedActor` of pictures, or of
            choices a `CategoricalActor` or a `QuantileActor`.
        inject_from: zoo policy, policy file or checkpoint that gives a part of its actor to the actor of the start.
        inject: which part: `encoder`, `action_head`, `both` of them, or the `full` actor with its standard deviation.
        data_policy: who played the data, if they come from a file; taken from the data.
        loss: `gaussian`, the negative log likelihood of the unclipped action, of choices the cross-entropy; `mse`, the
            mean squared error of the mean action, which leaves the standard deviation as it was at the start.
        offsets: which actions to predict, in env steps from now: 0, the actor's own, and any others.
        offset_weights: of the offsets in the loss, in their order; `null` makes them equal.
        encoder_dropout: share of the encoder's features that a gradient step does not see.
        head_dropout: the same between the two layers of every head.
        log_std_min: the log standard deviation never falls below this, as it would without end where demonstrations are
            deterministic; `null` sets no bound.
        privileged_dim: numbers per observation that only a demonstrator may see; taken from the environment.
    """

    actor: MeanActor | ChoosingActor
    heads: FutureHeads | ChoiceHeads
    advantage: AdvantageEstimator
    offset_weights: Tensor  # [K], they sum to 1

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        demonstrator: PolicyName | None = None,
        policy: Start[PolicyName | None] = None,
        actor: Start[Callable[[int, int], Actor]] = GaussianActor,
        inject_from: Start[PolicyName | None] = None,
        inject: Start[Inject] = "none",
        data_policy: str | None = None,
        loss: Literal["gaussian", "mse"] = "gaussian",
        offsets: tuple[int, ...] = (0,),
        offset_weights: tuple[float, ...] | None = None,
        encoder_dropout: float = 0.0,
        head_dropout: float = 0.0,
        log_std_min: float | None = -3.0,
        learning_rate: float = 3e-4,
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
        weights = checked_weights(offsets, offset_weights)
        for name, share in (("encoder_dropout", encoder_dropout), ("head_dropout", head_dropout)):
            require(0 <= share < 1, f"model.{name}", share, "at least 0 and below 1")
        right = log_std_min is None or math.isfinite(log_std_min)
        require(right, "model.log_std_min", log_std_min, "finite, or null for no bound")
        check_source(inject_from, inject)
        self._begin_with(demonstrator, data_policy, (obs_dim, privileged_dim or 0), action_dim)
        self.policy = demonstrator or start_name(policy, inject_from, inject)  # who plays for the data module
        self.loss = loss
        self.offsets = tuple(offsets)
        self.register_buffer("offset_weights", torch.tensor(weights), persistent=False)
        self.encoder_dropout = encoder_dropout
        self.head_dropout = head_dropout
        self.log_std_min = log_std_min
        own = start_actor(policy, actor, obs_dim, action_dim)
        if not isinstance(own, MeanActor | ChoosingActor):
            what = f"model.actor is a {type(own).__name__}" if policy is None else f"model.policy {policy!r} is another"
            raise UserError(
                f"{what}; BCModule trains a GaussianActor, an EncodedActor, a CategoricalActor or a QuantileActor."
            )
        if loss == "mse" and isinstance(own, ChoosingActor):
            raise UserError("model.loss is mse, but choices have no mean; it must be gaussian, their cross-entropy.")
        self.actor = own
        self.notes += inject_part(self.actor, inject_from, inject)
        head = own.advantage if isinstance(own, ChoosingActor) else own.action_head
        if head_dropout and len(head) == 1:
            raise UserError("model.head_dropout has no place: a head of one hidden layer in all has a single layer.")
        self.critic: Critic = NoCritic()
        self.heads = (
            ChoiceHeads(own, self.offsets) if isinstance(own, ChoosingActor) else FutureHeads(own, self.offsets)
        )

    @property
    def trains_actor(self) -> bool:
        """The policy changes."""
        return True

    def network_rates(self) -> dict[str, float]:
        """The actor and the heads of other offsets, if there are any, learn at one rate."""
        return {"actor": self.learning_rate, "heads": self.learning_rate}

    def setup(self, stage: str) -> None:
        """Refuses to imitate what it does itself, again and again."""
        super().setup(stage)
        if stage == "fit" and self.demonstrator is None and not self.source.fixed:
            raise UserError("model.demonstrator is null; name one, or clone fixed data with data OfflineDataModule.")

    # ---- demonstrations ------------------------------------------------------------------------------------------

    def to_rows(
        self, rollout: Rollout, rerollouts: Rerollouts, labels: AdvantageEstimate | None = None
    ) -> LearningRows:
        """Every step of a demonstration is a row: nothing is asked of how good its action was."""
        action, known = actions_at(rollout, self.offsets)
        rows = CloningBatch(obs=rollout.obs, action=action, known=known)
        return LearningRows(rows, self.usable(rollout), None)

    # ---- one iteration -------------------------------------------------------------------------------------------

    def training_step(self, batch: CloningBatch) -> Tensor | None:
        """The loss on a minibatch, or `None` if nothing is to be learned."""
        losses = self.offset_losses(batch, self._dropout)  # [K]
        loss = losses @ self.offset_weights
        with torch.no_grad():
            self.metrics.average(self._named(losses.detach()))
            if self.actor.can("entropy"):
                self.metrics.average({"losses/entropy": self.actor.entropy(batch.obs).mean()})
            if self.heads:
                self.metrics.average({"losses/total_loss": loss.detach()})
        if not loss.requires_grad:  # all that could learn is frozen
            return None
        self.metrics.count("charts/actor_updates")
        return loss

    def offset_losses(self, batch: CloningBatch, dropout: Dropout = no_dropout) -> Tensor:
        """The loss of every offset, `[K]`; 0 where none of the actions is known."""
        return _mean_known(self._errors(batch, dropout), batch.known)

    def _errors(self, batch: CloningBatch, dropout: Dropout) -> Tensor:
        """Of every action, `[B, K]`."""
        shares = (self.encoder_dropout, self.head_dropout)
        if isinstance(self.actor, ChoosingActor):
            assert isinstance(self.heads, ChoiceHeads)
            return -self.heads.predict(self.actor, batch.obs, *shares, dropout).log_prob(batch.action)
        assert isinstance(self.heads, FutureHeads)
        mean, log_std = self.heads.predict(self.actor, batch.obs, *shares, dropout)  # [B, K, A], [K, A]
        if self.loss == "mse":
            return ((batch.action - mean) ** 2).mean(-1)
        return -DiagonalGaussian(mean, log_std).log_prob(batch.action)

    def after_step(self) -> None:
        """Raises log standard deviations to their bound."""
        if self.loss == "mse" or self.log_std_min is None or isinstance(self.actor, ChoosingActor):
            return
        assert isinstance(self.heads, FutureHeads)
        for head in self.heads.all(self.actor):
            head.clamp_exploration(self.log_std_min, None)

    def _validate(self, held_out: CloningBatch) -> dict[str, float]:
        """How well the demonstrations that never train are predicted."""
        weights = self.evaluated()
        errors = torch.cat([weights._errors(part, no_dropout) for part in held_out.in_parts()])  # [M, K]
        found = torch.where(held_out.known.any(0), _mean_known(errors, held_out.known), torch.nan)  # [K]
        losses = {name.replace("/", "/validation_"): float(loss) for name, loss in self._named(found).items()}
        if isinstance(weights.actor, ChoosingActor):
            return {**losses, **weights.accuracies(held_out)}
        error = held_out.action[:, self.offsets.index(0)] - weights.actor.mode(held_out.obs)  # [M, A]
        return {**losses, "losses/validation_mse": float((error**2).mean())}

    def accuracies(self, held_out: CloningBatch) -> dict[str, float]:
        """Shares of choices that are predicted rightly: of every offset, and of each choice that the actor's own is."""
        assert isinstance(self.heads, ChoiceHeads)
        assert isinstance(self.actor, ChoosingActor)
        predicted = [self.heads.predict(self.actor, part.obs).mode() for part in held_out.in_parts()]
        right = (torch.cat(predicted) == held_out.action).squeeze(-1).float()  # [M, K]
        names = ["" if offset == 0 else f"_{offset}" for offset in self.offsets]
        shares = _mean_known(right, held_out.known).tolist()
        accuracies = {f"charts/validation_accuracy{name}": share for name, share in zip(names, shares, strict=True)}
        own = self.offsets.index(0)
        made = held_out.action[:, own, 0]
        recalls = {
            f"charts/validation_recall_{c}": float(right[made == c, own].mean()) for c in torch.unique(made).tolist()
        }
        return {**accuracies, **recalls}

    def _named(self, losses: Tensor) -> dict[str, Tensor]:
        names = ["losses/policy_loss" if offset == 0 else f"losses/offset_{offset}" for offset in self.offsets]
        return dict(zip(names, losses, strict=True))

    def _dropout(self, hidden: Tensor, share: float) -> Tensor:
        """Zeros a `share` and raises the others, so that the expectation stays."""
        if not share:
            return hidden
        kept = torch.rand(hidden.shape, generator=self.noise, device=hidden.device) >= share
        return hidden * kept / (1 - share)


def _mean_known(values: Tensor, known: Tensor) -> Tensor:
    """Over the rows of `[B, K]` that are known, `[K]`; 0 where none is."""
    return torch.where(known, values, 0).sum(0) / known.sum(0).clamp(min=1)
