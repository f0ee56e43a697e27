"""What other libraries save: the kinds of files, and what each is refused for. Wrappings: tests/field."""

import contextlib
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.networks.policy_checks import MEANING, check_made_for
from rlft.networks.policy_files import load_policy
from rlft.types import Obs
from tests.support.hand_made import is_sentence
from tests.support.policies_of_others import archive, maniskill, mlp, prefixed, rsl_rl, stable_baselines

LOG_STD = torch.tensor([-1.0, 0.5])
OBS = torch.linspace(-2, 2, 6 * 9).reshape(9, 6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.pt"


def networks(activation="tanh", critic_obs=6):
    return mlp([6, 8, 4, 2], activation), mlp([critic_obs, 5, 1], activation, seed=1), LOG_STD


def saved(path, content, **beside):
    torch.save(content, path)
    if beside:
        path.with_suffix(".json").write_text(json.dumps(beside))
    return path


def refusal(path):
    with pytest.raises(UserError) as refused:
        load_policy(str(path))
    assert is_sentence(str(refused.value))
    assert str(path) in str(refused.value)
    return str(refused.value)


def acts_like(policy, network):
    with torch.no_grad():
        return torch.allclose(policy.actor.mode(Obs(OBS)), network(OBS), atol=1e-6)


# ---- what the tensors cannot tell --------------------------------------------------------------------------------


def test_an_activation_that_nothing_says_is_asked_for_and_the_answer_works(path):
    actor, critic, _ = networks("elu")
    refused = refusal(saved(path, rsl_rl(actor, critic, LOG_STD)))
    assert "rsl_rl's PPO, but nothing says its activation" in refused
    answer = refused.split("such as ")[1].removesuffix(".")
    path.with_suffix(".json").write_text(answer)
    policy = load_policy(str(path))
    assert acts_like(policy, actor)
    assert policy.info == {}


def test_a_deterministic_policy_needs_a_deviation_too(path):
    """ManiSkill's behaviour cloning; the task may stand in the same json."""
    actor, _, _ = networks("relu")
    saved(path, {"actor": prefixed("net", actor)})
    refused = refusal(path)
    assert "nothing says its activation and log_std" in refused
    saved(path, {"actor": prefixed("net", actor)}, activation="relu", log_std=-1.5, task="PushCube-v1")
    policy = load_policy(str(path))
    assert acts_like(policy, actor)
    assert policy.actor.log_std.tolist() == [-1.5, -1.5]
    assert policy.critic is None
    assert policy.info == {"task": "PushCube-v1"}


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"activation": "relu"}, "relu and tanh"),
        ({"activation": "mish"}, "'mish'; rlft has tanh, relu"),
        ({"log_std": -1}, "more than once"),
        ({"log_std": "low"}, "must be a number"),
        ({"log_std": float("nan")}, "must be a number"),
    ],
)
def test_a_json_that_contradicts_the_file(path, beside, words):
    content = maniskill(*networks()) | {"args": {"activation": "nn.Tanh"}}
    assert words in refusal(saved(path, content, **beside))


def test_an_activation_at_the_end_is_not_left_out(path):
    content = maniskill(*networks()) | {"output_activation": "identity"}
    assert acts_like(load_policy(str(saved(path, content))), networks()[0])
    assert "'tanh at the end'" in refusal(saved(path, content | {"output_activation": "tanh"}))


def test_a_json_can_say_what_to_build_of_tensors_with_our_names(path):
    actor = GaussianActor(6, 2, 8, 2, activation="gelu")
    description = {"class_path": "rlft.networks.GaussianActor", "init_args": actor.arguments()}
    saved(path, {"model": prefixed("actor", actor)}, networks={"actor": description, "critic": None})
    assert torch.equal(load_policy(str(path)).actor(Obs(OBS)), actor(Obs(OBS)))
    saved(path, {"model": prefixed("actor", actor), "obs_rms": {"mean": OBS[0]}})
    assert "its tensor obs_rms.mean is of neither actor nor critic" in refusal(path)


def test_what_was_assumed_is_said_where_it_is_played(path):
    policy = load_policy(str(saved(path, maniskill(*networks()))))
    [note, *_] = check_made_for(policy, dict.fromkeys(MEANING, ""))
    assert note.startswith(f"Policy {path}: It is read as a policy of ManiSkill's or CleanRL's PPO: tanh after every")
    assert is_sentence(note)


# ---- normalised observations -------------------------------------------------------------------------------------


