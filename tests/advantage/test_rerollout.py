"""Re-rollouts on the chain of `tests/support/chain.py`, whose values are known: p = 1/2, gamma = 0.8.

V(1), V(2), V(3) = .833333, .555556, .370370. Q(2, right) = 0.8 V(1) = .666667, Q(2, stay) = 0.8 V(2) = .444444,
A = +-.111111. E G^2 = V at gamma^2, hence Var(G | 1) = .5 / (1 - .64 x .5) - V(1)^2 = .0408497, Var(G | 2) = .0373788.
"""

import dataclasses
import math

import pytest
import torch

from rlft.advantage import MonteCarloRerollout
from rlft.advantage.sampling import MAX_SAMPLES, mean_returns
from rlft.errors import UserError
from rlft.networks import NoCritic
from rlft.rollout import LocalRollouts
from rlft.types import Critic
from tests.rollout.test_play import jobs_at
from tests.support.chain import GAMMA, LOST, VALUE, Chain, Spy, mu, one_step, states_at
from tests.support.hand_made import ConstantActor, ObsCritic

CHAIN = Chain()
RIGHT, STAY = 1.0, -1.0
VARIANCE = {1: 0.0408497, 2: 0.0373788}  # of the return
EXACT = {"gamma": GAMMA, "tolerance": 1e-6}
SCENES = 1000


@torch.no_grad()
def estimate(distances, actions, *, env=CHAIN, elapsed=0, learned=None, **options):
    """The estimate of one step from these distances with these actions, and the jobs that were played for it."""
    rollout, visited = one_step(env, distances, actions, elapsed)
    spy = Spy(LocalRollouts(env, SCENES), visited)
    result = MonteCarloRerollout(**{**EXACT, **options}).estimate(rollout, learned or NoCritic(), spy)
    return result, spy.jobs[0]


def advantages(*args, **options):
    result, _ = estimate(*args, **options)
    assert result.mask.all()
    return result.advantage[0]


def repeats(count, action, **options):
    """That many independent estimates of A(2, action)."""
    return advantages([2] * count, [action] * count, **options)


# ---- values ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_returns():
    """Of 20,000 re-rollouts from each of 1, 2 and 3 steps from the goal."""
    states, starts = states_at([1, 2, 3]), jobs_at(range(3), 50, range(3), first=[float("nan")])
    rollouts = LocalRollouts(Chain(), SCENES)

    def play(jobs):
        ignore = {"progress": lambda begun: None, "seed": 1, "iteration": 0}
        return rollouts.play(mu(), states, jobs, gamma=GAMMA, **ignore)[0]

    return mean_returns(play, starts, 20_000, antithetic=False, pilot_samples=None)


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_values_of_the_chain(many_returns, distance):
    returns = many_returns[distance - 1]
    assert abs(returns.mean - VALUE[distance]) < 4 * returns.squared_error.sqrt()
    assert returns.squared_error.sqrt() < 0.0015
    assert returns.steps.item() == pytest.approx(2 * distance, rel=0.03)  # 1/p steps per step


@pytest.mark.parametrize("distance", [1, 2])
def test_errors_of_the_chain(many_returns, distance):
    returns = many_returns[distance - 1]
    variance = returns.squared_error.item() * 20_000
    assert variance == pytest.approx(VARIANCE[distance], rel=0.03)
    assert math.sqrt(variance / 16) == pytest.approx(math.sqrt(VARIANCE[distance] / 16), rel=0.015)
    assert math.sqrt(VARIANCE[2] / 16) == pytest.approx(0.048334, abs=1e-6)


@pytest.mark.parametrize("estimator", ["identity", "direct"])
def test_advantages_of_the_chain(estimator):
    # Var(A) <= (.64 x .0408497 + .0373788) / K = .0000159 for K = 4000
    advantage = advantages([2, 2], [RIGHT, STAY], estimator=estimator, num_samples=4000)
    assert advantage.tolist() == pytest.approx([1 / 9, -1 / 9], abs=4 * 0.004)


