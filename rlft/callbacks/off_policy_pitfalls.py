"""Mistakes of off-policy learning with rewards of success."""

from __future__ import annotations

from rlft.callbacks.pitfall import Facts, Pitfall


def _pays_success(facts: Facts) -> bool:
    """Whether a return is 1 at most, as far as is known."""
    bounded = facts.highest_return is not None and facts.highest_return <= 1
    return facts.off_policy and facts.reward_scale == 1 and (facts.reward_mode == "sparse" or bounded)


def _hot(facts: Facts) -> bool:
    hot = facts.temperature is not None and facts.temperature >= 0.5
    return _pays_success(facts) and facts.start_policy is not None and hot


def _short_sighted(facts: Facts) -> bool:
    if facts.gamma is None or facts.episode_steps is None:
        return False
    return _pays_success(facts) and facts.gamma ** (facts.episode_steps / 2) < 0.05


OFF_POLICY = (
    Pitfall(
        13,
        "hot-temperature",
        _hot,
        "a temperature of 0.5 or more pays the actor for a nat of entropy about as it does for success: it forgets the "
        "start policy before the temperature has fallen",
        "claimed: not measured here",
        "Set model.objective.temperature 0.01.",
    ),
    Pitfall(
        14,
        "short-sighted-gamma",
        _short_sighted,
        "gamma leaves less than a twentieth of a success that is half an episode away, which critics that bootstrap "
        "hardly tell from none",
        "claimed: by calculation, 0.8 leaves 0.004 of it after 25 env steps, and not measured here",
        "Set model.gamma 0.97.",
    ),
    Pitfall(
        15,
        "no-warm-up",
        lambda facts: (
            facts.off_policy
            and facts.start_policy is not None
            and not facts.warmup_iterations
            and not facts.offline_iterations
            and not facts.hindsight
        ),
        "new critics know nothing of a start policy that is good already, and the actor follows them at once",
        "claimed: 83.3% instead of 91.2% after 20,000 env steps, within the scatter of three seeds; with hindsight "
        "nothing is lost (docs/results_off_policy.md)",
        "Set model.warmup_iterations 1, or data.offline_iterations with data.prior.",
    ),
    Pitfall(
        16,
        "past-success",
        lambda facts: _pays_success(facts) and facts.passes_success,
        "something follows a success, as if its reward came again: targets bootstrap past it, and returns exceed 1",
        "claimed: by calculation, a reward of 1 in every step of success is a return of up to 1 / (1 - gamma)",
        "Set model.bootstrap_at_done truncation and end episodes, also those of data.prior, with success; or set "
        "model.critic.head mse without a value_range.",
    ),
)