def test_statistics_of_the_critic_alone(path):
    """By hand: a critic x -> relu(x) of one observation, which sees (3 - 1) / (0.99 + 0.01) = 2."""
    critic = {"critic.0.weight": torch.ones(1, 1), "critic.0.bias": torch.zeros(1)}
    critic |= {"critic.2.weight": torch.ones(1, 1), "critic.2.bias": torch.zeros(1)}
    actor = {key.replace("critic", "actor"): tensor for key, tensor in critic.items()}
    normaliser = {"_mean": torch.ones(1, 1), "_std": torch.full((1, 1), 0.99), "count": torch.tensor(3)}
    content = {**actor, **critic, "log_std": torch.zeros(1), "critic_obs_normalizer": normaliser}
    policy = load_policy(str(saved(path, content, activation="relu")))
    x = Obs(torch.tensor([[3.0]]))
    assert policy.actor.mode(x).item() == 3
    assert policy.critic(x).item() == pytest.approx(2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": torch.zeros(5), "var": torch.ones(5)}, "normalises 5 numbers, but actor_mean.0 takes 6"),
        ({"mean": torch.zeros(6), "var": torch.ones(5)}, "no deviation for every mean"),
        ({"mean": torch.zeros(6), "var": -torch.ones(6)}, "not positive"),
        ({"mean": torch.full((6,), 1e4), "var": torch.zeros(6)}, "too small beside the means"),
        ({"mean": torch.full((6,), float("nan")), "var": torch.ones(6)}, "obs_rms"),
        ({"mean": torch.zeros(6)}, "its obs_rms holds mean; rlft reads"),
        ({"mean": torch.zeros(6), "var": torch.ones(6), "clip": 5.0}, "obs_rms.clip, whose meaning is not known"),
    ],
)
def test_statistics_that_cannot_be_used(path, change, words):
    assert words in refusal(saved(path, {"agent": maniskill(*networks()), "obs_rms": change}))


def test_two_normalisers(path):
    one = {"mean": torch.zeros(6), "var": torch.ones(6)}
    content = maniskill(*networks()) | {"obs_rms": one, "actor_obs_normalizer": one}
    assert "obs_rms and actor_obs_normalizer" in refusal(saved(path, content))


# ---- layers ------------------------------------------------------------------------------------------------------


def changed(**tensors):
    content = maniskill(*networks())
    for name, tensor in tensors.items():
        content[name.replace("__", ".")] = tensor
    return {name: tensor for name, tensor in content.items() if tensor is not None}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(actor_mean__2__weight=torch.ones(4, 7)), "actor_mean.2 takes 7 numbers, but actor_mean.0 gives 8"),
        (changed(actor_mean__2__bias=None), "its tensor actor_mean.2.bias is missing"),
        (changed(actor_mean__1__weight=torch.ones(8), actor_mean__1__bias=torch.ones(8)), "numbered 0, 1, 2, 4"),
        (changed(actor_mean__2__weight=torch.ones(8)), "actor_mean.2 is no linear layer: weight [8], bias [4]"),
        (changed(critic__2__weight=torch.ones(2, 5), critic__2__bias=torch.ones(2)), "gives 2 numbers, not one value"),
        (changed(actor_logstd=torch.ones(3)), "its actor_logstd is [3], and actor_mean.4 gives 2 actions"),
        (changed(actor_logstd=torch.ones(4, 2)), "the same for every observation"),
        (changed(actor_logstd=None), "nothing says its log_std"),
        (changed(actor_logstd=torch.ones(2, dtype=torch.int8)), "its tensor actor_logstd is torch.int8"),
        (changed(actor_mean__0__bias=torch.full((8,), 1e300, dtype=torch.float64)), "not finite"),
        (changed(actor_mean__0__bias=torch.ones(8, device="meta")), "not made of plain numbers"),
        (maniskill(mlp([6, 2]), mlp([6, 5, 1]), LOG_STD), "its actor_mean.0 is all there is"),
        ({"agent": changed(), "model": changed()}, "twice, as agent.actor_mean.0.weight and as model."),
        (rsl_rl(*networks()) | {"std": -torch.ones(2), "activation": "elu"}, "not positive"),
        (rsl_rl(*networks()) | {"log_std": LOG_STD, "activation": "elu"}, "more than once: log_std, std"),
    ],
)
def test_layers_that_determine_no_policy(path, content, words):
    assert words in refusal(saved(path, content))


def test_a_critic_of_other_observations_is_left_out_and_that_is_said(path):
    policy = load_policy(str(saved(path, maniskill(*networks(critic_obs=11)))))
    assert policy.critic is None
    assert policy.notes[1] == "Its critic is left out, which sees 11 numbers where the actor sees 6."
    assert acts_like(policy, networks()[0])