def test_identity_and_direct_agree_in_mean_and_variance():
    # Var(A) = (gamma^2 Var(G | 1) + Var(G | 2)) / K, whichever way Q was measured
    expected = (0.64 * VARIANCE[1] + VARIANCE[2]) / 4
    identity, direct = (
        repeats(2000, RIGHT, estimator=estimator, num_samples=4) for estimator in ("identity", "direct")
    )
    for advantage in (identity, direct):
        assert advantage.mean().item() == pytest.approx(1 / 9, abs=4 * math.sqrt(expected / 2000))
        assert advantage.var().item() == pytest.approx(expected, rel=0.12)
    assert 0.9 < identity.var() / direct.var() < 1.1


def test_the_logged_error_is_that_of_the_advantages():
    result, _ = estimate([2] * 1000, [RIGHT] * 1000, num_samples=4)
    error = result.metrics["charts/advantage_standard_error"]
    assert error == pytest.approx(result.advantage.std().item(), rel=0.08)
    assert abs(result.metrics["charts/advantage_reliability"]) < 0.15  # one and the same true advantage
    mixed, _ = estimate([2] * 1000, [RIGHT, STAY] * 500, num_samples=16)
    # Var(true A) = 1/81; sampling adds (.64 (.0408497 + .0373788) / 2 + .0373788) / 16 = .0039008: 75.99%
    assert mixed.metrics["charts/advantage_reliability"] == pytest.approx(0.76, abs=0.04)


@torch.no_grad()
@pytest.mark.parametrize("options", [{"horizon": "remaining"}, {"horizon": "fresh", "estimator": "direct"}])
def test_the_behaviour_policy_has_no_advantage_over_itself(options):
    env = Chain(start=3, horizon=6)  # episodes end in both ways
    rollouts = LocalRollouts(env, 200)
    rollout, _, visited = rollouts.collect(mu(), rollouts.initial_states(1), 15, 1, 0, keep_visited=True)
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    estimator = MonteCarloRerollout(num_samples=4, **options, **EXACT)
    advantage = estimator.estimate(rollout, NoCritic(), Spy(rollouts, visited)).advantage
    by_env = advantage.mean(0)  # neighbouring steps share re-rollouts, environments share nothing
    assert by_env.std() > 0
    assert abs(by_env.mean()) < 3 * by_env.std() / math.sqrt(200)


# ---- ends --------------------------------------------------------------------------------------------------------


def test_a_terminated_step_uses_no_successor():
    result, jobs = estimate([1], [RIGHT], num_samples=1)
    assert jobs.state.tolist() == [0]  # nothing begins in the goal, which pays whoever plays on
    # Q = 1 and V is one of gamma^k: so is 1 - A
    k = math.log(1 - result.advantage.item()) / math.log(GAMMA)
    assert k == pytest.approx(round(k), abs=1e-4)
    assert advantages([1], [RIGHT], num_samples=2000).item() == pytest.approx(1 - VALUE[1], abs=4 * 0.0046)


def test_remaining_horizons_end_with_the_episode():
    env = Chain(horizon=5)
    _, jobs = estimate([2, 2], [RIGHT, STAY], env=env, elapsed=1, num_samples=1)
    assert jobs.horizon.tolist() == [4, 4, 3, 3]
    result, jobs = estimate([2, 2], [RIGHT, STAY], env=env, elapsed=4, num_samples=3)  # both are truncated
    assert jobs.state.tolist() == [0] * 3 + [1] * 3  # nothing is left to earn afterwards
    assert jobs.horizon.tolist() == [1] * 6
    assert result.mask.all()
    assert result.advantage.tolist() == [[0.0, 0.0]]  # two steps from the goal with one to go


def test_fresh_horizons_go_on_beyond_it():
    env = Chain(horizon=5)
    result, jobs = estimate([2, 2], [RIGHT, STAY], env=env, elapsed=4, horizon="fresh", num_samples=2000)
    assert jobs.horizon.unique().tolist() == [5]
    # V_5(2) = .25 (.8 + 2 x .5 x .64 + 3 x .25 x .512 + 4 x .125 x .4096) = .5072; V_5(1) = .8248
    # A = .8 V_5(1) - V_5(2) and -.2 V_5(2)
    assert result.advantage[0].tolist() == pytest.approx([0.15264, -0.10144], abs=4 * 0.0061)


