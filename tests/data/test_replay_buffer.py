"""Windows of experience, with targets worked out by hand."""

import pytest
import torch

from rlft.data.replay_buffer import ReplayBuffer, ended, shares
from rlft.errors import UserError
from rlft.types import Experience, Obs

GAMMA = 0.5


def experience(reward, terminated=(), truncated=(), unusable=(), first=0):
    """One environment, whose observation at step t is `first + t`, and the next one that and a half."""
    count = len(reward)
    state = torch.arange(first, first + count, dtype=torch.float32)[:, None, None]

    def flags(where):
        return torch.tensor([[t in where] for t in range(count)])

    return Experience(
        obs=Obs(state=state),
        action=torch.zeros(count, 1, 1),
        reward=torch.tensor(reward, dtype=torch.float32)[:, None],
        next_obs=Obs(state=state + 0.5),
        terminated=flags(terminated),
        truncated=flags(truncated),
        usable=~flags(unusable),
    )


def transitions(*parts, n_step, capacity=100, **options):
    """Of every step that can be drawn: (reward, next observation, discount), by the step's observation."""
    buffer = ReplayBuffer(capacity)
    for part in parts:
        buffer.add(part)
    (batch,) = buffer.transitions(1, 2000, n_step, GAMMA, torch.Generator().manual_seed(0), **options)
    ahead = batch.transition
    columns = (batch.obs.state[:, 0], ahead.reward, ahead.next_obs.state[:, 0], ahead.discount)
    return {row[0]: row[1:] for row in zip(*(column.tolist() for column in columns), strict=True)}


def test_three_steps_on_within_an_episode():
    found = transitions(experience([1, 2, 4, 8]), n_step=3)
    assert found[0] == (1 + 0.5 * 2 + 0.25 * 4, 2.5, 0.125)
    assert found[1] == (2 + 0.5 * 4 + 0.25 * 8, 3.5, 0.125)
    assert found[2] == (4 + 0.5 * 8, 3.5, 0.25)  # the buffer ends
    assert found[3] == (8, 3.5, 0.5)


def test_nothing_is_worth_anything_after_a_termination():
    found = transitions(experience([1, 2, 4, 8], terminated=[1]), n_step=3)
    assert found[0] == (1 + 0.5 * 2, 1.5, 0)
    assert found[1] == (2, 1.5, 0)
    assert found[2] == (4 + 0.5 * 8, 3.5, 0.25)


def test_after_a_termination_as_much_may_follow_as_after_a_truncation():
    episodes = [1, 2, 4, 8]
    always = transitions(experience(episodes, terminated=[1]), n_step=3, bootstrap_at_done="always")
    assert always == transitions(experience(episodes, truncated=[1]), n_step=3)
    assert always[0] == (1 + 0.5 * 2, 1.5, 0.25)


def test_after_a_truncation_its_own_successor_is_worth_what_it_is():
    found = transitions(experience([1, 2, 4, 8], truncated=[1]), n_step=3)
    assert found[0] == (1 + 0.5 * 2, 1.5, 0.25)
    assert found[1] == (2, 1.5, 0.5)


def test_windows_go_on_from_one_part_to_the_next():
    assert transitions(experience([1, 2]), experience([4, 8], first=2), n_step=3)[0] == (3.0, 2.5, 0.125)


def test_nothing_counts_beyond_the_steps_that_are_left():
    """Of (observation, share of a horizon of 4): rewards, next (observation, share), discount; in windows of 3."""
    buffer = ReplayBuffer(100)
    buffer.add(experience([1, 2, 4, 8, 16, 32], truncated=[2]))
    (batch,) = buffer.transitions(1, 2000, 3, GAMMA, torch.Generator().manual_seed(0), horizon=4)
    ahead = batch.transition
    columns = (batch.obs.state, ahead.reward, ahead.next_obs.state, ahead.discount)
    found = {tuple(row[0]): row[1:] for row in zip(*(column.tolist() for column in columns), strict=True)}
    assert found.keys() == {(step, share / 4) for step in range(6) for share in (1, 2, 3, 4)}
    assert found[0, 1.0] == (1 + 0.5 * 2 + 0.25 * 4, [2.5, 0.25], 0.125)
    assert found[0, 0.75] == (1 + 0.5 * 2 + 0.25 * 4, [2.5, 0.0], 0)  # nothing is left
    assert found[0, 0.5] == (1 + 0.5 * 2, [1.5, 0.0], 0)
    assert found[0, 0.25] == (1, [0.5, 0.0], 0)
    assert found[1, 1.0] == (2 + 0.5 * 4, [2.5, 0.5], 0.25)  # the episode is cut off with two of four steps left
    assert found[5, 1.0] == (32, [5.5, 0.75], 0.5)  # the buffer ends


