"""Hindsight: against a relabelling by plain loops, and against a simulator that is given the other goal."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from rlft.data.hindsight import Stretches, check_goals, check_successes
from rlft.data.replay_buffer import ReplayBuffer
from rlft.envs import PointReach
from rlft.errors import UserError
from rlft.rollout import LocalRollouts
from rlft.types import CalibratedBatch, EnvStates, Experience, Obs
from tests.support.hand_made import is_sentence
from tests.support.rollouts import policy

ENV, ENVS, GAMMA = PointReach(horizon=9, radius=0.25, speed=0.2), 4, 0.5
GOALS = ENV.make(1).spec.goals


def collected(steps=40, bad=()):
    """Experience of a wild policy, and its rollout; `bad` are (step, environment) that are not usable."""
    rollouts = LocalRollouts(ENV, ENVS)
    rollout, *_ = rollouts.collect(policy(), rollouts.initial_states(3), steps, 3, 0)
    usable = torch.ones(steps, ENVS, dtype=torch.bool)
    for t, n in bad:
        usable[t, n] = False
    columns = {name: getattr(rollout, name) for name in ("obs", "reward", "next_obs", "terminated", "truncated")}
    return Experience(action=rollout.action.clamp(-1, 1), usable=usable, **columns), rollout


# ---- a relabelling by loops: PointReach observes position (0, 1), last move (2, 3) and the goal's offset (4, 5) ------


def stretch_of(kept, t, n):
    """First and last row of the steps around `t` that one can walk to without an end or a bad step."""
    first = last = t
    while first > 0 and kept.usable[first - 1, n] and not (kept.terminated | kept.truncated)[first - 1, n]:
        first -= 1
    while not (kept.terminated | kept.truncated)[last, n] and last + 1 < len(kept) and kept.usable[last + 1, n]:
        last += 1
    return first, last


def distance(a, b):
    return float((a - b).norm())


def with_goal(state, goal):
    return torch.cat([state[:4], goal - state[:2]])


def row_of(kept, t, n, goal, n_step):
    """The transition from step `t` with another goal, as numbers."""
    reward, steps = 0.0, 0
    for ahead in range(n_step):
        now = t + ahead
        after = kept.next_obs.state[now, n]
        steps, success = steps + 1, distance(goal, after[:2]) <= ENV.radius
        reward += GAMMA**ahead * success
        if success or (kept.terminated | kept.truncated)[now, n] or now + 1 == len(kept) or not kept.usable[now + 1, n]:
            break
    discount = 0.0 if success else GAMMA**steps
    before = with_goal(kept.obs.state[t, n], goal)
    return (*before.tolist(), *kept.action[t, n].tolist(), reward, discount, *with_goal(after, goal).tolist())


def all_rows(kept, n_step):
    """How probable each transition is, by its numbers."""
    found = {}
    for n in range(ENVS):
        for t in range(len(kept)):
            if not kept.usable[t, n]:
                continue
            first, last = stretch_of(kept, t, n)
            start = kept.obs.state[first, n, :2]
            way = [kept.next_obs.state[row, n, :2] for row in range(first, last + 1)]
            if max(distance(place, start) for place in way) > ENV.radius:
                for goal in way[t - first :]:
                    row = row_of(kept, t, n, goal, n_step)
                    found[row] = found.get(row, 0) + 1 / (last - t + 1)
    total = sum(found.values())
    return {row: share / total for row, share in found.items()}


def drawn_rows(buffer, n_step, count, size, seed=0):
    batches = buffer.relabelled(count, size, n_step, GAMMA, torch.Generator().manual_seed(seed), GOALS)
    rows = []
    for batch in batches:
        ahead = batch.transition
        columns = (batch.obs.state, batch.action, ahead.reward, ahead.discount, ahead.next_obs.state)
        rows += torch.cat([c.reshape(len(c), -1) for c in columns], 1).tolist()
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("bad", [(), [(5, 0), (6, 0), (20, 2)]])
@pytest.mark.parametrize("capacity", [40, 23])
def test_it_is_that_of_plain_loops(n_step, bad, capacity):
    experience, _ = collected(bad=bad)
    assert experience.terminated.any()
    assert experience.truncated.any()
    buffer = ReplayBuffer(capacity)
    for part in range(0, 40, 8):
        buffer.add(experience[part : part + 8])
    expected, draws = all_rows(experience[40 - capacity :], n_step), 40_000
    found = Counter(drawn_rows(buffer, n_step, 4, draws // 4))
    assert found.keys() == expected.keys()  # to the bit: nothing else, and everything
    for row, share in expected.items():
        assert abs(found[row] - draws * share) < 6 * (draws * share) ** 0.5
    assert any(row[8] > 0 for row in expected)
    assert any(row[9] == 0 for row in expected)


def test_a_goal_that_is_reached_on_the_way_ends_the_transition():
    """One environment that goes 0.1 to the right a step; the third step on reaches a goal that is 0.3 away."""
    place = torch.arange(6) * 0.1
    state = torch.stack([place, 0 * place, 0 * place, 0 * place, 5 - place, 0 * place], 1)[:, None]
    none, count = torch.zeros(5, 1, dtype=torch.bool), 5
    kept = Experience(
        Obs(state[:-1]), torch.zeros(count, 1, 2), torch.zeros(count, 1), Obs(state[1:]), none, none, ~none
    )
    narrow = replace(GOALS, radius=0.01)
    buffer = ReplayBuffer(10)
    buffer.add(kept)
    (batch,) = buffer.relabelled(1, 500, 3, GAMMA, torch.Generator().manual_seed(0), narrow)
    for obs, reward, discount, end in zip(
        batch.obs.state,
        batch.transition.reward,
        batch.transition.discount,
        batch.transition.next_obs.state,
        strict=True,
    ):
        steps = round(float(obs[4]) * 10)  # to the goal
        assert 1 <= steps <= 5
        assert (reward, discount) == ((GAMMA ** (steps - 1), 0) if steps <= 3 else (0, discount))
        assert float(end[4]) == pytest.approx(max(0, steps - min(3, 5 - round(float(obs[0]) * 10))) / 10, abs=1e-6)


def test_episodes_in_which_nothing_has_moved_are_left_alone():
    experience, _ = collected()
    still = replace(experience, next_obs=experience.obs, terminated=~experience.usable, truncated=~experience.usable)
    assert not Stretches.of(still[:1], GOALS).useful.any()
    buffer = ReplayBuffer(40)
    buffer.add(still[:1])
    assert not buffer.has_moved(GOALS)
    buffer.add(experience)
    assert buffer.has_moved(GOALS)


def test_the_generator_decides_alone():
    buffer = ReplayBuffer(40)
    buffer.add(collected()[0])
    assert drawn_rows(buffer, 3, 2, 8) == drawn_rows(buffer, 3, 2, 8)
    assert drawn_rows(buffer, 3, 2, 8) != drawn_rows(buffer, 3, 2, 8, seed=1)


def test_returns_with_other_goals_are_not_known():
    buffer = ReplayBuffer(40)
    buffer.add(collected()[0])
    (batch,) = buffer.relabelled(1, 16, 3, GAMMA, torch.Generator().manual_seed(0), GOALS, returns=True)
    assert isinstance(batch, CalibratedBatch)
    assert (batch.returned == -torch.inf).all()


# ---- goals are what the environment says -------------------------------------------------------------------------


def test_what_is_said_of_successes_is_what_happened():
    experience, rollout = collected()
    assert rollout.success.any()
    check_successes(ENV.make(1).spec, rollout, experience.usable)
    reward, terminated = GOALS.outcome(rollout.next_obs, rollout.next_obs.state[..., :2])
    assert (reward == 1).all()  # to be where it is
    assert terminated.all()


def test_an_episode_with_another_goal_is_that_of_an_environment_that_has_it():
    batch = ENV.make(ENVS)
    start = batch.initial_states(0)
    actions = torch.rand(8, ENVS, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first = [batch.step(action) for action in actions]
    goal = GOALS.reached(first[5].obs)
    state = start.physics.contiguous().view(torch.float32).clone()
    state[:, 4:] = goal
    batch.restore(range(ENVS), EnvStates(state.view(torch.uint8), start.task, start.obs, start.elapsed, start.episode))
    again = [batch.step(action) for action in actions]
    assert again[5].success.all()
    assert not again[0].success.all()
    for one, other in zip(first, again, strict=True):
        assert torch.equal(GOALS.put(one.obs, goal).state, other.obs.state)
        reward, terminated = GOALS.outcome(one.obs, goal)
        assert torch.equal(reward, other.reward)
        assert torch.equal(terminated, other.terminated)


def test_goals_that_do_not_tell_success_are_refused():
    experience, rollout = collected()
    spec = replace(ENV.make(1).spec, goals=replace(GOALS, radius=0.5))
    with pytest.raises(UserError, match=r"for \d+ of 160 steps PointReach had another one than its goals say") as said:
        check_successes(spec, rollout, experience.usable)
    assert is_sentence(str(said.value))
    check_successes(spec, rollout, torch.zeros_like(experience.usable))


@pytest.mark.parametrize(
    ("goals", "reward_mode", "said"),
    [
        (None, "sparse", "data.her is 0.5, but PointReach as configured has no goals in its observations"),
        (GOALS, "dense", "data.env.reward_mode is dense; set that to sparse, or data.her to 0."),
    ],
)
def test_what_cannot_be_relabelled_is_refused(goals, reward_mode, said):
    with pytest.raises(UserError) as refused:
        check_goals(replace(ENV.make(1).spec, goals=goals), reward_mode, 0.5)
    assert said in str(refused.value)
    assert is_sentence(str(refused.value))


def test_the_sparse_reward_and_the_only_one_are_accepted():
    for mode in ("sparse", None):
        check_goals(ENV.make(1).spec, mode, 0.5)
