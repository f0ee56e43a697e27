from itertools import chain

import pytest
import torch

from rlft.data.minibatches import minibatches
from rlft.types import BootstrappedBatch, Obs, Rollout, Transition


def tagged_rollout(steps, envs):
    """Transition `(t, n)` carries the number `t * envs + n` in every field."""
    tag = torch.arange(steps * envs, dtype=torch.float32).view(steps, envs)
    wide = tag[..., None].expand(-1, -1, 3)
    flag = torch.zeros_like(tag, dtype=torch.bool)
    return Rollout(
        obs=Obs(wide),
        action=wide,
        log_prob=tag,
        log_prob_known=~flag,
        next_obs=Obs(wide),
        reward=tag,
        terminated=flag,
        truncated=flag,
        success=flag,
        elapsed=tag.long(),
    )


def tagged_batch(steps, envs, mask=None):
    rollout = tagged_rollout(steps, envs)
    tag = rollout.reward
    mask = torch.ones_like(tag, dtype=torch.bool) if mask is None else mask
    ahead = Transition(reward=tag, next_obs=rollout.next_obs, discount=tag)
    of_tags = {"log_prob": tag, "signal": tag, "value": tag, "value_target": tag}
    return BootstrappedBatch(obs=rollout.obs, action=rollout.action, **of_tags, transition=ahead)[mask]


def tags(batch: BootstrappedBatch):
    """The transitions of a minibatch; every field must speak of the same ones."""
    columns = [batch.obs.state[:, 0], batch.action[:, 0], batch.log_prob, batch.signal, batch.value, batch.value_target]
    columns += [batch.transition.reward, batch.transition.next_obs.state[:, 0], batch.transition.discount]
    assert all(torch.equal(columns[0], column) for column in columns[1:])
    return columns[0].int().tolist()


def served(batch, parts, epochs, seed=0):
    return [tags(b) for b in minibatches(batch, parts, epochs, torch.Generator().manual_seed(seed))]


def together(parts):
    return list(chain.from_iterable(parts))


def test_every_transition_once_per_epoch():
    got = served(tagged_batch(6, 4), parts=3, epochs=5)
    assert [len(part) for part in got] == [8] * 15
    epochs = [together(got[i : i + 3]) for i in range(0, 15, 3)]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5  # each in another order


def test_masked_transitions_are_never_served():
    mask = torch.rand(6, 4) < 0.6
    kept = mask.flatten().nonzero().flatten().tolist()
    assert 0 < len(kept) < 24
    assert tags(tagged_batch(6, 4, mask)) == kept
    assert sorted(together(served(tagged_batch(6, 4, mask), 3, 1))) == kept


@pytest.mark.parametrize("kept", [23, 7, 4])
def test_minibatches_of_nearly_equal_size_where_the_mask_leaves_a_remainder(kept):
    mask = (torch.arange(24) < kept).view(6, 4)
    got = served(tagged_batch(6, 4, mask), parts=4, epochs=2)
    sizes = [len(part) for part in got]
    assert len(got) == 8
    assert max(sizes) - min(sizes) <= 1
    assert sorted(together(got[:4])) == sorted(together(got[4:])) == list(range(kept))


def test_no_minibatch_is_empty_where_the_mask_leaves_fewer_transitions():
    mask = (torch.arange(24) < 2).view(6, 4)
    got = served(tagged_batch(6, 4, mask), parts=4, epochs=1)
    assert [len(part) for part in got] == [1, 1]


def test_the_generator_decides_the_order():
    batch = tagged_batch(6, 4)
    assert served(batch, 3, 2, seed=1) == served(batch, 3, 2, seed=1)
    assert served(batch, 3, 2, seed=1) != served(batch, 3, 2, seed=2)