@torch.no_grad()
def test_horizons_of_a_collected_rollout():
    env = Chain(start=3, horizon=6)
    rollouts = LocalRollouts(env, 10)
    rollout, _, visited = rollouts.collect(mu(), rollouts.initial_states(1), 15, 1, 0, keep_visited=True)
    spy = Spy(rollouts, visited)
    MonteCarloRerollout(num_samples=1, **EXACT).estimate(rollout, NoCritic(), spy)
    jobs = spy.jobs[0]
    place = {int(row): (t, n) for t in range(15) for n, row in enumerate(visited.before[t])}
    after = {int(row): (t, n) for t in range(15) for n, row in enumerate(visited.after[t])}
    for row, horizon in zip(jobs.state.tolist(), jobs.horizon.tolist(), strict=True):
        t, n = place.get(row) or after[row]
        assert horizon == 6 - rollout.elapsed[t, n] - int(row not in place)
    last = ~rollout.done[-1]  # these successors begin no recorded step
    assert set(jobs.state.tolist()) == set(place) | set(visited.after[-1][last].tolist())


def test_tolerance_bounds_what_is_cut_off():
    # 0.8^10 = .107, 0.8^11 = .086
    options = {"num_samples": 1, "estimator": "direct"}
    cut, jobs = estimate([3] * 500, [RIGHT] * 500, tolerance=0.1, **options)
    assert jobs.horizon.unique().tolist() == [11]
    whole, _ = estimate([3] * 500, [RIGHT] * 500, **options)
    missing = whole.value_target - cut.value_target  # the noise is the same
    assert missing.min() >= 0
    assert 0 < missing.max() <= 0.1
    _, default = estimate([3], [RIGHT], gamma=GAMMA, tolerance=1e-3)
    assert default.horizon.unique().tolist() == [31]


@pytest.mark.parametrize(("gamma", "horizons"), [(0.0, [1, 1]), (1.0, [70, 69])])
def test_tolerance_is_of_no_use_without_discounting(gamma, horizons):
    _, jobs = estimate([3], [RIGHT], gamma=gamma, tolerance=1e-3, env=Chain(horizon=70), num_samples=1)
    assert jobs.horizon.tolist() == horizons


# ---- tails -------------------------------------------------------------------------------------------------------


class ChainCritic(Critic):
    """V of mu, exactly."""

    def forward(self, obs):
        values = torch.tensor([float("nan"), *VALUE.values()])  # nobody may ask for a value of the goal
        return values[obs.state[..., 0].long()]


def test_the_critic_values_what_is_left_after_a_cut():
    # With V(n) = n: from 2 one step leads to 1 or 2, so Q(2, right) = .8 x 1, exactly, and V(2) is .8 or 1.6 by chance
    result, jobs = estimate([2], [RIGHT], estimator="direct", tail_steps=1, num_samples=1, learned=ObsCritic())
    assert 0.8 - result.advantage.item() in (pytest.approx(0.8), pytest.approx(1.6))
    assert jobs.horizon.unique().tolist() == [1]
    # from 9 a step to the right and another one by chance lead to 7 or 8
    far, _ = estimate([9], [RIGHT], estimator="direct", tail_steps=2, num_samples=1, learned=ObsCritic())
    quality = far.advantage.item() + far.value_target.item()
    assert quality in (pytest.approx(0.64 * 7), pytest.approx(0.64 * 8))


