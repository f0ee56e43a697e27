"""Policies as people have them: each is read and acts as the network it was made from, or is refused in a sentence."""

import json
import random
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rlft.errors import UserError
from rlft.networks.policy_files import load_policy
from rlft.types import Obs
from tests.support.hand_made import is_sentence
from tests.support.policies_of_others import (
    archive,
    maniskill,
    mlp,
    rsl_rl,
    rsl_rl_5,
    saved_on_a_gpu,
    stable_baselines,
)

OBS, ACTIONS, HOW_MANY = 5, 3, 200
LOG_STD = torch.tensor([-1.0, 0.25, -0.5])
MEAN, SPREAD = torch.linspace(-2, 2, OBS), torch.linspace(0.5, 3, OBS)  # SPREAD is a deviation, its square a variance
LAYOUTS = {"maniskill": maniskill, "stable_baselines": stable_baselines, "rsl_rl": rsl_rl, "rsl_rl_5": rsl_rl_5}
WIDTHS = [(6,), (8, 8), (8, 6, 4), (16, 4)]
NESTS = [(), ("agent",), ("model",), ("model_state_dict",), ("state_dict",), ("actor_critic",), ("model", "state_dict")]
PREFIXES = ["", "_orig_mod.", "module.", "module._orig_mod.", "actor_critic."]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
FORMS = {
    "plain": lambda t: t,
    "parameter": nn.Parameter,
    "not contiguous": lambda t: torch.stack([t, t], -1)[..., 0],
}
READ = {"nothing", "optimizer", "mean and var", "mean and std"}
STATISTICS = ["mean and var", "mean and std", "clipping statistics", "statistics of unknown kind"]
EXTRAS = [*["nothing"] * 3, "optimizer", *STATISTICS, "unknown tensor", "another policy", "statistics in a list"]


@dataclass(frozen=True)
class Variation:
    """One file; `says` is where the activation stands, if anywhere."""

    layout: str
    ending: str
    widths: tuple[int, ...]
    activation: str
    says: str
    nest: tuple[str, ...]
    prefix: str
    dtype: torch.dtype
    form: str
    extra: str
    gpu: bool

    @property
    def is_read(self):
        """Whether it determines a policy, by rules that know nothing of the code."""
        return self.extra in READ and (self.says != "nowhere" or self.layout == "maniskill")


def variation(seed):
    pick = random.Random(seed).choice
    layout = pick(list(LAYOUTS))
    ending = pick([".pt", ".pt", ".ckpt", ".safetensors", ".zip" if layout == "stable_baselines" else ".pth"])
    says = "data" if ending == ".zip" else pick(["json", "json", "file", "nowhere"])
    activation = "tanh" if says == "nowhere" else pick(["tanh", "relu", "elu", "silu", "gelu"])
    nest = () if ending in (".zip", ".safetensors") or layout == "rsl_rl_5" else pick(NESTS)
    prefix = "" if layout == "rsl_rl_5" else pick(PREFIXES)
    extra = pick([e for e in EXTRAS if e != "statistics in a list" or ending in (".pt", ".ckpt", ".pth")])
    gpu = ending in (".pt", ".ckpt") and pick([True, False])
    form = "plain" if ending == ".safetensors" else pick(list(FORMS))
    return Variation(layout, ending, pick(WIDTHS), activation, says, nest, prefix, pick(DTYPES), form, extra, gpu)


VARIATIONS = [variation(seed) for seed in range(HOW_MANY)]


def extras(kind):
    return {
        "nothing": {},
        "optimizer": {"optimizer": {"state": {"0": {"exp_avg": torch.zeros(3)}}}, "optim_state": {"a": torch.ones(2)}},
        "mean and var": {"obs_rms": {"mean": MEAN, "var": SPREAD**2, "count": torch.tensor(9.0)}},
        "mean and std": {"obs_normalizer": {"_mean": MEAN[None], "_var": SPREAD[None] ** 2, "_std": SPREAD[None]}},
        "clipping statistics": {"running_mean_std": {"running_mean": MEAN, "running_var": SPREAD}},
        "statistics of unknown kind": {"obs_rms": {"mean": MEAN, "var": SPREAD, "epsilon": torch.tensor(1e-3)}},
        "unknown tensor": {"gain": torch.ones(OBS)},
        "another policy": {"ema": {"actor_mean.0.weight": torch.ones(2, OBS)}},
        "statistics in a list": {"obs_mean": MEAN.tolist(), "obs_std": SPREAD.tolist()},
    }[kind]


