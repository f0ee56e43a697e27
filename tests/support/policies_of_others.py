"""Policies as other libraries build and save them, written independently of the code that reads them.

The layouts were checked once against what the libraries themselves save: Stable-Baselines3 2.9 (`PPO.save`), rsl_rl 3.0
and 5.5 (state dicts with EmpiricalNormalization); that of CleanRL against its published script.
"""

import io
import json
import zipfile
from itertools import pairwise

import torch
from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "silu": nn.SiLU, "gelu": nn.GELU}


def mlp(sizes, activation="tanh", seed=0):
    """A Sequential of linear layers with an activation between any two, with weights that matter."""
    torch.manual_seed(seed)
    layers = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def prefixed(prefix, module):
    """Its tensors under a name."""
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


def split(trunk, head, module):
    """Its tensors, the last layer's under a name of their own."""
    last = len(module) - 1
    return {
        (f"{head}.{name.split('.')[1]}" if int(name.split(".")[0]) == last else f"{trunk}.{name}"): tensor
        for name, tensor in module.state_dict().items()
    }


def maniskill(actor, critic, log_std):
    """Of ManiSkill's and CleanRL's PPO."""
    return {**prefixed("actor_mean", actor), **prefixed("critic", critic), "actor_logstd": log_std[None]}


def stable_baselines(actor, critic, log_std):
    """Of the `policy.pth` of Stable-Baselines3's PPO."""
    found = split("mlp_extractor.policy_net", "action_net", actor)
    return {"log_std": log_std, **found, **split("mlp_extractor.value_net", "value_net", critic)}


def rsl_rl(actor, critic, log_std):
    """Of rsl_rl up to 3, whose parameter is the deviation itself."""
    return {"std": log_std.exp(), **prefixed("actor", actor), **prefixed("critic", critic)}


def rsl_rl_5(actor, critic, log_std):
    """Of rsl_rl 5, which saves two state dicts."""
    return {
        "actor_state_dict": {**prefixed("mlp", actor), "distribution.std_param": log_std.exp()},
        "critic_state_dict": prefixed("mlp", critic),
        "iter": 3,
        "infos": None,
    }


def archive(path, state, kwargs=None, cls="ActorCriticPolicy", module="stable_baselines3.common.policies", **data):
    """What `PPO.save` of Stable-Baselines3 writes, with something in place of each pickle."""
    described = {":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAWV", "__module__": module}
    described["__init__"] = f"<function {cls}.__init__ at 0x7f0000000000>"
    space = {":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gAWV"}
    said = {"policy_class": described, "policy_kwargs": kwargs or {}, "use_sde": False, "action_space": space} | data
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", json.dumps(said))
        for name, content in (("policy.pth", state), ("policy.optimizer.pth", {}), ("pytorch_variables.pth", None)):
            stream = io.BytesIO()
            torch.save(content, stream)
            file.writestr(name, stream.getvalue())
        file.writestr("_stable_baselines3_version", "2.9.2")


def saved_on_a_gpu(path):
    """Makes a file of `torch.save` say that its tensors were on a GPU."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            on_cpu, on_gpu = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
            assert not name.endswith("data.pkl") or on_cpu in content
            file.writestr(name, content.replace(on_cpu, on_gpu) if name.endswith("data.pkl") else content)