@pytest.mark.parametrize("estimator", ["identity", "direct"])
def test_an_exact_tail_changes_no_mean_and_lowers_the_variance(estimator):
    options = {"estimator": estimator, "num_samples": 4, "learned": ChainCritic()}
    states, actions = [2, 3] * 1000, [RIGHT] * 2000
    whole, cut = (estimate(states, actions, tail_steps=steps, **options)[0].advantage[0] for steps in (None, 2))
    # A(2, right) = 1/9, A(3, right) = .8 V(2) - V(3) = .0740742; errors as above
    for advantage in (whole, cut):
        assert advantage[::2].mean().item() == pytest.approx(1 / 9, abs=4 * 0.004)
        assert advantage[1::2].mean().item() == pytest.approx(0.0740742, abs=4 * 0.004)
    assert (cut.view(-1, 2).var(0) < 0.85 * whole.view(-1, 2).var(0)).all()


def test_what_ended_by_itself_has_no_tail():
    options = {"num_samples": 8, "learned": ObsCritic(), "tail_steps": 1}
    # one step before the time limit: 0 from 2, whatever the critic says, and nothing afterwards
    result, _ = estimate([2], [STAY], env=Chain(horizon=5), elapsed=4, **options)
    assert result.value_target.item() == result.advantage.item() == 0
    # from 1 the goal pays 1 at once, without a tail; whoever stays is worth .8 V(1)
    result, _ = estimate([1] * 50, [STAY] * 50, num_samples=1, learned=ChainCritic(), tail_steps=1)
    assert result.value_target[0].unique().tolist() == [pytest.approx(0.8 * VALUE[1]), 1.0]
    spoiled, _ = estimate([LOST, 2], [STAY, STAY], **options)
    assert spoiled.mask.tolist() == [[False, True]]


def test_a_tail_needs_a_critic_and_a_step():
    assert MonteCarloRerollout(tail_steps=3).wants_critic
    with pytest.raises(UserError, match=r"model\.advantage\.tail_steps is 0; it must be at least 1"):
        MonteCarloRerollout(tail_steps=0)


# ---- options -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("every_k", "states", "known"), [(1, 9, 8), (2, 8, 4), (4, 4, 2)])
def test_every_k_masks_the_other_steps(every_k, states, known):
    rollouts = LocalRollouts(Chain(start=9), 3)
    rollout, _, visited = rollouts.collect(
        ConstantActor([-9.0]), rollouts.initial_states(1), 8, 1, 0, keep_visited=True
    )
    spy = Spy(rollouts, visited)
    result = MonteCarloRerollout(num_samples=1, every_k=every_k, **EXACT).estimate(rollout, NoCritic(), spy)
    assert result.mask.all(1)[::every_k].all()
    assert result.mask.all(1).sum() == known
    assert result.mask.any(1).tolist() == result.mask.all(1).tolist()
    assert len(spy.jobs[0]) == 3 * states
    assert len(spy.jobs[0].noise.unique()) == 3 * states


def test_addresses_of_all_starts_differ():
    options = {"estimator": "direct", "center": "state", "center_actions": 3, "num_samples": 4}
    _, jobs = estimate([2] * 50, [RIGHT, STAY] * 25, **options)
    assert len(jobs) == 50 * (1 + 1 + 3) * 4
    assert len(jobs.noise.unique()) == len(jobs)


def test_direct_begins_with_the_recorded_action_unclipped():
    _, jobs = estimate([2, 2], [7.0, STAY], estimator="direct", num_samples=2)
    assert jobs.has_first_action.tolist() == [False] * 4 + [True] * 4
    assert jobs.first_action.flatten().tolist() == [0.0] * 4 + [7.0, 7.0, STAY, STAY]
    assert jobs.state.tolist() == [0, 0, 1, 1] * 2


def test_batch_centering_removes_the_mean_alone():
    distances, actions = [1, 2, 3] * 20, [RIGHT] * 60
    plain = advantages(distances, actions, num_samples=4)
    centered = advantages(distances, actions, num_samples=4, center="batch")
    assert torch.allclose(centered, plain - plain.mean(), atol=1e-6)
    assert abs(plain.mean()) > 0.01