def normalised(kind, obs):
    if kind == "mean and var":
        return (obs - MEAN) / (SPREAD.double() ** 2 + 1e-8).sqrt()
    return (obs - MEAN) / (SPREAD + 0.01) if kind == "mean and std" else obs


def leaves(content, change, names=()):
    """The same dicts with other tensors."""
    if isinstance(content, dict):
        return {key: leaves(value, change, (*names, key)) for key, value in content.items()}
    return change(content) if isinstance(content, torch.Tensor) else content


def flat(content, names=()):
    if isinstance(content, dict):
        return {k: v for key, value in content.items() for k, v in flat(value, (*names, key)).items()}
    return {".".join(names): content.contiguous()} if isinstance(content, torch.Tensor) else {}


def write(case, folder, networks):
    """The file of a variation."""
    state = LAYOUTS[case.layout](*networks)
    state = state if case.layout == "rsl_rl_5" else {f"{case.prefix}{name}": tensor for name, tensor in state.items()}
    state = leaves(state, lambda t: FORMS[case.form](t.detach().to(case.dtype)))
    path = folder / f"policy{case.ending}"
    for name in reversed(case.nest):
        state = {name: state}
    content = {**state, **extras(case.extra)}
    words = {"activation": case.activation}
    if case.says == "json":
        path.with_suffix(".json").write_text(json.dumps(words))
    if case.ending == ".zip":
        kind = type(networks[0][1])
        archive(path, content, {"activation_fn": f"<class '{kind.__module__}.{kind.__name__}'>"})
    elif case.ending == ".safetensors":
        save_file(flat(content), path, metadata=words if case.says == "file" else None)
    else:
        torch.save(content | ({"args": words} if case.says == "file" else {}), path)
        if case.gpu:
            saved_on_a_gpu(path)
    return path


def rounded(network, dtype):
    """What is left of a network in a file of this precision."""
    return network.to(dtype).double()


@pytest.mark.parametrize("case", VARIATIONS, ids=range(HOW_MANY))
def test_it_acts_as_what_it_was_made_from_or_is_refused(tmp_path, case):
    actor = mlp([OBS, *case.widths, ACTIONS], case.activation)
    critic = mlp([OBS, 7, 1], case.activation, seed=1)
    path = write(case, tmp_path, (actor, critic, LOG_STD))
    if not case.is_read:
        with pytest.raises(UserError) as refused:
            load_policy(str(path))
        assert is_sentence(str(refused.value)), case
        assert str(path) in str(refused.value)
        return
    policy = load_policy(str(path))
    obs = 3 * torch.randn(50, OBS)
    seen = normalised(case.extra, obs.double())
    with torch.no_grad():
        close = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
        torch.testing.assert_close(policy.actor.mode(Obs(obs)), rounded(actor, case.dtype)(seen), **close)
        torch.testing.assert_close(policy.critic(Obs(obs)), rounded(critic, case.dtype)(seen)[:, 0], **close)
        torch.testing.assert_close(
            policy.actor.log_std, LOG_STD, rtol=0, atol=1e-6 if case.dtype.itemsize > 2 else 8e-3
        )
    assert len(policy.notes) == 1
    assert case.activation in policy.notes[0]


def test_there_are_more_than_a_hundred_of_both_kinds():
    """Each layout, wrapping and precision is read in some file."""
    read = [case for case in VARIATIONS if case.is_read]
    print(f"{len(read)} files are read, {HOW_MANY - len(read)} are refused")
    assert len(set(VARIATIONS)) >= 190
    assert min(len(read), HOW_MANY - len(read)) >= 60
    for name, values in (
        ("layout", LAYOUTS),
        ("nest", NESTS),
        ("prefix", PREFIXES),
        ("dtype", DTYPES),
        ("extra", READ),
    ):
        assert {getattr(case, name) for case in read} == set(values)
