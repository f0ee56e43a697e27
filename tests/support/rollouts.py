"""A policy and comparisons for the tests of rollouts."""

import dataclasses

import torch

from rlft.networks import GaussianActor


def policy(seed=0):
    """A policy that moves a lot, so that episodes succeed as well as time out."""
    torch.manual_seed(seed)
    actor = GaussianActor(6, 2, 16, 2, init_log_std=0.0)
    with torch.no_grad():
        actor.action_head[-1].weight.mul_(100)
    return actor


def processes_of(rollouts):
    """Ids of the worker processes."""
    return [worker._process.pid for worker in rollouts._pool._workers]


def assert_equal(first, second):
    """Two dataclasses of tensors are bit-identical."""
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if dataclasses.is_dataclass(a):
            assert_equal(a, b)
            continue
        assert a.dtype == b.dtype, field.name
        assert torch.equal(a, b), field.name
