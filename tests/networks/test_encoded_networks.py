"""Networks that look at pictures and numbers, and decide among choices."""

import math

import pytest
import torch

from rlft.errors import UserError
from rlft.networks import CategoricalActor, EncodedActor, EncodedCritic, EpsilonGreedy, QuantileActor
from rlft.networks.dueling_head import dueling
from rlft.networks.encoders import ConvEncoder, FloatEncoder
from rlft.networks.policy_files import load_policy, save_policy
from rlft.networks.quantile_embedding import QuantileEmbedding
from rlft.rollout.worker import CHUNK, decide
from rlft.types import Obs
from tests.support.hand_made import is_sentence

SMALL = {"image": (1, 16, 16), "convolutions": ((4, 4, 2), (8, 3, 1)), "float_dim": 8, "head_dim": 8}


def observations(*shape, size=16, obs_dim=6):
    image = torch.randint(256, (*shape, 1, size, size), dtype=torch.uint8)
    return Obs(torch.randn(*shape, obs_dim), image)


def networks():
    critic = EncodedCritic(6, **SMALL)
    return [
        (QuantileActor(6, 1, 5, **SMALL, cosines=4, act_quantiles=4), None),
        (CategoricalActor(6, 1, 5, **SMALL), critic),
    ]


def test_the_published_sizes():
    actor = QuantileActor(20, 1, 12, (1, 64, 64), cosines=128)
    assert actor.encoder.image.width == 512
    assert sum(weights.numel() for weights in actor.parameters()) == 1_009_821
    expected = {"encoder", "encoder.image", "encoder.floats", "mixer", "advantage", "value"}
    assert expected <= {name for name, _ in actor.named_modules()}


def test_pixels_and_numbers_are_normalised():
    encoder = ConvEncoder((1, 16, 16), SMALL["convolutions"])
    assert encoder.normalised(torch.tensor([0, 64, 128, 255], dtype=torch.uint8)).tolist() == [-1, -0.5, 0, 127 / 128]
    floats = FloatEncoder(2, 8)
    floats.fit_moments(torch.tensor([[1.0, 3.0], [3.0, 3.0], [5.0, 3.0]]))
    assert floats.mean.tolist() == [3, 3]
    assert floats.scale.tolist() == [2, 1]  # what never varies keeps its scale
    floats.fit_moments(torch.zeros(3, 2))
    assert floats.mean.tolist() == [3, 3]  # a policy knows its numbers by the first moments


@pytest.mark.parametrize("options", [{"image": None, "float_dim": 8}, {"float_dim": 0}])
def test_either_part_may_be_absent(options):
    actor, obs = CategoricalActor(6, 1, 5, **{**SMALL, **options}), observations(4)
    other = Obs(obs.state, obs.image.flip(0)) if options["float_dim"] else Obs(obs.state.flip(0), obs.image)
    assert torch.equal(actor.distribution(obs).log_probs, actor.distribution(other).log_probs)


def test_without_any_part_there_is_nothing_to_look_at():
    with pytest.raises(UserError, match="nothing to look at") as refused:
        CategoricalActor(0, 1, 5)
    assert is_sentence(str(refused.value))


def test_pictures_too_small_for_the_layers_are_refused():
    with pytest.raises(UserError, match="convolutions of a network"):
        QuantileActor(6, 1, 5, (1, 16, 16))


def test_cosines_of_a_level():
    embedding = QuantileEmbedding(3, 3)
    with torch.no_grad():
        embedding.layer.weight.copy_(torch.eye(3))
    features = embedding(torch.tensor([0.5]))[0]
    assert torch.allclose(features, torch.tensor([0.0, -0.01, 0.0]), atol=1e-6)  # cos: 0, -1, 0; LeakyReLU


def test_the_mean_over_choices_is_the_value():
    value, advantage = torch.randn(7, 1), torch.randn(7, 5)
    assert torch.allclose(dueling(value, advantage).mean(-1), value[:, 0], atol=1e-6)


def test_a_decision_does_not_depend_on_what_else_is_decided():
    obs = observations(2 * CHUNK["cpu"] + 3)
    for actor, _ in networks():
        noise = torch.randn(len(obs.state), actor.noise_dim)
        one = decide(actor, obs[5:6], noise[5:6])
        assert torch.equal(decide(actor, obs, noise).action[5:6], one.action)
        assert one.action.dtype == torch.int64


