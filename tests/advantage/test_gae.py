import pytest
import torch

from rlft.advantage import GAE
from tests.support.hand_made import ObsCritic, random_rollout, rollout_of

# The worked example: gamma = lambda = 0.5, r = [1, 2, 3], V = [0.5, 1, 1.5], V(next) = 2 behind the last step.
R, V, V_NEXT = [1.0, 2.0, 3.0], [0.5, 1.0, 1.5], [1.0, 1.5, 2.0]
ENDS_AT_1 = [False, True, False]
V_NEXT_4 = [1.0, 4.0, 2.0]  # the episode ends with step 1 in a state of value 4; step 2 begins another episode


def advantages(rollout, **options):
    return (
        GAE(**{"gamma": 0.5, "gae_lambda": 0.5, **options})
        .estimate(rollout, ObsCritic(), None)
        .advantage[:, 0]
        .tolist()
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # delta = [1 + .5 - .5, 2 + .75 - 1, 3 + 1 - 1.5] = [1, 1.75, 2.5]; A_t = delta_t + 0.25 A_{t+1}
        ({}, [1.59375, 2.375, 2.5]),
        ({"gae_lambda": 0.0}, [1.0, 1.75, 2.5]),
        # A_t = delta_t + 0.5 A_{t+1}
        ({"gae_lambda": 1.0}, [2.5, 3.0, 2.5]),
        # n-step advantages of t=0: 1, 1.875, 2.5 with weights 1, .5, .25; of t=1: 1.75, 3 with weights 1, .5
        ({"finite_horizon_gae": True}, [1.464286, 2.166667, 2.5]),
    ],
)
def test_without_episode_ends(options, expected):
    assert advantages(rollout_of(R, V, V_NEXT), **options) == pytest.approx(expected, abs=1e-6)


# Ended at 1 with nothing behind it: delta_1 = 2 - 1 = 1, A_0 = 1 + 0.25; behind it 4: delta_1 = 3, A_0 = 1 + 0.75.
NOTHING_FOLLOWS, FOUR_FOLLOWS = [1.25, 1.0, 2.5], [1.75, 3.0, 2.5]


@pytest.mark.parametrize(
    ("how", "bootstrap_at_done", "expected"),
    [
        ("terminated", "truncation", NOTHING_FOLLOWS),
        ("terminated", "always", FOUR_FOLLOWS),
        ("terminated", "never", NOTHING_FOLLOWS),
        ("truncated", "truncation", FOUR_FOLLOWS),
        ("truncated", "always", FOUR_FOLLOWS),
        ("truncated", "never", NOTHING_FOLLOWS),
    ],
)
def test_at_an_episode_end(how, bootstrap_at_done, expected):
    rollout = rollout_of(R, V, V_NEXT_4, **{how: ENDS_AT_1})
    assert advantages(rollout, bootstrap_at_done=bootstrap_at_done) == pytest.approx(expected)


def test_termination_wins_where_both_flags_are_set():
    rollout = rollout_of(R, V, V_NEXT_4, terminated=ENDS_AT_1, truncated=ENDS_AT_1)
    assert advantages(rollout) == pytest.approx(NOTHING_FOLLOWS)


def test_truncation_is_the_default():
    assert advantages(rollout_of(R, V, V_NEXT_4, terminated=ENDS_AT_1)) == pytest.approx(NOTHING_FOLLOWS)
    assert advantages(rollout_of(R, V, V_NEXT_4, truncated=ENDS_AT_1)) == pytest.approx(FOUR_FOLLOWS)


def test_reward_scale_scales_rewards_and_not_values():
    # lambda = 0: A_t = 2 r_t + 0.5 V_{t+1} - V_t
    assert advantages(rollout_of(R, V, V_NEXT), reward_scale=2.0, gae_lambda=0.0) == pytest.approx([2.0, 3.75, 5.5])


def n_step_advantage(rollout, t, e, n, gamma):
    """The n-step return from (t, e), bootstrapped with V of the true successor unless that is terminal, minus V."""
    last = t + n - 1
    reward = sum(gamma**k * rollout.reward[t + k, e].item() for k in range(n))
    behind = 0.0 if rollout.terminated[last, e] else rollout.next_obs.state[last, e, 0].item()
    return reward + gamma**n * behind - rollout.obs.state[t, e, 0].item()


