"""The autoencoder: its sizes, its error, and what its encoder is good for afterwards."""

import pytest
import torch

from rlft.data import OfflineDataModule
from rlft.errors import UserError
from rlft.modules import AutoencoderModule, IQNModule
from rlft.networks import CategoricalActor, QuantileActor
from rlft.networks.decoder import ConvDecoder, reconstruction_error
from rlft.networks.encoders import ConvEncoder
from rlft.networks.policy_files import save_policy
from tests.support.pictured import PicturedReach
from tests.support.training import MemoryLogger, fit

SIZES = {"choices": 5, "image": (1, 16, 16), "convolutions": ((8, 4, 2), (16, 3, 2)), "float_dim": 8, "head_dim": 8}


@pytest.mark.parametrize("image", [(1, 64, 64), (3, 61, 70)])
def test_pictures_come_back_in_their_size(image):
    encoder = ConvEncoder(image)
    pictures = torch.randint(256, (2, *image), dtype=torch.uint8)
    decoded = ConvDecoder(encoder)(encoder(pictures))
    assert decoded.shape == pictures.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_the_error_is_that_of_pixels_from_0_to_1():
    image = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    assert reconstruction_error(torch.full((1, 1, 2, 2), 0.5), image).item() == pytest.approx((0.5 + 0.09 + 0.01) / 4)


def test_it_learns_and_its_encoder_is_injected(tmp_path):
    torch.manual_seed(0)
    model, logger = AutoencoderModule(6, 1, lambda o, a: CategoricalActor(o, a, **SIZES)), MemoryLogger()
    head = {name: weights.clone() for name, weights in model.actor.advantage.state_dict().items()}
    sizes = {"num_envs": 16, "num_steps": 20, "num_minibatches": 10, "update_epochs": 4, "validation_fraction": 0.2}
    fit(model, OfflineDataModule(PicturedReach(), **sizes, num_workers=0), 3, logger=logger)
    losses = [value for _, value in logger.series("losses/validation_reconstruction")]
    assert losses[-1] < 0.2 * losses[0]
    assert all(torch.equal(weights, head[name]) for name, weights in model.actor.advantage.state_dict().items())
    path = tmp_path / "encoder.safetensors"
    save_policy(path, model.actor, None, {})
    options = {"inject_from": str(path), "inject": "image"}
    actor = IQNModule(6, 1, lambda o, a: QuantileActor(o, a, **SIZES), **options).actor
    picture = torch.randint(256, (3, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(actor.encoder.image(picture), model.actor.encoder.image(picture))
    other = {"pixels": (0.0, 255.0)}
    with pytest.raises(UserError, match="was trained with pixels"):
        IQNModule(6, 1, lambda o, a: QuantileActor(o, a, **SIZES, **other), **options)


def test_an_actor_that_looks_at_no_picture_is_refused():
    with pytest.raises(UserError, match="looks at no picture; it must be"):
        AutoencoderModule(6, 1, lambda o, a: CategoricalActor(o, a, 5))
