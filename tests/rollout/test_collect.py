import pytest
import torch
from torch.distributions import Independent, Normal

from rlft.envs import PointReach
from rlft.envs.initial_states import TRAINING, InitialStates
from rlft.rollout import LocalRollouts
from tests.support.rollouts import assert_equal, policy

ENVS, STEPS, SEED = 6, 50, 7
ENV = PointReach(horizon=15, radius=0.3)


@pytest.fixture(scope="module")
def rollouts():
    return LocalRollouts(ENV, ENVS)


@pytest.fixture(scope="module")
def collected(rollouts):
    return rollouts.collect(policy(), rollouts.initial_states(SEED), STEPS, SEED, 0)


def collect(rollouts, seed=SEED, iteration=0, steps=STEPS):
    return rollouts.collect(policy(), rollouts.initial_states(seed), steps, seed, iteration)


def episodes(rollout):
    """For every environment the list of `(first step, last step)` of its finished episodes."""
    found = []
    for n in range(rollout.done.shape[1]):
        ends = rollout.done[:, n].nonzero().flatten().tolist()
        found.append(list(zip([0, *(e + 1 for e in ends[:-1])], ends, strict=True)) if ends else [])
    return found


def test_the_rollout_contains_both_kinds_of_ends(collected):
    rollout, *_ = collected
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    assert not (rollout.terminated & rollout.truncated).any()


def test_next_obs_is_the_true_successor(collected):
    rollout, *_ = collected
    position, goal = rollout.obs.state[..., :2], rollout.obs.state[..., :2] + rollout.obs.state[..., 4:]
    move = 0.1 * rollout.action.clamp(-1, 1)
    expected = (position + move).clamp(-1, 1)
    assert (rollout.action.abs() > 1).any()  # the sample is kept unclipped
    assert torch.allclose(rollout.next_obs.state, torch.cat([expected, move, goal - expected], -1), atol=1e-6)


def test_an_episode_goes_on_from_its_successor_and_starts_afresh_after_its_end(collected):
    rollout, *_ = collected
    bank = InitialStates(ENV)
    goes_on = ~rollout.done[:-1]
    assert torch.equal(rollout.obs.state[1:][goes_on], rollout.next_obs.state[:-1][goes_on])
    for n, finished in enumerate(episodes(rollout)):
        for k, (_, last) in enumerate(finished):
            if last + 1 < STEPS:
                fresh = bank.get(TRAINING, SEED, [n + (k + 1) * ENVS])
                assert torch.equal(rollout.obs.state[last + 1, n], fresh.obs.state[0])
                assert not torch.equal(rollout.obs.state[last + 1, n], rollout.next_obs.state[last, n])


def test_elapsed_counts_from_the_reset_and_truncation_comes_at_the_time_limit(collected):
    rollout, *_ = collected
    for n, finished in enumerate(episodes(rollout)):
        for first, last in finished:
            assert rollout.elapsed[first : last + 1, n].tolist() == list(range(last + 1 - first))
            assert rollout.truncated[last, n] == (not rollout.terminated[last, n])
            assert last + 1 - first == 15 or rollout.terminated[last, n]
    assert rollout.elapsed.max() == 14


def test_reward_and_success_are_those_of_the_successor(collected):
    rollout, *_ = collected
    at_goal = rollout.next_obs.state[..., 4:].norm(dim=-1) <= 0.3
    assert torch.equal(rollout.success, at_goal)
    assert torch.equal(rollout.terminated, at_goal)
    assert torch.equal(rollout.reward, at_goal.float())


@torch.no_grad()
def test_log_prob_is_of_the_unclipped_sample(collected):
    rollout, *_ = collected
    actor = policy()
    expected = Independent(Normal(actor(rollout.obs), actor.log_std.exp()), 1).log_prob(rollout.action)
    assert torch.allclose(rollout.log_prob, expected, atol=1e-4)


def test_returned_states_say_where_every_environment_is(collected):
    rollout, states, _ = collected
    assert torch.equal(states.episode, torch.arange(ENVS) + ENVS * rollout.done.sum(0))
    assert torch.equal(states.elapsed, torch.where(rollout.done[-1], 0, rollout.elapsed[-1] + 1))
    assert torch.equal(states.obs.state[~rollout.done[-1]], rollout.next_obs.state[-1][~rollout.done[-1]])


def test_a_rollout_continues_exactly_where_the_last_one_stopped(rollouts, collected):
    whole, *_ = collected
    actor = policy()
    first, states, _ = collect(rollouts, steps=20)
    assert_equal(first, whole[:20])  # an address has the same noise however many steps are drawn
    second, ends, _ = rollouts.collect(actor, states, 20, SEED, 1)
    assert torch.equal(second.obs.state[0], whole.obs.state[20])
    assert torch.equal(second.elapsed[0], whole.elapsed[20])
    elsewhere = LocalRollouts(ENV, ENVS)  # a state holds everything: another instance goes on alike
    again, same_ends, _ = elsewhere.collect(actor, states, 20, SEED, 1)
    assert_equal(again, second)
    assert_equal(same_ends, ends)


def test_noise_belongs_to_seed_iteration_and_environment(rollouts, collected):
    whole, *_ = collected
    again, *_ = collect(rollouts)
    assert_equal(again, whole)
    other_iteration, *_ = collect(rollouts, iteration=1)
    other_seed, *_ = collect(rollouts, seed=SEED + 1)
    assert torch.equal(other_iteration.obs.state[0], whole.obs.state[0])
    assert not torch.equal(other_iteration.action[0], whole.action[0])
    assert not torch.equal(other_seed.obs.state[0], whole.obs.state[0])
    noise = whole.action[0] - policy()(whole.obs[0])
    assert len(noise.unique(dim=0)) == ENVS
