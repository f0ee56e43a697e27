import pytest
import torch

from rlft.errors import UserError
from rlft.ranking.estimators import monte_carlo, rewards
from rlft.rollout import LocalRollouts, ProcessRollouts
from tests.support.chain import GAMMA, VALUE, Chain, mu
from tests.support.ranking import ENV, ENVS, simulator
from tests.support.rollouts import assert_equal

STATES, ACTIONS, PATHS = 20, 4, 3


@pytest.fixture(scope="module")
def actions():
    return simulator().actions(STATES, ACTIONS)[0]


@pytest.fixture(scope="module")
def paths(actions):
    return simulator().paths(actions, PATHS)[0]


@pytest.fixture(scope="module")
def chain():
    """A simulator of the chain, and actions in states 3 and fewer steps from the goal."""
    simulate = simulator(LocalRollouts(Chain(), 400), mu(), GAMMA)
    return simulate, simulate.actions(30, ACTIONS)[0]


def true_q(actions):
    """Q of the chain `[N, J]`: the distance that an action led to says all."""
    value = torch.tensor([0.0, VALUE[1], VALUE[2], VALUE[3]])
    distance = actions.successors.obs.state[:, 0].long().view(actions.reward.shape)
    return actions.reward + GAMMA * value[distance]


def test_actions_lead_to_their_successors(actions):
    position, goal = actions.obs.state[:, None, :2], actions.obs.state[:, None, :2] + actions.obs.state[:, None, 4:]
    moved = (position + ENV.speed * actions.action.clamp(-1, 1)).clamp(-1, 1)  # [N, J, 2]
    successor = actions.successors.obs.state.view(STATES, ACTIONS, -1)
    assert torch.allclose(successor[..., :2], moved, atol=1e-6)
    assert torch.equal(actions.terminated, (goal - moved).norm(dim=-1) <= ENV.radius)
    assert torch.equal(actions.reward, actions.terminated.float())


def test_actions_of_a_state_differ_and_states_are_in_the_order_of_elapsed_time(actions):
    assert len(actions.action.flatten(0, 1).unique(dim=0)) == STATES * ACTIONS
    elapsed = actions.successors.elapsed.view(STATES, ACTIONS)
    assert (elapsed == elapsed[:, :1]).all()
    assert (elapsed[1:] >= elapsed[:-1]).all()
    assert elapsed.min() == 1
    assert elapsed.max() >= ENV.horizon - 3


def test_states_are_spread_evenly_over_the_elapsed_time_of_the_rollout():
    _, _, visited = (rollouts := LocalRollouts(ENV, ENVS)).collect(
        simulator().actor, rollouts.initial_states(1), ENV.horizon, 1, 0, keep_visited=True
    )
    elapsed = visited.states.elapsed[visited.before].flatten()
    everything = simulator().actions(len(elapsed), 1)[0]  # as many as there are: each exactly once
    assert torch.equal(everything.successors.elapsed - 1, elapsed.sort().values)
    half = simulator().actions(len(elapsed) // 2, 1)[0]
    counts = torch.bincount(half.successors.elapsed - 1, minlength=ENV.horizon)
    assert (counts - torch.bincount(elapsed, minlength=ENV.horizon) / 2).abs().max() <= 1


def test_ground_truth_is_q(chain):
    simulate, actions = chain
    sample = simulate.returns(actions, 150, block=0)[0].sample
    error = (sample.mean(2) - true_q(actions)) / (sample.std(2) / 150**0.5).clamp(min=1e-6)
    assert len(true_q(actions).unique()) >= 4
    assert error.abs().max() < 4.5  # of 120
    assert sample[actions.terminated].eq(1).all()


def test_trajectories_return_q_on_average(chain):
    simulate, actions = chain
    paths = simulate.paths(actions, 40)[0]
    returns = monte_carlo(rewards(actions, paths), GAMMA)
    error = (returns.mean(2) - true_q(actions)) / (returns.std(2) / 40**0.5).clamp(min=1e-6)
    assert error.abs().max() < 5


def test_actions_of_a_state_share_the_noise_of_the_ground_truth_and_nothing_else(chain):
    simulate, actions = chain
    sample, other = (simulate.returns(actions, 8, block=block)[0].sample for block in (0, 1))
    distance = actions.successors.obs.state[:, 0].view(actions.reward.shape)
    alike = (distance[:, 0] == distance[:, 1]) & (distance[:, 0] > 0)
    assert alike.any()
    assert torch.equal(sample[alike, 0], sample[alike, 1])
    assert not torch.equal(sample, other)
    first, second = (distance[:, 0] == 2).nonzero().flatten()[:2]
    assert not torch.equal(sample[first, 0], sample[second, 0])


def test_trajectories_have_noise_of_their_own(paths):
    first = paths.next_obs.state[0][paths.length > 0]
    assert len(first.unique(dim=0)) > 0.9 * len(first)  # some are clipped to the same action


def test_trajectories_stop_where_the_episode_does(actions, paths):
    elapsed = actions.successors.elapsed.view(STATES, ACTIONS, 1)
    steps = torch.arange(len(paths.reward))[:, None, None, None]
    assert ((paths.length == 0) == (actions.terminated[..., None] | (elapsed == ENV.horizon))).all()
    assert paths.reward[steps >= paths.length].eq(0).all()
    assert paths.next_obs.state[steps >= paths.length].eq(0).all()
    success = (steps == paths.length - 1) & (paths.next_obs.state[..., 4:].norm(dim=-1) <= ENV.radius)
    assert torch.equal(paths.reward, success.float())
    assert (elapsed + paths.length <= ENV.horizon).all()
    timed_out = ~success.any(0) & (paths.length > 0)
    assert timed_out.any()
    assert (elapsed + paths.length)[timed_out].eq(ENV.horizon).all()


def test_trajectories_are_cut_off_where_nothing_counts_any_more(actions):
    short = simulator(gamma=0.5, tolerance=0.1)  # 0.5^4 < 0.1
    assert short.farthest == 4
    assert short.paths(actions, 2)[0].length.max() == 4
    assert simulator(gamma=0.0).farthest == 0
    assert simulator(gamma=1.0).farthest == ENV.horizon


def test_steps_are_counted(actions):
    simulate = simulator()
    assert simulate.rollout(60)[1] == 60 * ENVS
    assert simulate.actions(STATES, ACTIONS)[1] == ENVS * (ENV.horizon + STATES * ACTIONS / ENVS)
    returned, sim_steps = simulate.returns(actions, 4, block=0)
    assert returned.sample.shape == (STATES, ACTIONS, 4)
    assert 0 < sim_steps <= 4 * simulate.most_steps(actions)


def test_everything_is_the_same_with_workers(actions, paths):
    rollouts = ProcessRollouts(ENV, ENVS, 2)
    try:
        simulate = simulator(rollouts)
        assert_equal(simulate.actions(STATES, ACTIONS)[0], actions)
        assert_equal(simulate.paths(actions, PATHS)[0], paths)
        assert_equal(simulate.returns(actions, 2, 1)[0], simulator().returns(actions, 2, 1)[0])
    finally:
        rollouts.close()


def test_more_states_than_a_rollout_visits_are_refused():
    with pytest.raises(UserError, match=r"states is 1000, but a rollout of 8 envs visits 96"):
        simulator().actions(1000, 2)
