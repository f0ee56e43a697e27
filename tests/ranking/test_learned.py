import pytest
import torch

from rlft.errors import UserError
from rlft.ranking.learned import Regressions, Scalar, dueling, fit, for_each_action, pairwise, returns_to_go
from rlft.rollout import LocalRollouts
from rlft.statistics.correlations import spearman
from rlft.types import Obs
from tests.support.chain import GAMMA, VALUE, Chain, mu
from tests.support.hand_made import random_rollout, rollout_of
from tests.support.ranking import simulator

STATES, ACTIONS = 150, 6


@pytest.fixture(scope="module")
def labelled():
    """States and actions whose Q = f(s) + g(a) varies much more between states."""
    obs, action = Obs(torch.randn(STATES, 2)), 0.1 * torch.randn(STATES, ACTIONS, 2)
    return obs, action, 10 * obs.state[:, :1] + action[..., 0] - 2 * action[..., 1]


def test_scalars_standardise_their_inputs():
    obs, action = Obs(100 + 10 * torch.randn(500, 3)), 0.01 * torch.randn(500, 2)
    network = Scalar(obs, action)
    inputs = []
    network.layers.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    assert network(obs, action).shape == (500,)
    assert torch.allclose(inputs[0].std(0), torch.ones(5), atol=1e-4)
    assert torch.allclose(inputs[0].mean(0), torch.zeros(5), atol=1e-4)


def test_constant_inputs_stay_finite():
    assert Scalar(Obs(torch.ones(9, 3)))(Obs(torch.full((2, 3), 5.0))).isfinite().all()


def test_fit_keeps_the_weights_that_were_best_on_held_out_rows():
    """The training rows pull a single weight past what the held-out row wants."""
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    target = torch.tensor([1.0, 1.0, 0.01])
    seen = []

    def loss(rows):
        value = ((network.weight - target[rows]) ** 2).mean()
        if rows.tolist() == [2]:
            seen.append(float(value.detach()))
        return value

    fit(network, loss, torch.tensor([0, 1]), torch.tensor([2]), batch_size=1, seed=0)
    assert float(loss(torch.tensor([2])).detach()) == min(seen)
    assert len(seen) < 50  # stopped early


def test_returns_to_go_are_known_where_enough_of_the_rollout_is_left():
    """Gamma 0.5. The first episode ends at step 2; steps 4 and 5 have fewer than three steps to come."""
    done = [False, False, True, False, False, False]
    rollout = rollout_of([0.0, 0.0, 1.0, 0.0, 0.0, 2.0], [0.0] * 6, [0.0] * 6, terminated=done)
    returns, known = returns_to_go(rollout, 0.5, horizon=3)
    assert returns[:, 0].tolist() == [0.25, 0.5, 1.0, 0.5, 1.0, 2.0]
    assert known[:, 0].tolist() == [True, True, True, True, False, False]


def test_regression_on_returns_finds_the_values_of_the_chain():
    simulate = simulator(LocalRollouts(Chain(), 50), mu(), GAMMA)
    rollout, _ = simulate.rollout(240)
    value = Regressions(rollout, GAMMA, simulate.farthest + 1, seed=1).value()
    found = value(Obs(torch.tensor([[1.0], [2.0], [3.0]])))
    assert torch.allclose(found, torch.tensor([VALUE[1], VALUE[2], VALUE[3]]), atol=0.05)


def test_no_environment_both_trains_and_is_held_out():
    regressions = Regressions(random_rollout(steps=30, envs=20), 0.9, horizon=5, seed=1)
    trains, held_out = (set((rows % 20).tolist()) for rows in (regressions.train, regressions.held_out))
    assert (len(trains), len(held_out)) == (18, 2)
    assert not trains & held_out
    assert len(regressions.train) + len(regressions.held_out) == regressions.known.sum() < 600


def test_a_rollout_that_is_too_short_is_refused():
    rollout = rollout_of([[0.0, 0.0]] * 4, [[0.0, 0.0]] * 4, [[0.0, 0.0]] * 4)
    with pytest.raises(UserError, match="training_steps is 4, but only returns of"):
        Regressions(rollout, 0.9, horizon=5, seed=1)


@pytest.mark.parametrize("control", [dueling, pairwise])
def test_controls_rank_the_actions_of_states_they_have_not_seen(control, labelled):
    obs, action, q = labelled
    network = control(obs[50:], action[50:], q[50:], seed=0)
    with torch.no_grad():
        scores = network(for_each_action(obs[:50], action[:50]), action[:50])
    rho = spearman(scores.double().numpy(), q[:50].double().numpy()).mean()
    assert rho > (0.9 if control is pairwise else 0.3)


def test_the_pairwise_loss_sees_nothing_but_the_order(labelled):
    obs, action, q = labelled
    first, second = (pairwise(obs, action, labels, seed=0) for labels in (q, (q - q.mean(1, keepdim=True)).sinh()))
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)