def test_state_centering_compares_with_other_actions_of_the_policy():
    # The player always moves, the policy being trained does so with probability 1/2. Without centering every stay
    # costs: Q(1, .) = 1, .8 and V = 1, so A = 0, -.2. Centred: +-.1. At 2: Q = .8, .64, so +-.08.
    distances, actions = [1, 1, 2, 2] * 100, [RIGHT, STAY] * 200
    actions = (torch.tensor(actions)[torch.randperm(400)]).tolist()
    estimator = MonteCarloRerollout(num_samples=1, center="state", center_actions=50, **EXACT)
    estimator.__dict__["_oracle"] = ConstantActor([99.0])
    with torch.no_grad():
        rollout, visited = one_step(Chain(), distances, actions)
        result = estimator.estimate(rollout, NoCritic(), Spy(LocalRollouts(Chain(), SCENES), visited))
    sign = rollout.action[0, :, 0]
    near = torch.tensor(distances) == 1
    # the mean over 50 actions has a standard deviation of .1 / sqrt(50) = .014
    for rows, size in ((near, 0.1), (~near, 0.08)):
        assert torch.allclose(result.advantage[0][rows], size * sign[rows], atol=0.06)
        assert (result.advantage[0] * sign)[rows].mean().item() == pytest.approx(size, abs=4 * 0.0015)


def test_the_logged_error_of_a_state_centred_advantage():
    # Half of all actions move: Q errs by .64 (.0408497 + .0373788) / 2 / 4 = .0062583, the mean of 4 other actions by
    # a quarter of that. Together .0078229 = .08845^2
    result, _ = estimate([2] * 400, [RIGHT, STAY] * 200, num_samples=4, center="state", center_actions=4)
    assert result.metrics["charts/advantage_standard_error"] == pytest.approx(0.08845, rel=0.06)


@pytest.mark.parametrize("estimator", ["direct", "identity"])
def test_common_noise_cancels_in_the_advantage(estimator):
    # A(2, stay) = gamma G'(2) - G(2), where G begins with a step of its own. If that is a stay: 0. If it moves:
    # gamma G(1) (gamma^tau - 1), tau the steps of the second move. E (1 - gamma^tau)^2 = 1 - 2 (.666667) + .470588,
    # E G(1)^2 = .735294, so E A^2 = .5 x .64 x .735294 x .137255 = .0322953 and Var(A) = .0199496.
    # Independent noise: .64 x .0373788 + .0373788 = .0613012.
    common, independent = (
        repeats(2000, STAY, estimator=estimator, num_samples=2, common_noise=flag) for flag in (True, False)
    )
    assert common.mean().item() == pytest.approx(-1 / 9, abs=4 * math.sqrt(0.0199496 / 4000))
    assert common.var().item() * 2 == pytest.approx(0.0199496, rel=0.12)
    assert independent.var().item() * 2 == pytest.approx(0.0613012, rel=0.12)


@pytest.mark.parametrize("estimator", ["direct", "identity"])
def test_the_logged_error_of_a_state_centred_advantage_knows_of_common_noise(estimator):
    # Of the four other actions two move, so A = +-(Q(right) - Q(stay)) / 2 = +-gamma (G(1) - G(2)) / 2, where G(2) is
    # G(1) gamma^tau: Var = .16 (.735294 x .137255 - (.833333 - .555556)^2) = .0038022
    options = {"estimator": estimator, "num_samples": 4, "common_noise": True}
    result, _ = estimate([2] * 1000, [RIGHT, STAY] * 500, center="state", center_actions=4, **options)
    assert result.metrics["charts/advantage_standard_error"] == pytest.approx(math.sqrt(0.0038022 / 4), rel=0.06)
    assert result.advantage[0, ::2].std().item() == pytest.approx(math.sqrt(0.0038022 / 4), rel=0.12)


