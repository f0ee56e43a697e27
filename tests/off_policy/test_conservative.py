"""The conservative term: by hand, at both ends of the calibration, and what it does to a critic."""

import math

import pytest
import torch

from rlft.networks import GaussianActor, QEnsemble, SquashedGaussianActor
from rlft.off_policy import Conservative
from rlft.off_policy.conservative import soft_maximum
from rlft.off_policy.objective import Bounds
from rlft.types import CalibratedBatch, Obs, ReplayBatch, Transition

BOUNDS = Bounds(-torch.ones(2), torch.ones(2))


def batch(size=3, returned=None):
    """States that differ, actions of 0.1; each has gone one step on."""
    obs, after = (Obs(state=torch.arange(3.0 * size).reshape(size, 3) / 10 + k) for k in (0, 1))
    transition = Transition(torch.zeros(size), after, torch.full((size,), 0.9))
    rows = obs, torch.full((size, 2), 0.1), transition
    return ReplayBatch(*rows) if returned is None else CalibratedBatch(*rows, torch.full((size,), returned))


def found(part, rows, critic, actor, seed=0):
    of_data = critic.values(rows.obs, rows.action)
    noise = torch.Generator().manual_seed(seed)
    return part.loss(critic.values, of_data, actor, rows, BOUNDS, noise)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return QEnsemble(3, 2, num_critics=2, hidden_dim=8, head="mse"), SquashedGaussianActor(3, 2, 8)


def test_the_soft_maximum_by_hand():
    values = torch.tensor([[[1.0], [3.0]]])  # one critic, two samples, one state
    log_density = torch.tensor([[math.log(0.25)], [math.log(2.0)]])
    expected = 2 * math.log(4 * math.exp(0.5) + 0.5 * math.exp(1.5))
    assert soft_maximum(values, log_density, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_the_whole_term_by_hand(networks):
    """Q is a constant c: then it is the log of the mean of 1 / mu times the samples, and c goes out."""
    critic, actor = networks
    for parameter in critic.parameters():
        parameter.data.zero_()
    critic.output.bias.data.fill_(0.7)
    rows, seen = batch(1), []

    class Watched(SquashedGaussianActor):
        def act(self, obs, noise, *, explore=True):
            acted = super().act(obs, noise, explore=explore)
            seen.append(acted.joint_log_prob.flatten())
            return acted

    actor.__class__ = Watched
    loss, metrics = found(Conservative(3.0, 0.5, num_actions=2, calibrated=False), rows, critic, actor)
    inverse = [4.0, 4.0, *(-torch.cat(seen)).exp().tolist()]  # uniform on a square of area 4
    assert len(inverse) == 6
    torch.testing.assert_close(loss, torch.full((2, 1), 3 * 0.5 * math.log(sum(inverse))))
    assert metrics["losses/conservative_gap"].item() == pytest.approx(0.5 * math.log(sum(inverse)), rel=1e-5)


def test_without_a_known_return_calibrated_is_plain(networks):
    plain, _ = found(Conservative(calibrated=False), batch(), *networks)
    calibrated, metrics = found(Conservative(calibrated=True), batch(returned=-math.inf), *networks)
    assert torch.equal(plain, calibrated)
    assert metrics["charts/calibrated_actions"] == 0


@pytest.mark.parametrize("returned", [-math.inf, None, 1e3, math.inf])
def test_what_is_known_to_be_worth_more_is_not_pushed_down(networks, returned):
    """The gradient with respect to Q of every sample: the uniform ones come first."""
    critic, actor = networks
    if returned is None:
        returned = critic.values(batch().obs, batch().action).median().item()  # some are above it
    samples = []

    def values(obs, action):
        samples.append(critic.values(obs, action).detach().requires_grad_())
        return samples[-1]

    rows, part = batch(returned=returned), Conservative(weight=1.0, num_actions=2)
    loss, metrics = part.loss(
        values, critic.values(rows.obs, rows.action).detach(), actor, rows, BOUNDS, torch.Generator().manual_seed(0)
    )
    (gradient,) = torch.autograd.grad(loss.sum(), samples)
    of_policy = gradient.reshape(2, 6, 3)[:, 2:]
    below = samples[0].detach().reshape(2, 6, 3)[:, 2:] < returned
    assert (of_policy[below] == 0).all()
    assert (of_policy[~below] > 0).all()
    assert metrics["charts/calibrated_actions"].item() == pytest.approx(below.float().mean().item())
    assert below.all() if returned > 1 else not below.all()
    if returned == -math.inf:
        torch.testing.assert_close(gradient.reshape(2, 6, 3).sum(1), torch.ones(2, 3))  # a soft maximum's


def test_the_actor_gets_no_gradient(networks):
    critic, actor = networks
    loss, _ = found(Conservative(), batch(returned=0.5), critic, actor)
    loss.sum().backward()
    assert all(parameter.grad is None for parameter in actor.parameters())
    assert critic.output.weight.grad.abs().sum() > 0


def test_samples_are_within_their_bounds_and_at_the_observations(networks):
    critic, _ = networks
    wide = GaussianActor(3, 2, 8, 1, init_log_std=2.0)
    seen = []

    def values(obs, action):
        seen.append((obs.state, action))
        return critic.values(obs, action)

    rows = batch()
    Conservative(num_actions=5, calibrated=False).loss(
        values, critic.values(rows.obs, rows.action), wide, rows, BOUNDS, torch.Generator().manual_seed(0)
    )
    ((state, action),) = seen
    assert action.shape == (3 * 5 * 3, 2)
    assert action.abs().max() == 1
    assert torch.equal(state, rows.obs.state.repeat(15, 1))  # also the actions of the next ones are judged here


def fitted(conservative):
    """Q of the policy's actions, of the data's and of some far from both, of a critic that has learned of 0.5 alone."""
    torch.manual_seed(0)
    critic, actor = QEnsemble(3, 2, hidden_dim=32, head="mse"), SquashedGaussianActor(3, 2, 8)
    rows, noise = batch(16, returned=0.5), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    for _ in range(300):
        outputs = critic.outputs(rows.obs, rows.action)
        extra, _ = conservative.loss(critic.values, critic.reading.value(outputs), actor, rows, BOUNDS, noise)
        loss = (critic.reading.loss(outputs, torch.full((2, 16), 0.5)) + extra).mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    actions = actor.mode(rows.obs), rows.action, torch.full((16, 2), -0.9)
    with torch.no_grad():
        return [critic.values(rows.obs, action).mean().item() for action in actions]


def test_calibration_keeps_the_policy_worth_what_its_episodes_were():
    """Everything returned 0.5. Plain CQL says much less of the policy's actions; calibrated it says about that."""
    plain, calibrated = fitted(Conservative(calibrated=False)), fitted(Conservative(calibrated=True))
    assert plain[0] < -1
    assert calibrated[0] == pytest.approx(0.5, abs=0.4)
    for of_policy, of_data, far in (plain, calibrated):
        assert far < of_policy < of_data
