"""Running moments against numpy, and what they make of rewards."""

import math

import numpy as np
import pytest
import torch

from rlft.data.replay_buffer import ReplayBuffer, ended
from rlft.data.reward_normalization import Moments, RewardNormalization
from rlft.errors import UserError
from rlft.types import Experience, Obs
from tests.data.test_replay_buffer import experience

GAMMA = 0.9


def stream(reward, done=None, seed=0):
    """Steps `[T, N]` with these rewards; about one in ten ends an episode unless it is said where."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(reward.shape, generator=generator) < 0.1 if done is None else done
    terminates = torch.rand(reward.shape, generator=generator) < 0.5
    state = Obs(state=torch.zeros(*reward.shape, 1))
    return Experience(
        obs=state,
        action=torch.zeros(*reward.shape, 1),
        reward=reward,
        next_obs=state,
        terminated=ends & terminates,
        truncated=ends & ~terminates,
        usable=torch.ones_like(ends),
    )


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fed(parts, gamma=GAMMA, **options):
    normalization = RewardNormalization(**options)
    normalization.begin(gamma)
    for part in parts:
        normalization.add(part)
    return normalization


def discounted(experience, gamma):
    """R of every usable step, one by one."""
    found = []
    ends = (experience.terminated | experience.truncated).numpy()
    for env in range(experience.reward.shape[1]):
        value = 0.0
        for t, reward in enumerate(experience.reward[:, env].double().tolist()):
            value = gamma * value + reward
            found.append(value)
            value = 0.0 if ends[t, env] else value
    return np.array(found)


def test_streaming_moments_are_those_of_everything_together():
    """Also far from zero, in parts of very different sizes."""
    values = 1e3 + 5 * normal(10_000).double()
    moments, first = Moments(), 0
    for size in (1, 2, 97, 0, 4900, 3000, 2000):
        moments = moments.added(values[first : first + size])
        first += size
    assert (first, moments.count) == (10_000, 10_000)
    assert moments.mean == pytest.approx(np.mean(values.numpy()), rel=1e-9)
    assert moments.variance == pytest.approx(np.var(values.numpy()), rel=1e-9)


def test_returns_begin_anew_after_the_end_of_an_episode():
    """1, 0.5 + 2, then anew: 4, 2 + 8."""
    (found,) = [fed([experience([1, 2, 4, 8], terminated=[1])], gamma=0.5)]
    assert found.moments.mean == pytest.approx((1 + 2.5 + 4 + 10) / 4)
    truncated = fed([experience([1, 2, 4, 8], truncated=[1])], gamma=0.5)
    assert truncated.moments == found.moments


@pytest.mark.parametrize("cuts", [(200,), (1, 7, 50, 142), (100, 100)])
def test_variance_of_a_stream_in_parts(cuts):
    whole, parts, first = stream(normal(200, 6)), [], 0
    for length in cuts:
        parts.append(whole[first : first + length])
        first += length
    expected = discounted(whole, GAMMA)
    found = fed(parts).moments
    assert found.count == 1200
    assert found.mean == pytest.approx(expected.mean(), abs=1e-9)
    assert found.variance == pytest.approx(expected.var(), rel=1e-9)


def test_independent_rewards_have_the_variance_of_a_geometric_sum():
    """v / (1 - gamma^2); with 20,000 steps in 50 environments the standard error is well below 1%."""
    never = torch.zeros(20_000, 50, dtype=torch.bool)
    found = fed([stream(2 * normal(20_000, 50), never)]).moments.variance
    assert found == pytest.approx(4 / (1 - GAMMA**2), rel=0.01)


@pytest.mark.parametrize("factor", [7.0, 0.01])
def test_the_scale_of_rewards_does_not_matter(factor):
    one, other = stream(normal(300, 4)), stream(factor * normal(300, 4))
    first, second = fed([one]), fed([other])
    torch.testing.assert_close(second.normalized(other.reward), first.normalized(one.reward), rtol=1e-4, atol=1e-6)


def test_rewards_keep_their_sign_and_end_at_the_clip():
    reward = torch.tensor([[0.0], [-1.0], [3.0], [100.0]])
    found = fed([stream(reward, torch.ones(4, 1, dtype=torch.bool))], clip=1.5)  # an episode is a step
    scale = 1 / math.sqrt(float(np.var([0, -1, 3, 100])) + 1e-8)
    expected = torch.tensor([[0.0], [-scale], [3 * scale], [1.5]])
    torch.testing.assert_close(found.normalized(reward), expected)


def test_rewards_that_never_vary_end_at_the_clip():
    """Once returns have come to their limit there is next to no variance."""
    never = torch.zeros(50, 1, dtype=torch.bool)
    found = fed([stream(torch.ones(50, 1), never)], gamma=0.0)
    assert found.normalized(torch.ones(1)).tolist() == [10.0]


def test_bad_steps_do_not_count_and_end_what_is_summed_up():
    bad = experience([1, float("nan"), 4, 8], unusable=[1])
    found = fed([bad], gamma=0.5).moments
    assert (found.count, found.mean) == (3, pytest.approx((1 + 4 + 10) / 3))


def test_data_of_others_do_not_go_on_in_the_environments():
    normalization = fed([experience([1, 2])], gamma=0.5)
    normalization.add_apart(experience([100] * 5))
    before = normalization.moments
    normalization.add(experience([4], first=2))
    assert normalization.moments == before.added(torch.tensor([0.5 * 2.5 + 4]))


def test_it_goes_on_to_the_bit(tmp_path):
    whole = stream(normal(100, 6))
    straight, first = fed([whole[:40], whole[40:]]), fed([whole[:40]])
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = fed([])
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.moments == first.moments
    second.add(whole[40:])
    assert second.moments == straight.moments
    assert torch.equal(second.normalized(whole.reward), straight.normalized(whole.reward))


@pytest.mark.parametrize(("options", "said"), [({"clip": 0}, "clip is 0"), ({"epsilon": math.inf}, "epsilon is inf")])
def test_what_makes_no_sense_is_refused(options, said):
    with pytest.raises(UserError, match=f"data.reward_normalization.{said}"):
        RewardNormalization(**options)


def test_a_buffer_keeps_rewards_and_lets_them_count_otherwise():
    """Three steps of 1, 2, 400 at gamma 0.5 count as 0.5, 1 and, clipped, 10."""
    buffer = ReplayBuffer(100, lambda reward: (reward / 2).clamp(max=10))
    steps = experience([1, 2, 400], terminated=[2])
    buffer.add(steps)
    assert torch.equal(buffer.whole.reward, steps.reward)
    (batch,) = buffer.transitions(1, 200, 3, 0.5, torch.Generator().manual_seed(0), returns=True)
    of_first = batch.obs.state[:, 0] == 0
    assert set(batch.transition.reward[of_first].tolist()) == {0.5 + 0.5 * 1 + 0.25 * 10}
    assert set(batch.returned[of_first].tolist()) == {3.5}
    (returned,) = buffer.returns(1, 200, 0.5, torch.Generator().manual_seed(0))
    assert set(returned.value_target.tolist()) == {3.5, 6.0, 10.0}
    assert ended(buffer.counted(steps), 0.5).value_target.tolist() == [3.5, 6.0, 10.0]


def test_what_is_returned_follows_the_moments():
    """They change as steps are added, and with them what was looked up before."""
    normalization = RewardNormalization()
    normalization.begin(0.5)
    buffer = ReplayBuffer(100, normalization.normalized)

    def found():
        (batch,) = buffer.transitions(1, 50, 1, 0.5, torch.Generator().manual_seed(0), returns=True)
        return set(batch.returned[batch.obs.state[:, 0] == 0].tolist())

    for part in (experience([1.0, 3.0], terminated=[1]), experience([9.0], terminated=[0], first=2)):
        normalization.add(part)
        buffer.add(part)
        expected = (normalization.normalized(torch.tensor([1.0, 3.0])) * torch.tensor([1, 0.5])).sum()
        assert list(found()) == pytest.approx([float(expected)])
