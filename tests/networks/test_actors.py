"""What an actor can be asked."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from rlft.errors import UserError
from rlft.networks import ConditionedActor, DeterministicActor, GaussianActor, ValueCritic
from rlft.rollout.worker import CHUNK, decide
from rlft.types import Acted, Actor, Obs
from tests.support.hand_made import BiasActor
from tests.support.user_actors import GeneratorActor, LogisticActor


@pytest.fixture
def actor():
    actor = GaussianActor(6, 3, 16, 2)
    with torch.no_grad():
        actor.log_std.copy_(torch.tensor([-1.0, 0.0, 0.5]))
        actor.action_head[-1].weight.mul_(100)
    return actor


def test_a_decision_by_hand():
    # mean 1 and 2, standard deviations 1 and e: noise -1 and 2 make 0 and 2 + 2e
    actor = BiasActor([1.0, 2.0])
    actor.log_std.data[1] = 1.0
    acted = actor.act(Obs(torch.zeros(1, 1)), torch.tensor([[-1.0, 2.0]]))
    assert acted.action[0].tolist() == pytest.approx([0.0, 2 + 2 * math.e])
    # log N(-1; 0, 1) + log N(2; 0, 1) - 1, each -z^2/2 - log sqrt(2 pi)
    assert acted.log_prob.tolist() == [[pytest.approx(-0.5 - 2 - math.log(2 * math.pi) - 1)]]


def test_it_acts_as_it_says(actor):
    obs, noise = Obs(torch.randn(4, 5, 6)), torch.randn(4, 5, 3)
    normal = Independent(Normal(actor(obs), actor.log_std.exp()), 1)
    acted = actor.act(obs, noise)
    assert torch.allclose(acted.action, normal.mean + normal.stddev * noise)
    assert torch.allclose(acted.joint_log_prob, normal.log_prob(acted.action), atol=1e-5)
    assert torch.equal(acted.joint_log_prob, actor.log_prob(obs, acted.action))
    assert acted.log_prob_known.shape == acted.joint_log_prob.shape
    assert acted.log_prob_known.all()
    assert torch.equal(actor.imitation(obs, acted.action), -acted.joint_log_prob)
    assert actor.entropy(obs).item() == pytest.approx(normal.entropy()[0, 0].item(), rel=1e-6)


def test_without_exploration_the_noise_does_not_matter_and_there_is_no_density(actor):
    obs = Obs(torch.randn(4, 6))
    acted = actor.act(obs, torch.randn(4, 3), explore=False)
    assert torch.equal(acted.action, actor(obs))
    assert torch.equal(actor.mode(obs), actor(obs))
    assert acted.log_prob_known.tolist() == [False] * 4
    assert acted.joint_log_prob.tolist() == [0.0] * 4


def test_decisions_are_differentiable(actor):
    actor.act(Obs(torch.randn(4, 6)), torch.randn(4, 3)).action.sum().backward()
    assert all(parameter.grad.any() for parameter in actor.parameters())


def test_the_joint_log_prob_is_the_sum_over_random_choices():
    acted = Acted(torch.zeros(2, 1), torch.tensor([[1.0, 2.0], [3.0, -1.0]]))
    assert acted.joint_log_prob.tolist() == [3.0, 2.0]


def test_exploration_is_set_and_bounded_unless_it_is_frozen(actor):
    assert [*map(id, actor.exploration_parameters())] == [id(actor.log_std)]
    actor.clamp_exploration(-0.5, 0.25)
    assert actor.log_std.tolist() == [-0.5, 0.0, 0.25]
    actor.clamp_exploration(None, -0.25)
    assert actor.log_std.tolist() == [-0.5, -0.25, -0.25]
    actor.set_exploration(-3.0)
    actor.log_std.requires_grad_(False)
    actor.clamp_exploration(-1.0, None)
    assert actor.log_std.tolist() == [-3.0] * 3


def test_what_an_actor_can():
    every = {"act", "log_prob", "imitation", "entropy"}
    every |= {"set_exploration", "clamp_exploration", "exploration_parameters"}

    def abilities(actor):
        return {ability for ability in every if actor.can(ability)}

    gaussian = GaussianActor(6, 2, 8, 1)
    assert abilities(gaussian) == abilities(ConditionedActor(gaussian)) == every
    assert abilities(LogisticActor(6, 2)) == {"act", "log_prob", "imitation"}
    assert abilities(GeneratorActor(6, 2)) == {"act", "imitation"}
    assert abilities(DeterministicActor(gaussian)) == {"act"}
    assert abilities(Actor()) == set()
    assert gaussian.imitates_by_likelihood
    assert not GeneratorActor(6, 2).imitates_by_likelihood


@pytest.mark.parametrize("kind", [GaussianActor, LogisticActor, GeneratorActor])
def test_a_deterministic_actor_never_explores(kind):
    actor = kind(6, 2)
    still, obs = DeterministicActor(actor), Obs(torch.randn(4, 6))
    assert (still.obs_dim, still.action_dim, still.noise_dim) == (6, 2, actor.noise_dim)
    assert torch.equal(still.act(obs, torch.randn(4, actor.noise_dim)).action, actor.mode(obs))


@pytest.mark.parametrize("kind", [GaussianActor, LogisticActor, GeneratorActor])
@pytest.mark.parametrize("explore", [True, False])
@torch.no_grad()
def test_a_decision_does_not_depend_on_how_many_others_are_made(kind, explore):
    actor = kind(6, 2)
    chunk = CHUNK["cpu"]
    obs, noise = Obs(torch.randn(3 * chunk, 6)), torch.randn(3 * chunk, actor.noise_dim)
    whole = decide(actor, obs, noise, explore=explore)
    for rows in (slice(0, 1), slice(5, 70), slice(40, 40 + chunk), slice(0, 3 * chunk)):
        part = decide(actor, obs[rows], noise[rows], explore=explore)
        assert torch.equal(part.action, whole.action[rows])
        assert torch.equal(part.log_prob, whole.log_prob[rows])


# ---- networks of other shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "silu", "gelu"])
def test_widths_and_activation(activation):
    actor = GaussianActor(6, 2, hidden_dims=(24, 16, 8), activation=activation)
    first, second, third, last = [m for m in actor.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in (first, second, third, last)] == [24, 16, 8, 2]
    assert len(actor.encoder) == 4  # two layers and their activations; the last and the output are the head
    of = torch.tanh if activation == "tanh" else getattr(torch.nn.functional, activation)
    obs = Obs(torch.randn(3, 6))
    assert torch.allclose(actor(obs), last(of(third(of(second(of(first(obs.state))))))))
    critic = ValueCritic(6, hidden_dims=(5,), activation=activation)
    inner, outer = critic.value[0], critic.value[-1]
    assert torch.allclose(critic(obs), outer(of(inner(obs.state)))[:, 0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_layers": 0}, "num_layers of a network is 0; it must be at least 1 and at most 1000."),
        ({"num_layers": 2**31}, "num_layers of a network is 2147483648; it must be"),
        ({"hidden_dim": 0}, "hidden_dim of a network is 0; it must be at least 1."),
        ({"hidden_dims": ()}, "hidden_dims of a network is []; it must be one width per hidden layer"),
        ({"hidden_dims": (8, 0)}, "hidden_dims of a network is [8, 0]"),
    ],
)
@pytest.mark.parametrize("network", [lambda **o: GaussianActor(6, 2, **o), lambda **o: ValueCritic(6, **o)])
def test_impossible_shapes(network, options, sentence):
    with pytest.raises(UserError) as refused:
        network(**options)
    assert sentence in str(refused.value)
