"""What a critic is a value of: recorded in every policy file, compared where a critic is loaded.

A value function is that of a policy, a discount, a reward and a rule for what follows the last state. Loaded where one
of these differs it still runs, and silently biases every advantage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

from rlft.advantage import AdvantageEstimator
from rlft.errors import UserError

Setting = Literal["policy", "gamma", "reward_mode", "reward_scale", "bootstrap_at_done", "expectile"]
OWN = "the policy trained with it"  # whose value the critic of a run is that trains its actor


def value_of(advantage: AdvantageEstimator, reward_mode: str | None, policy: str | None) -> dict[str, Any]:
    """Settings that a critic trained by `advantage` depends on; `policy` is the one that collects its data."""
    value = advantage.critic_value()
    return {
        "policy": value.policy or policy,
        "states": policy,
        "gamma": value.gamma,
        "reward_mode": reward_mode,
        "reward_scale": value.reward_scale,
        "bootstrap_at_done": value.bootstrap_at_done,
        "expectile": value.expectile,
        "estimator": type(advantage).__name__,
    }


def check(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any], accepted: Collection[Setting]) -> None:
    """Refuses the critic of file `name`, made under `found`, for a run under `wanted`.

    Raises:
        UserError: if a setting that is not `accepted` differs or is not known.
    """
    differing = [key for key in get_args(Setting) if found.get(key) != wanted[key] and key not in accepted]
    if differing:
        different = ", ".join(f"{key} {found.get(key, 'unknown')} (here {wanted[key]})" for key in differing)
        raise UserError(
            f"The critic of {name!r} was made with {different}; to use it all the same set "
            f"--model.accept_critic_mismatch '[{', '.join([*accepted, *differing])}]'."
        )
