"""Whether stored rewards are of the reward that a run goes on with, and what becomes of them if they are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from rlft.data.reward_normalization import RewardNormalization
from rlft.errors import UserError
from rlft.types import EnvFactory, EnvSpec, Experience, OnRewardChange, Primitive, settings_of

Inputs = Mapping[str, Tensor]  # what rewards are made of, by name, [T, N] each
Recompute = Callable[[Experience, Inputs], Experience]


@dataclass(frozen=True)
class RewardRecord:
    """What rewards in minibatches depend on, as a checkpoint has it."""

    reward: Mapping[str, Primitive]  # of the environment, see `EnvFactory.reward_settings`
    normalization: Mapping[str, Primitive]  # nothing if rewards count as they are

    @classmethod
    def of(cls, env: EnvFactory, spec: EnvSpec, normalization: RewardNormalization | None) -> RewardRecord:
        """Of a run."""
        settings = {} if normalization is None else {**settings_of(normalization), "gamma": normalization.gamma}
        return cls(dict(env.reward_settings(spec)), settings)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"reward": dict(self.reward), "normalization": dict(self.normalization)}

    def differences(self, before: RewardRecord) -> list[str]:
        """`reward_mode dense (here sparse)` and the like."""
        of_both = (
            (before.reward, self.reward, ""),
            (before.normalization, self.normalization, "reward_normalization "),
        )
        return [
            f"{prefix}{name} {_said(then.get(name))} (here {_said(now.get(name))})"
            for then, now, prefix in of_both
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]


def decided(how: OnRewardChange, changed: Sequence[str], *, is_known: bool) -> str:
    """What the report says of stored rewards; nothing if there is nothing to say.

    Args:
        how: what is to become of those that are of another reward.
        changed: in what the rewards differ.
        is_known: whether the checkpoint says of which reward its experience is.

    Raises:
        UserError: if they differ and nobody has said what is to become of them.
    """
    if changed and how == "refuse":
        raise UserError(
            f"The stored experience has other rewards than this run: {', '.join(changed)}; go on with the reward as it "
            "was, or give --on_reward_change recompute, which makes stored rewards those of this run, or reset, which "
            "drops the experience."
        )
    taken = (
        "The checkpoint is of earlier code and does not name the reward of its experience, which is taken for this one."
    )
    told = [] if is_known else [taken]
    if changed:
        what = "stored rewards were made those of this run" if how == "recompute" else "all experience was dropped"
        told += [f"Rewards are others from here on, {what}, and running moments begin anew: {', '.join(changed)}."]
    elif how != "refuse":
        told += [f"Rewards are as they were, so --on_reward_change {how} had nothing to do."]
    return " ".join(told)


def recomputing(env: EnvFactory, spec: EnvSpec, now: RewardRecord, before: RewardRecord) -> Recompute | None:
    """What computes stored rewards again; nothing if they are the same, and only their normalisation is another one."""
    return None if now.reward == before.reward else partial(_recomputed, env, spec, before.reward)


def _recomputed(
    env: EnvFactory, spec: EnvSpec, before: Mapping[str, Primitive], experience: Experience, inputs: Inputs
) -> Experience:
    """Steps with other rewards.

    Raises:
        UserError: if the environment cannot tell them.
    """
    try:
        if not inputs:
            raise NotImplementedError
        reward = env.rewards_again(spec, before, inputs)
    except NotImplementedError as error:
        raise UserError(
            f"Task {spec.task} cannot compute stored rewards again, as --on_reward_change recompute asks: it has no "
            "function for that, or the steps lack the numbers that it needs; give --on_reward_change reset."
        ) from error
    return replace(experience, reward=reward.to(experience.reward.dtype))


def _said(value: Primitive) -> str:
    return "nothing" if value is None else str(value)
