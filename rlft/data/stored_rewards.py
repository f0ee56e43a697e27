"""Whether stored rewards are of the reward that a run goes on with, and what becomes of them if they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from rlft.data.replay_files import Inputs, Recompute
from rlft.data.reward_normalization import RewardNormalization
from rlft.errors import UserError
from rlft.types import REWARD_INPUT, EnvFactory, EnvSpec, Experience, OnRewardChange, Primitive, Rollout, settings_of


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

    def differences(self, before: RewardRecord) -> list[str]:
        """`reward_mode dense (here sparse)` and the like."""
        of_both = (
            (before.reward, self.reward, ""),
            (before.normalization, self.normalization, "reward_normalization "),
        )
        return [
            f"{prefix}{name} {_description(then.get(name))} (here {_description(now.get(name))})"
            for then, now, prefix in of_both
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name)
        ]


class StoredRewards:
    """The rewards of a replay buffer: what they count as in minibatches, and of which reward they are.

    Args:
        normalization: has them count in standard deviations of the return, if there is one.
    """

    def __init__(self, normalization: RewardNormalization | None) -> None:
        self.normalization = normalization
        self.recompute: Recompute | None = None  # what the stored steps of a run with another reward have to go through
        self.drops = False  # whether they are dropped instead
        self._loads = False  # whether running moments go on

    def counted(self, reward: Tensor) -> Tensor:
        """What rewards of any shape count as at this moment."""
        return reward if self.normalization is None else self.normalization.normalized(reward)

    @property
    def scale(self) -> float:
        """What they are multiplied by for that."""
        return 1.0 if self.normalization is None else self.normalization.scale

    def add(self, experience: Experience) -> None:
        """Takes the next steps `[T, N]` of all environments."""
        if self.normalization is not None:
            self.normalization.add(experience)

    def add_apart(self, experience: Experience) -> None:
        """Takes steps `[T, N]` of others."""
        if self.normalization is not None:
            self.normalization.add_apart(experience)

    def state_dict(self, env: EnvFactory, spec: EnvSpec) -> dict[str, Any]:
        """What the rewards are, and the running moments, for a checkpoint."""
        moments = {} if self.normalization is None else self.normalization.state_dict()
        return {"record": asdict(RewardRecord.of(env, spec, self.normalization)), "moments": moments}

    def settle(self, env: EnvFactory, spec: EnvSpec, saved: Mapping[str, Any] | None, how: OnRewardChange) -> list[str]:
        """Decides what becomes of stored rewards, and says it in sentences.

        Args:
            env: of this run.
            spec: of its environments.
            saved: `state_dict` of the checkpoint; `None` if its code was older.
            how: what is to become of rewards that are not those of this run.

        Raises:
            UserError: if they are not, and that is to be refused.
        """
        now = RewardRecord.of(env, spec, self.normalization)
        before = RewardRecord(now.reward, {}) if saved is None else RewardRecord(**saved["record"])
        changed = now.differences(before)
        told = decided(how, changed, is_known=saved is not None)
        if how == "recompute" and now.reward != before.reward:
            self.recompute = partial(_recomputed, env, spec, before.reward)
        self.drops, self._loads = bool(changed) and how == "reset", not changed
        return told

    def again(self, experience: Experience, inputs: Inputs) -> Experience:
        """Stored steps as steps of this run."""
        return experience if self.recompute is None else self.recompute(experience, inputs)

    def load(self, saved: Mapping[str, Any] | None) -> None:
        """Goes on with the running moments of a checkpoint, if they have not been made anew."""
        if self._loads and self.normalization is not None and saved is not None:
            self.normalization.load_state_dict(saved["moments"])


def decided(how: OnRewardChange, changed: Sequence[str], *, is_known: bool) -> list[str]:
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
    return told


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


def _description(value: Primitive) -> str:
    return "nothing" if value is None else str(value)


def inputs_of(rollout: Rollout, spec: EnvSpec) -> Inputs:
    """What the rewards of a rollout are made of, as far as the task tells."""
    return {name: rollout.info[..., column] for name, column in spec.named(REWARD_INPUT).items()}
