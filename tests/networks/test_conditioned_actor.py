import copy

import pytest
import torch
from torch.distributions import Normal

from rlft.networks import ConditionedActor, GaussianActor
from rlft.networks.conditioned_actor import NEGATIVE, NULL, POSITIVE
from rlft.types import Obs


@pytest.fixture
def actor():
    """Two hidden layers; every condition acts differently."""
    torch.manual_seed(0)
    actor = ConditionedActor(GaussianActor(6, 3, 16, 2))
    torch.nn.init.normal_(actor.embedding)
    torch.nn.init.orthogonal_(actor.action_head[-1].weight)
    return actor


def test_at_first_every_condition_acts_as_the_given_actor():
    given, obs = GaussianActor(42, 8), Obs(torch.randn(100, 42))
    actor = ConditionedActor(given)
    for condition in (NEGATIVE, POSITIVE, NULL):
        assert torch.equal(actor.conditional(obs, condition), given(obs))
    # 144 656 of the actor and 3 x 256
    assert sum(p.numel() for p in actor.parameters()) == 145_424


def test_the_embedding_is_a_one_hot_input(actor):
    obs, indicator = Obs(torch.randn(20, 6)), torch.randint(3, (20,))
    wide = torch.nn.Linear(6 + 3, 16)
    wide.weight.data = torch.cat([actor.encoder[0].weight, actor.embedding.T], 1).detach()
    wide.bias.data = actor.encoder[0].bias.detach()
    hidden = wide(torch.cat([obs.state, torch.eye(3)[indicator]], 1)).tanh()
    expected = actor.action_head(hidden)
    assert torch.allclose(actor.conditional(obs, indicator), expected, atol=1e-5)


def test_rows_have_their_own_condition(actor):
    obs = Obs(torch.randn(4, 5, 6))
    indicator = torch.tensor([NEGATIVE, POSITIVE, NULL, POSITIVE, NULL]).expand(4, 5)
    mixed = actor.conditional(obs, indicator)
    assert mixed.shape == (4, 5, 3)
    for condition in (NEGATIVE, POSITIVE, NULL):
        alone = actor.conditional(obs, condition)
        assert torch.allclose(mixed[indicator == condition], alone[indicator == condition], atol=1e-6)
        assert not torch.allclose(mixed, alone, atol=0.01)


@pytest.mark.parametrize(("guidance", "condition"), [(0.0, NULL), (1.0, POSITIVE)])
def test_without_guidance_it_is_the_null_policy_and_with_one_the_positive_one(actor, guidance, condition):
    obs = Obs(torch.randn(20, 6))
    actor.guidance.fill_(guidance)
    assert torch.equal(actor(obs), actor.conditional(obs, condition))


@pytest.mark.parametrize("guidance", [0.5, 2.0, 3.5])
def test_guidance_is_the_product_of_gaussians(actor, guidance):
    # pi_u (pi_c / pi_u)^g on a fine grid of one action dimension, normalised numerically: its mean and its width
    obs = Obs(torch.randn(1, 6))
    actor.guidance.fill_(guidance)
    std = actor.log_std[0].exp().item()
    null, positive = (actor.conditional(obs, c)[0, 0].item() for c in (NULL, POSITIVE))
    assert abs(positive - null) > 0.1
    grid = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    log_null, log_positive = (Normal(mean, std).log_prob(grid) for mean in (null, positive))
    density = (log_null + guidance * (log_positive - log_null)).softmax(0)
    mean = (density * grid).sum()
    assert actor(obs)[0, 0].item() == pytest.approx(mean.item(), abs=1e-5)
    assert (density * (grid - mean) ** 2).sum().sqrt().item() == pytest.approx(std, abs=1e-5)


def test_guidance_is_part_of_the_state_but_not_trained(actor):
    other = copy.deepcopy(actor)
    other.guidance.fill_(2.5)
    actor.load_state_dict(other.state_dict())
    assert actor.guidance == 2.5
    assert "guidance" not in dict(actor.named_parameters())


def test_training_how_it_acts_reaches_the_positive_condition_only(actor):
    actor(Obs(torch.randn(5, 6))).sum().backward()
    assert actor.embedding.grad.any(1).tolist() == [False, True, False]
