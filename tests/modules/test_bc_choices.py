"""Behaviour cloning of choices, from pictures and numbers."""

import math

import pytest
import torch

from rlft.data import OfflineDataModule
from rlft.errors import UserError
from rlft.modules import BCModule, IQNModule
from rlft.networks import CategoricalActor, QuantileActor, SquashedGaussianActor
from rlft.networks.policy_files import save_policy
from rlft.types import CloningBatch, Obs
from tests.support.hand_made import is_sentence
from tests.support.pictured import PicturedReach
from tests.support.training import MemoryLogger, fit

SIZES = {"choices": 5, "image": (1, 16, 16), "convolutions": ((4, 4, 2), (8, 3, 2)), "float_dim": 16, "head_dim": 16}


def cloner(demonstrator=None, **options):
    return BCModule(6, 1, demonstrator, **{"actor": lambda o, a: CategoricalActor(o, a, **SIZES), **options})


def test_losses_of_two_offsets_by_hand():
    """Logits of the own head are those of 0.5 and four times 0.125, of the other one uniform."""
    model = cloner(offsets=(0, 2), offset_weights=(3.0, 1.0))
    with torch.no_grad():
        for head, logits in ((model.actor.advantage, [0.5] + [0.125] * 4), (model.heads["2"], [0.2] * 5)):
            head[-1].weight.zero_()
            head[-1].bias.copy_(torch.tensor(logits).log())
    obs = Obs(torch.zeros(2, 6), torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    batch = CloningBatch(obs, torch.tensor([[[0], [3]], [[4], [1]]]), torch.tensor([[True, True], [True, False]]))
    own, other = (math.log(2) + math.log(8)) / 2, math.log(5)
    assert model.training_step(batch).item() == pytest.approx((3 * own + other) / 4)
    assert model.accuracies(batch) == {
        "charts/validation_accuracy": 0.5,
        "charts/validation_accuracy_2": 0.0,
        "charts/validation_recall_0": 1.0,  # the choice that it always makes
        "charts/validation_recall_4": 0.0,
    }


def quantile_actor(obs_dim, action_dim):
    return QuantileActor(obs_dim, action_dim, **SIZES, act_quantiles=4)


def test_the_values_of_a_quantile_network_are_logits_of_which_the_value_learns_nothing():
    torch.manual_seed(0)
    model = cloner(actor=quantile_actor, offsets=(0, 1))
    obs = Obs(torch.randn(8, 6), torch.randint(256, (8, 1, 16, 16), dtype=torch.uint8))
    batch = CloningBatch(obs, torch.randint(5, (8, 2, 1)), torch.ones(8, 2, dtype=torch.bool))
    loss = model.offset_losses(batch)[0]
    expected = torch.nn.functional.cross_entropy(model.actor.values(obs), batch.action[:, 0, 0])
    torch.testing.assert_close(loss, expected)
    loss.backward()
    learns = {name for name, weight in model.actor.named_parameters() if weight.grad is not None}
    assert {name.partition(".")[0] for name in learns} == {"encoder", "mixer", "advantage"}
    expected.backward()  # the whole network would say the same: probabilities do not depend on V
    assert all(weight.grad.abs().max() < 1e-7 for weight in model.actor.value.parameters())


def test_an_iqn_takes_over_a_whole_clone(tmp_path):
    clone = cloner(actor=quantile_actor).actor
    save_policy(tmp_path / "clone.safetensors", clone, None, {})
    started = {"policy": str(tmp_path / "clone.safetensors")}
    injected = {"inject_from": str(tmp_path / "clone.safetensors"), "inject": "full"}
    for options in (started, injected):
        model = IQNModule(6, 1, quantile_actor, **options)
        for name, weight in clone.state_dict().items():
            assert torch.equal(model.actor.state_dict()[name], weight), name


@pytest.mark.parametrize("actor", [lambda o, a: CategoricalActor(o, a, **SIZES), quantile_actor])
def test_a_demonstrator_is_cloned(tmp_path, actor):
    torch.manual_seed(0)
    shown = CategoricalActor(6, 1, **{**SIZES, "image": None})
    with torch.no_grad():
        shown.advantage[-1].weight.mul_(2000)  # it hardly ever draws another choice than the likeliest
    path = tmp_path / "shown.safetensors"
    save_policy(path, shown, None, {})
    sizes = {"num_envs": 16, "num_steps": 40, "num_minibatches": 8, "update_epochs": 5, "validation_fraction": 0.2}
    model, logger = cloner(str(path), actor=actor, offsets=(0, 1), learning_rate=3e-3), MemoryLogger()
    fit(model, OfflineDataModule(PicturedReach(), **sizes, num_workers=0), 4, logger=logger)
    accuracy = [value for _, value in logger.series("charts/validation_accuracy")]
    losses = [value for _, value in logger.series("losses/policy_loss")]
    assert accuracy[-1] > 0.7
    assert losses[-1] < 0.6 * losses[0]


def test_what_does_not_fit_is_refused():
    for options, said in (
        ({"loss": "mse"}, r"model\.loss is mse, but choices have no mean"),
        ({"actor": SquashedGaussianActor}, r"model\.actor is a SquashedGaussianActor; BCModule trains"),
    ):
        with pytest.raises(UserError, match=said) as refused:
            cloner(**options)
        assert is_sentence(str(refused.value))