@pytest.mark.parametrize("estimator", ["direct", "identity"])
@pytest.mark.parametrize("options", [{}, {"pilot_samples": 4}], ids=["plain", "pilot"])
def test_the_logged_error_knows_of_common_noise(estimator, options):
    # Var(A) = .0199496 per pair of re-rollouts, see above; unequal numbers after a pilot share fewer of them
    options = {"estimator": estimator, "num_samples": 8, "common_noise": True, **options}
    result, _ = estimate([2] * 2000, [STAY] * 2000, **options)
    logged = result.metrics["charts/advantage_standard_error"]
    assert logged == pytest.approx(result.advantage.std().item(), rel=0.1 if len(options) == 3 else 0.3)
    if len(options) == 3:
        assert logged == pytest.approx(math.sqrt(0.0199496 / 8), rel=0.05)


@pytest.mark.parametrize("estimator", ["direct", "identity"])
def test_the_logged_error_knows_of_common_noise_in_antithetic_pairs(estimator):
    """A pair is one sample: with the covariance of single re-rollouts the squared error came out negative."""
    options = {"estimator": estimator, "num_samples": 8, "common_noise": True, "antithetic": True}
    result, _ = estimate([2] * 2000, [STAY] * 2000, **options)
    assert result.metrics["charts/advantage_standard_error"] == pytest.approx(result.advantage.std().item(), rel=0.1)
    assert abs(result.metrics["charts/advantage_reliability"]) < 0.15  # one and the same true advantage


@pytest.mark.parametrize("every_k", [3, 4])
def test_every_k_does_not_prefer_steps_that_end_an_episode(every_k):
    rollouts = LocalRollouts(Chain(start=2), 20)
    rollout, _, visited = rollouts.collect(mu(), rollouts.initial_states(1), 12, 1, 0, keep_visited=True)
    result = MonteCarloRerollout(num_samples=1, every_k=every_k, **EXACT).estimate(
        rollout, NoCritic(), Spy(rollouts, visited)
    )
    assert rollout.terminated.any()
    assert result.mask.sum() == 20 * len(range(0, 12, every_k))


def test_common_noise_is_aligned_in_time():
    # Q(s, a) re-rolled from a is then the very re-rollout of V(s'), one step later
    options = {"env": Chain(horizon=20), "elapsed": 3, "common_noise": True, "num_samples": 2}
    distances, actions = [3, 2, 1] * 20, [RIGHT, STAY] * 30
    direct, identity = (advantages(distances, actions, estimator=e, **options) for e in ("direct", "identity"))
    assert torch.allclose(direct, identity, atol=1e-6)


@pytest.mark.parametrize("options", [{"antithetic": True}, {"pilot_samples": 4}])
def test_variants_of_sampling_have_the_same_mean(options):
    advantage = repeats(1000, RIGHT, num_samples=16, **options)
    assert advantage.mean().item() == pytest.approx(1 / 9, abs=4 * math.sqrt(0.0635226 / 16_000))


def test_noise_depends_on_the_place_in_the_rollout_alone():
    alone, with_others = (advantages([2, 3, 1][:count], [STAY] * count, num_samples=8) for count in (1, 3))
    assert alone[0] != with_others[0]  # numbers of successors follow those of all states
    first, second = (estimate([2] * 3, [STAY] * 3, num_samples=8)[1] for _ in range(2))
    assert torch.equal(first.noise, second.noise)
    assert first.noise.max() < 2 * 3 * MAX_SAMPLES


# ---- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"pilot_samples": 4}, {"estimator": "direct"}, {"center": "batch"}])
def test_states_that_the_simulator_spoils_are_masked(options):
    result, _ = estimate([2, LOST, 2, 2], [RIGHT, STAY, STAY, RIGHT], num_samples=64, **options)
    assert result.mask.tolist() == [[True, False, True, True]]
    assert result.advantage[0, 1] == 0
    assert result.advantage.isfinite().all()
    assert result.value_target.isfinite().all()
    others = result.advantage[0, [0, 2, 3]]
    if options.get("center") == "batch":
        assert others.sum().abs() < 1e-6
    assert (others[[0, 2]] > others[1]).all()
    assert result.metrics["charts/advantage_standard_error"] > 0