def test_bad_steps_are_neither_drawn_nor_crossed():
    found = transitions(experience([1, 2, 4, 8], unusable=[2]), n_step=3)
    assert found.keys() == {0, 1, 3}
    assert found[0] == (1 + 0.5 * 2, 1.5, 0.25)


def test_the_oldest_steps_go():
    parts = [experience([1, 2], first=0), experience([4, 8], first=2), experience([16], first=4)]
    assert transitions(*parts, n_step=1, capacity=2).keys() == {3, 4}
    assert transitions(*parts, n_step=1, capacity=3).keys() == {2, 3, 4}


def test_all_steps_are_drawn_equally_often():
    buffer = ReplayBuffer(100)
    buffer.add(experience([0] * 10))
    batches = buffer.transitions(20, 500, 1, GAMMA, torch.Generator().manual_seed(0))
    counts = torch.cat([batch.obs.state for batch in batches]).flatten().int().bincount()
    assert ((counts - 1000).abs() < 5 * 30).all()  # the standard deviation is sqrt(1000 * 0.9) = 30


def test_the_generator_decides_alone():
    buffer = ReplayBuffer(100)
    buffer.add(experience(range(50)))
    drawn = [buffer.transitions(2, 8, 3, GAMMA, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    first, again, other = (torch.cat([batch.transition.reward for batch in batches]) for batches in drawn)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_returns_of_episodes_that_have_ended():
    found = ended(experience([1, 2, 4, 8, 16], terminated=[1], truncated=[3]), GAMMA)
    assert found.obs.state.flatten().tolist() == [0, 1, 2, 3]  # the last episode goes on
    assert found.value_target.tolist() == [2, 2, 8, 8]


def test_a_bad_step_ends_what_is_known_of_returns():
    found = ended(experience([1, 2, 4, 8], terminated=[3], unusable=[1]), GAMMA)
    assert found.obs.state.flatten().tolist() == [2, 3]


def test_transitions_know_what_came_of_their_episodes():
    def found():
        (batch,) = buffer.transitions(1, 500, 1, GAMMA, torch.Generator().manual_seed(0), returns=True)
        return dict(zip(batch.obs.state[:, 0].tolist(), batch.returned.tolist(), strict=True))

    buffer = ReplayBuffer(100)
    buffer.add(experience([1, 2, 4, 8], terminated=[1]))
    assert found() == {0: 2, 1: 2, 2: -torch.inf, 3: -torch.inf}
    buffer.add(experience([16], truncated=[0], first=4))
    assert found() == {0: 2, 1: 2, 2: 4 + 0.5 * 8 + 0.25 * 16, 3: 8 + 0.5 * 16, 4: 16}


def test_returns_of_nothing_are_refused():
    buffer = ReplayBuffer(100)
    buffer.add(experience([1, 2]))
    with pytest.raises(UserError, match="No episode has ended in the 2 steps of warm-up"):
        buffer.returns(1, 8, GAMMA, torch.Generator())


def test_shares_differ_by_at_most_one():
    assert shares(7, 3) == [2, 2, 3]
    assert shares(2, 4) == [0, 1, 0, 1]


@pytest.mark.parametrize("capacity", [7, 100])
def test_many_small_parts_are_the_last_steps_of_one_large_one(capacity):
    whole = experience(range(60), terminated=[9, 33], truncated=[20])
    buffer, first = ReplayBuffer(capacity), 0
    for length in (3, 1, 10, 2, 9, 30, 5):
        buffer.add(whole[first : first + length])
        first += length
        kept = whole[max(0, first - capacity) : first]
        assert buffer.steps == len(kept)
        assert torch.equal(buffer.whole.reward, kept.reward)
        assert torch.equal(buffer.whole.next_obs.state, kept.next_obs.state)
        assert torch.equal(buffer.whole.terminated, kept.terminated)
