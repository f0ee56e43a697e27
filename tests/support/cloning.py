"""A demonstrator of PointReach and modules that clone it."""

import torch

from rlft.data import OfflineDataModule
from rlft.envs import PointReach
from rlft.modules import BCModule
from rlft.networks import GaussianActor
from rlft.networks.policy_files import save_policy

LINEAR = 0.05  # tanh is linear up to some thousandths for inputs of up to twice this
LOG_STD = -1.0


def demonstrator(folder, log_std=LOG_STD):
    """The name of a policy that moves by how far away the goal is."""
    actor = GaussianActor(6, 2, hidden_dim=2, num_layers=1, init_log_std=log_std)
    with torch.no_grad():
        actor.encoder[0].weight.copy_(LINEAR * torch.eye(6)[4:])  # the last two observations are the goal's offset
        actor.action_head[0].weight.copy_(torch.eye(2) / LINEAR)
    path = folder / "demonstrator.safetensors"
    save_policy(path, actor, None, {"task": "PointReach"})
    return str(path)


def cloner(demonstrator=None, **options):
    """A small actor for PointReach."""
    return BCModule(6, 2, demonstrator, **{"actor": lambda o, a: GaussianActor(o, a, 16, 2), **options})


def demonstrations(**options):
    """16 environments x 20 steps in 4 minibatches and 2 epochs."""
    sizes = {"num_envs": 16, "num_steps": 20, "num_minibatches": 4, "update_epochs": 2, "num_workers": 0}
    return OfflineDataModule(PointReach(), **{**sizes, **options})