class SpoilsAllButOne(Spy):
    """All re-rollouts from state 0 but the first are invalid."""

    def play(self, actor, jobs, gamma):
        branches = super().play(actor, jobs, gamma)
        return dataclasses.replace(branches, valid=(jobs.state != 0) | (jobs.noise % MAX_SAMPLES == 0))


@torch.no_grad()
def test_a_state_without_an_error_does_not_hide_that_of_the_others():
    rollout, visited = one_step(Chain(), [2] * 50, [RIGHT] * 50)
    rerollouts = SpoilsAllButOne(LocalRollouts(Chain(), SCENES), visited)
    result = MonteCarloRerollout(num_samples=4, **EXACT).estimate(rollout, NoCritic(), rerollouts)
    assert result.mask.all()
    # (.64 x .0408497 + .0373788) / 4 = .01588 = .126^2
    assert result.metrics["charts/advantage_standard_error"] == pytest.approx(0.126, rel=0.2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"every_k": 0}, "every_k is 0"),
        ({"center_actions": 0}, "center_actions is 0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"tolerance": 1.0}, "tolerance is 1.0"),
        ({"antithetic": True, "num_samples": 5}, "even.*5"),
        ({"antithetic": True, "num_samples": 8, "pilot_samples": 3}, "even.*3"),
        ({"pilot_samples": 1}, "pilot_samples is 1"),
        ({"num_samples": 4, "pilot_samples": 5}, "pilot_samples is 5"),
        ({"antithetic": True, "num_samples": 8, "pilot_samples": 2}, "pilot_samples is 2"),  # one pair has no variance
    ],
)
def test_what_cannot_work_is_refused(options, said):
    with pytest.raises(UserError, match=rf"model\.advantage\..*{said}"):
        MonteCarloRerollout(**options)


def test_an_oracle_of_another_task_is_refused():
    oracle = MonteCarloRerollout(policy="pickcube/expert")
    oracle.check(42, 8)
    with pytest.raises(UserError, match="6 observations and 2 actions"):
        oracle.check(6, 2)
    with pytest.raises(UserError, match="nobody"):
        MonteCarloRerollout(policy="nobody").check(6, 2)
    MonteCarloRerollout().check(6, 2)


# ---- the diagnostic critic ---------------------------------------------------------------------------------------


class TrueCritic(ObsCritic):
    """The chain's values, by distance."""

    def forward(self, obs):
        return torch.tensor([0.0, *VALUE.values()])[super().forward(obs).long()]


def test_a_critic_is_only_compared_with_the_re_rollouts():
    step, options = ([1, 2, 3] * 100, [RIGHT, STAY, RIGHT] * 100), {"num_samples": 16}
    plain, _ = estimate(*step, **options)
    compared, _ = estimate(*step, **options, critic=True, learned=TrueCritic())
    assert torch.equal(compared.advantage, plain.advantage)
    # Var(V) = .0364 beside sampling errors of about .0024
    assert compared.metrics["losses/explained_variance"] == pytest.approx(1 - 0.0024 / 0.0388, abs=0.03)
    assert compared.metrics["charts/critic_advantage_correlation"] > 0.8
    assert torch.equal(compared.value[0, :3], torch.tensor(list(VALUE.values())))
    assert not MonteCarloRerollout().wants_critic


class LastStepCritic(ObsCritic):
    """What is left to earn with one step to go, by distance: the goal is one step away or it is not."""

    def forward(self, obs):
        return torch.tensor([0.0, 0.5, 0.0])[super().forward(obs).long()]


def test_a_critic_of_remaining_horizons_says_nothing_of_what_is_behind_the_time_limit():
    # With the last step to go A = .5, -.5 from 1 and 0 from 2, and so are TD errors without a successor; with its value
    # they would be .5, -.1 and .4, 0, whose correlation is .83.
    options = {"env": Chain(horizon=5), "elapsed": 4, "num_samples": 500, "critic": True, "learned": LastStepCritic()}
    result, _ = estimate([1, 1, 2, 2], [RIGHT, STAY, RIGHT, STAY], **options)
    assert result.metrics["charts/critic_advantage_correlation"] == pytest.approx(1.0, abs=0.01)
