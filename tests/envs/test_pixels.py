"""ManiSkill from pixels: what is seen, and that it depends on nothing but the state."""

from contextlib import closing

import pytest
import torch

from rlft.advantage import MonteCarloRerollout
from rlft.data import RolloutDataModule
from rlft.envs import ManiSkill
from rlft.modules import FinetuneModule
from rlft.networks import EncodedActor, EncodedCritic
from rlft.rollout import LocalRollouts, make_rollouts
from rlft.update import AWR
from tests.support.rollouts import assert_equal
from tests.support.training import fit

pytestmark = [pytest.mark.draws, pytest.mark.maniskill]
ENV = ManiSkill(obs="rgb", image_size=32, zoom=2.0, meshes="collision", device="cpu")
SMALL = {"image": (3, 32, 32), "convolutions": ((4, 4, 4),), "float_dim": 8, "head_dim": 8}


@pytest.fixture(scope="module")
def rollouts():
    return LocalRollouts(ENV, 4)


def red(picture):
    """Which pixels `[H, W]` have the colour of PickCube's cube."""
    r, g, b = picture.int()
    return (r > 100) & (g < 60) & (b < 60)


def test_the_cube_is_seen_and_what_a_robot_knows_is_told(rollouts):
    spec, obs = rollouts.spec, rollouts.initial_states(1).obs
    assert (spec.obs_dim, spec.privileged_dim, spec.image) == (29, 42, (3, 32, 32))
    assert obs.image.shape == (4, 3, 32, 32)
    whole = LocalRollouts(ManiSkill(device="cpu"), 4).initial_states(1).obs.state
    assert torch.equal(obs.privileged, whole)  # the state observation of the same scenes
    assert torch.equal(obs.state, whole[:, :29])  # joints, speeds, grasp, tool and goal; PickCube tells objects last
    places = [red(picture).nonzero().float().mean(0) for picture in obs.image]  # row, column
    y = whole[:, 30]  # of the cube, to the robot's left
    columns = torch.stack(places)[:, 1]
    assert torch.equal(columns.argsort(), y.argsort())  # the camera looks at the robot


def test_pictures_do_not_depend_on_workers_or_what_was_drawn_before(rollouts):
    actor, states = EncodedActor(29, 8, **SMALL), rollouts.initial_states(2)
    here = rollouts.collect(actor, states, 3, seed=2, iteration=0)
    assert_equal(here[0], rollouts.collect(actor, states, 3, seed=2, iteration=0)[0])
    with closing(make_rollouts(ENV, 4, 2)) as workers:
        there = workers.collect(actor, workers.initial_states(2), 3, seed=2, iteration=0)
    assert_equal(here[0], there[0])
    assert_equal(here[1], there[1])
    assert len(here[0].obs.image.flatten(0, 1).unique(dim=0)) == 12  # something moves


def test_rerollouts_go_back_to_states_with_pictures():
    data = RolloutDataModule(ENV, 4, 2, num_minibatches=2, update_epochs=1, num_workers=0)
    estimator = MonteCarloRerollout(num_samples=1, horizon=1, policy=None)
    model = FinetuneModule(
        29,
        8,
        advantage=estimator,
        update=AWR(),
        policy=None,
        actor=lambda o, a: EncodedActor(o, a, **SMALL),
        critic=lambda o: EncodedCritic(o, **SMALL),
    )
    fit(model, data, 1)
    assert model.record.metrics["time/rollout"] > 0