def steps_left(rollout, t, e):
    """Steps from t to the end of its episode or of the rollout, t included."""
    n = 1
    while t + n < len(rollout.reward) and not rollout.done[t + n - 1, e]:
        n += 1
    return n


def each_step(rollout):
    return [(t, e) for t in range(rollout.reward.shape[0]) for e in range(rollout.reward.shape[1])]


def test_lambda_one_is_the_discounted_return_minus_the_value():
    rollout = random_rollout()
    got = GAE(gamma=0.9, gae_lambda=1.0).estimate(rollout, ObsCritic(), None).advantage
    for t, e in each_step(rollout):
        expected = n_step_advantage(rollout, t, e, steps_left(rollout, t, e), 0.9)
        assert got[t, e].item() == pytest.approx(expected, abs=1e-5)


def test_plain_gae_is_the_lambda_weighted_sum_that_puts_the_rest_on_the_longest_return():
    rollout = random_rollout(seed=1)
    got = GAE(gamma=0.9, gae_lambda=0.7).estimate(rollout, ObsCritic(), None).advantage
    for t, e in each_step(rollout):
        m = steps_left(rollout, t, e)
        terms = [n_step_advantage(rollout, t, e, n, 0.9) for n in range(1, m + 1)]
        weights = [0.3 * 0.7**n for n in range(m - 1)] + [0.7 ** (m - 1)]
        assert got[t, e].item() == pytest.approx(sum(w * a for w, a in zip(weights, terms, strict=True)), abs=1e-5)


def test_finite_horizon_divides_by_the_weights_that_exist():
    rollout = random_rollout(seed=2)
    got = GAE(gamma=0.9, gae_lambda=0.7, finite_horizon_gae=True).estimate(rollout, ObsCritic(), None).advantage
    for t, e in each_step(rollout):
        terms = [n_step_advantage(rollout, t, e, n, 0.9) for n in range(1, steps_left(rollout, t, e) + 1)]
        weights = [0.7**n for n in range(len(terms))]
        expected = sum(w * a for w, a in zip(weights, terms, strict=True)) / sum(weights)
        assert got[t, e].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("options", [{"gae_lambda": 0.0}, {"gae_lambda": 0.9}, {"finite_horizon_gae": True}])
def test_a_perfect_value_in_a_deterministic_environment_leaves_no_advantage(options):
    rollout = random_rollout(seed=3)
    value, behind = (
        rollout.obs.state[..., 0],
        rollout.next_obs.state[..., 0],
    )  # views: what is written below is what the critic says
    for t in reversed(range(len(value))):
        if t + 1 < len(value):
            behind[t] = torch.where(rollout.done[t], behind[t], value[t + 1])
        value[t] = rollout.reward[t] + 0.9 * torch.where(rollout.terminated[t], 0.0, behind[t])
    got = GAE(**{"gamma": 0.9, **options}).estimate(rollout, ObsCritic(), None).advantage
    assert got.abs().max() < 1e-5


def test_estimate_reports_values_targets_and_no_gaps():
    rollout = random_rollout(seed=4)
    estimate = GAE().estimate(rollout, ObsCritic(), None)
    assert torch.equal(estimate.value, rollout.obs.state[..., 0])
    assert torch.equal(estimate.value_target, estimate.advantage + estimate.value)
    assert estimate.mask.all()


@pytest.mark.parametrize(("bootstrap_at_done", "limit"), [("always", 5.0), ("truncation", 1.0), ("never", 1.0)])
def test_bootstrapping_at_success_inflates_a_sparse_value(bootstrap_at_done, limit):
    # Every episode is one step with reward 1; the critic cannot tell the final state from the first. Regression on its
    # own target v <- 1 + 0.8 v ends at 1 / (1 - 0.8) = 5; the true value is 1.
    value = 0.0
    for _ in range(100):
        rollout = rollout_of([1.0] * 2, [value] * 2, [value] * 2, terminated=[True] * 2)
        value = GAE(bootstrap_at_done=bootstrap_at_done).estimate(rollout, ObsCritic(), None).value_target[0].item()
    assert value == pytest.approx(limit, abs=1e-4)