def test_layers_of_several_widths_under_our_names_need_their_json(path):
    """What a policy of ours is without its json."""
    actor = GaussianActor(6, 2, hidden_dims=(8, 4), activation="relu")
    saved(path, prefixed("actor", actor))
    assert "hidden layers are 8, 4 wide" in refusal(path)
    saved(path, prefixed("actor", actor), activation="relu")
    assert torch.equal(load_policy(str(path)).actor(Obs(OBS)), actor(Obs(OBS)))
    saved(path, prefixed("actor", GaussianActor(6, 2, 8, 2))).with_suffix(".json").unlink()
    assert "tanh after every hidden layer" in load_policy(str(path)).notes[0]


# ---- Stable-Baselines3 -------------------------------------------------------------------------------------------


def test_an_archive_says_its_activation(tmp_path):
    actor, critic, _ = networks()
    archive(tmp_path / "ppo.zip", stable_baselines(actor, critic, LOG_STD))  # by default tanh, in PPO and A2C
    policy = load_policy(str(tmp_path / "ppo.zip"))
    assert acts_like(policy, actor)
    assert "VecNormalize" in policy.notes[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kwargs": {"squash_output": True}, "use_sde": True}, "its policy has squash_output, use_sde"),
        ({"kwargs": {"features_extractor_class": "<class 'my.Net'>"}}, "its policy has features_extractor_class"),
        ({"kwargs": {"activation_fn": "<class 'my.Sine'>"}}, "its activation is \"<class 'my.Sine'>\""),
        ({"module": "my.policies"}, "nothing says its activation"),
        ({"cls": "MyActorCriticPolicy"}, "nothing says its activation"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>"}}, "its actions are discrete"),
    ],
)
def test_archives_of_more_than_a_network(tmp_path, given, words):
    archive(tmp_path / "ppo.zip", stable_baselines(*networks()), **given)
    assert words in refusal(tmp_path / "ppo.zip")


def test_damaged_archives(tmp_path):
    path = tmp_path / "ppo.zip"
    actor, critic, _ = networks()
    archive(path, stable_baselines(actor, critic, LOG_STD))
    whole = path.read_bytes()
    for position in [*range(0, len(whole), 97), *range(len(whole) - 600, len(whole), 5)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with contextlib.suppress(UserError):
            assert acts_like(load_policy(str(path)), actor)


def test_code_in_an_archive_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    archive(tmp_path / "ppo.zip", {**stable_baselines(*networks()), "payload": Payload()})
    assert "cannot be read without running code" in refusal(tmp_path / "ppo.zip")
    assert not (tmp_path / "executed").exists()


# ---- files that are something else -------------------------------------------------------------------------------


def tensors(*names):
    return dict.fromkeys(names, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tensors("fc1.weight", "fc_mean.weight", "fc_logstd.weight", "action_scale"), "an actor of SAC"),
        ({"actor": tensors("backbone.0.weight", "fc_mean.weight", "fc_logstd.weight")}, "an actor of SAC"),
        (tensors("actor.latent_pi.0.weight", "actor.mu.weight", "actor.log_std.weight"), "an actor of SAC"),
        ((tensors("fc1.weight", "fc_mu.weight"), tensors("fc1.weight")), "of TD3 or DDPG"),
        (tensors("actor.mu.0.weight", "critic.qf0.0.weight"), "of TD3 or DDPG"),
        ({"model": tensors("a2c_network.actor_mlp.0.weight", "a2c_network.mu.weight")}, "of rl_games"),
        ({"agent": {}, "ema_agent": tensors("noise_pred_net.down.0.weight")}, "a diffusion policy"),
        ({"agent": tensors("model.transformer.encoder.0.weight")}, "is an ACT"),
        (rsl_rl(*networks()) | tensors("memory_a.rnn.weight_ih_l0"), "a recurrent policy"),
        (maniskill(*networks()) | tensors("feature_net.extractors.rgb.0.weight"), "a policy of images"),
        ({"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1.0}]}, "the state of an optimizer"),
        ({"pytorch-lightning_version": "2.5", "state_dict": tensors("net.0.weight"), "epoch": 1}, "found net.0.weight"),
    ],
)
def test_what_it_is_instead(path, content, words):
    assert words in refusal(saved(path, content))


class Agent(nn.Module):
    pass


def test_a_whole_module_and_a_program_of_torchscript(path):
    torch.save(Agent(), path)
    assert "Agent); save the state_dict of the module alone instead" in refusal(path)
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    assert "a program of TorchScript" in refusal(path)


def test_single_numbers_of_numpy_are_no_code(path):
    content = {"model": maniskill(*networks()), "best": np.float64(0.5), "step": np.int64(3)}
    assert acts_like(load_policy(str(saved(path, content))), networks()[0])


def test_a_dict_that_holds_itself(path):
    content = {"model": maniskill(*networks())}
    content["again"] = content
    assert "deep in one another" in refusal(saved(path, content))


def test_an_archive_is_no_file_of_torch(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", "{}")
    refusal(path)