def test_shapes_in_front_are_kept():
    obs = observations(3, 4)
    for actor, critic in networks():
        acted = actor.act(obs, torch.randn(3, 4, actor.noise_dim))
        assert acted.action.shape == (3, 4, 1)
        assert actor.imitation(obs, acted.action).shape == (3, 4)
        if critic is not None:
            assert torch.allclose(critic(obs)[1], critic(obs[1]), atol=1e-6)


def test_probabilities_of_choices():
    actor = CategoricalActor(1, 1, 3, float_dim=4, head_dim=0)
    with torch.no_grad():
        actor.advantage[0].weight.zero_()
        actor.advantage[0].bias.copy_(torch.tensor([0.2, 0.3, 0.5]).log() + 7)  # a constant changes nothing
    noise = torch.special.ndtri(torch.tensor([[0.19], [0.21], [0.49], [0.51], [0.99]]))
    obs = Obs(torch.zeros(5, 1))
    acted = actor.act(obs, noise)
    assert acted.action[:, 0].tolist() == [0, 1, 1, 2, 2]
    expected = torch.tensor([0.2, 0.3, 0.3, 0.5, 0.5]).log()
    assert torch.allclose(acted.joint_log_prob, expected, atol=1e-6)
    assert torch.allclose(actor.imitation(obs, acted.action), -expected, atol=1e-6)
    assert actor.entropy(obs)[0].item() == pytest.approx(-sum(p * math.log(p) for p in (0.2, 0.3, 0.5)), abs=1e-6)
    assert actor.mode(obs)[:, 0].tolist() == [2] * 5


def test_exploration_is_what_the_noise_says():
    actor = QuantileActor(1, 1, 4, float_dim=4, head_dim=0, act_quantiles=2)
    with torch.no_grad():
        actor.advantage[0].weight.zero_()
        actor.advantage[0].bias.copy_(torch.tensor([0.0, 1.0, 3.0, 2.0]))
    exploring = EpsilonGreedy(actor, epsilon=0.2, noisy=0.5, noise=0.5)  # noisy values with probability 0.4

    def chosen(how, which, *noise):
        uniform = torch.special.ndtri(torch.tensor([how, which]))
        row = torch.cat([uniform, torch.tensor(noise)])[None]
        return int(exploring.act(Obs(torch.zeros(1, 1)), row).action)

    assert [chosen(0.19, which, 0.0, 0.0, 0.0, 0.0) for which in (0.1, 0.3, 0.6, 0.99)] == [0, 1, 2, 3]
    assert chosen(0.59, 0.1, 0.0, 0.0, 0.0, 2.5) == 3  # 2 + 0.5 * 2.5 is above 3
    assert chosen(0.59, 0.1, 0.0, 0.0, 0.0, 1.5) == 2
    assert chosen(0.61, 0.1, 9.0, 9.0, 0.0, 9.0) == 2


def test_a_gaussian_looks_at_pictures_and_numbers(tmp_path):
    actor, obs = EncodedActor(6, 2, **SMALL, init_log_std=-1.5), observations(9)
    acted = actor.act(obs, torch.zeros(9, 2))
    assert torch.equal(acted.action, actor.action_head(actor.encoder(obs)))
    assert acted.action.abs().max() < 0.2  # new means are small
    expected = torch.full((9,), 2 * (1.5 - 0.5 * math.log(2 * math.pi)))  # at the mean of exp(-1.5)
    torch.testing.assert_close(acted.joint_log_prob, expected)
    for other in (Obs(obs.state, 255 - obs.image), Obs(obs.state + 1, obs.image)):
        assert not torch.allclose(actor.mode(other), actor.mode(obs))
    save_policy(tmp_path / "actor.safetensors", actor, None, {})
    again = load_policy(str(tmp_path / "actor.safetensors")).actor
    assert again.arguments() == actor.arguments()
    assert torch.equal(again.mode(obs), actor.mode(obs))


def test_files_hold_all_of_it(tmp_path):
    obs = observations(9)
    for actor, critic in networks():
        actor.encoder.fit_moments(3 * torch.randn(20, 6) + 1)
        path = tmp_path / f"{type(actor).__name__}.safetensors"
        save_policy(path, actor, critic, {})
        again = load_policy(str(path))
        assert again.actor.arguments() == actor.arguments()
        assert torch.equal(
            again.actor.imitation(obs, torch.ones(9, 1).long()), actor.imitation(obs, torch.ones(9, 1).long())
        )
        if critic is not None:
            assert torch.equal(again.critic(obs), critic(obs))
