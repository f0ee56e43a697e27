import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from rlft.errors import UserError
from rlft.networks import ActionValueCritic, ConditionedActor, GaussianActor, NoCritic, ValueCritic
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy, save_policy, zoo_names
from rlft.types import Obs
from rlft.zoo.__main__ import AGENTS, CRITICS, DRIVERS, POINTREACH, RECIPES
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.user_actors import ForgetfulActor


@pytest.fixture
def saved(tmp_path):
    """A policy file, its actor and its critic."""
    actor, critic = GaussianActor(6, 2, 16, 2), ValueCritic(6, 8, 1)
    with torch.no_grad():
        actor.log_std.copy_(torch.tensor([-1.0, 0.5]))
    path = tmp_path / "policy.safetensors"
    save_policy(path, actor, critic, {"task": "PointReach", "metrics": {"eval/success_rate": 0.5}})
    return path, actor, critic


def refuse(path):
    """The sentence with which a file is refused."""
    with pytest.raises(UserError) as refused:
        load_policy(str(path))
    assert is_sentence(str(refused.value))
    return str(refused.value)


# ---- what is saved comes back -----------------------------------------------------------------------------------


def test_round_trip(saved):
    path, actor, critic = saved
    policy = load_policy(str(path))
    assert same(weights_of(policy.actor), weights_of(actor))
    assert same(weights_of(policy.critic), weights_of(critic))
    assert policy.info == {"format": "rlft-policy-1", "task": "PointReach", "metrics": {"eval/success_rate": 0.5}}
    obs = Obs(torch.randn(5, 6))
    assert torch.equal(policy.actor(obs), actor(obs))
    assert torch.equal(policy.critic(obs), critic(obs))
    assert {p.name for p in path.parent.iterdir()} == {"policy.safetensors", "policy.json"}  # no temporary file is left


@pytest.mark.parametrize("critic", [None, "value", "action values"])
@pytest.mark.parametrize("conditioned", [True, False])
def test_networks_of_any_shape_come_back(tmp_path, conditioned, critic):
    shape = {"hidden_dims": (24, 8, 4), "activation": "relu"}
    actor, value = GaussianActor(6, 2, **shape), ValueCritic(6, **shape)
    actor = ConditionedActor(actor, 0.3) if conditioned else actor
    critic = {None: None, "value": value, "action values": ActionValueCritic(value, 2, 3)}[critic]
    save_policy(tmp_path / "policy.safetensors", actor, critic, {})
    policy = load_policy(str(tmp_path / "policy.safetensors"))
    obs, action = Obs(torch.randn(5, 6)), torch.randn(5, 2)
    check_shapes(policy, 6, 2)
    assert torch.equal(policy.actor.mode(obs), actor.mode(obs))
    assert torch.equal(policy.actor.log_prob(obs, action), actor.log_prob(obs, action))
    assert type(policy.critic) is type(critic)
    assert critic is None or torch.equal(policy.critic(obs), critic(obs))
    assert critic is None or policy.critic.obs_dim == 6


def test_what_is_loaded_and_saved_again_is_the_same_file(saved, tmp_path):
    path, _, _ = saved
    policy = load_policy(str(path))
    again = tmp_path / "again.safetensors"
    save_policy(again, policy.actor, policy.critic, policy.info)
    for suffix in (".safetensors", ".json"):
        assert again.with_suffix(suffix).read_bytes() == path.with_suffix(suffix).read_bytes()


def test_a_file_that_says_what_to_build_and_one_that_does_not_give_the_same(saved):
    """Also the random numbers that are drawn: those of a run come after them."""
    path, _, _ = saved
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        policy = load_policy(str(path))
        found.append((weights_of(policy.actor) | weights_of(policy.critic), torch.get_rng_state()))
        path.with_suffix(".json").write_text("{}")
    assert same(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_policy_without_critic_and_description(saved):
    path, actor, _ = saved
    save_policy(path, actor, None, {})
    path.with_suffix(".json").unlink()
    policy = load_policy(str(path))
    assert policy.critic is None
    assert policy.info == {}
    assert same(weights_of(policy.actor), weights_of(actor))


def test_a_run_without_critic(saved):
    path, actor, _ = saved
    save_policy(path, actor, NoCritic(), {})
    policy = load_policy(str(path))
    assert policy.critic is None
    assert same(weights_of(policy.actor), weights_of(actor))


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_conditioned_policy(saved, tmp_path, ending):
    _, actor, critic = saved
    actor = ConditionedActor(actor, guidance=2.5)
    torch.nn.init.normal_(actor.embedding)
    path = tmp_path / f"conditioned.{ending}"
    if ending == "safetensors":
        save_policy(path, actor, critic, {})
    else:
        state = torch.nn.ModuleDict({"actor": actor, "critic": critic}).state_dict()
        torch.save({"state_dict": state}, path)
    policy = load_policy(str(path))
    check_shapes(policy, 6, 2)
    obs = Obs(torch.randn(5, 6))
    assert isinstance(policy.actor, ConditionedActor)
    assert policy.actor.guidance == 2.5
    assert same(weights_of(policy.actor), weights_of(actor))
    assert same(weights_of(policy.critic), weights_of(critic))
    assert torch.equal(policy.actor(obs), actor(obs))


@pytest.mark.parametrize("num_q", [1, 2])
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_critic_with_action_values(saved, tmp_path, ending, num_q):
    _, actor, value = saved
    critic = ActionValueCritic(value, 2, num_q)
    for target in critic.target_q.buffers():
        target.normal_()
    path = tmp_path / f"iql.{ending}"
    if ending == "safetensors":
        save_policy(path, actor, critic, {})
    else:
        torch.save({"state_dict": torch.nn.ModuleDict({"actor": actor, "critic": critic}).state_dict()}, path)
    loaded = load_policy(str(path)).critic
    assert isinstance(loaded, ActionValueCritic)
    assert same(loaded.state_dict(), critic.state_dict())
    assert same(weights_of(loaded), weights_of(critic))


def test_a_state_dict_of_maniskills_ppo(saved, tmp_path):
    _, actor, critic = saved
    mean = torch.nn.Sequential(*actor.encoder, *actor.action_head)
    state = {f"actor_mean.{k}": v for k, v in mean.state_dict().items()}
    state |= {k.replace("value.", "critic."): v for k, v in critic.state_dict().items()}
    torch.save(state | {"actor_logstd": actor.log_std.detach()[None]}, tmp_path / "ckpt_101.pt")  # [1, A]
    policy = load_policy(str(tmp_path / "ckpt_101.pt"))
    assert same(weights_of(policy.actor), weights_of(actor))
    assert same(weights_of(policy.critic), weights_of(critic))


def test_a_lightning_checkpoint(saved, tmp_path):
    _, actor, critic = saved
    state = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    state |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer_states": []}, tmp_path / "last.ckpt")
    policy = load_policy(str(tmp_path / "last.ckpt"))
    assert same(weights_of(policy.actor), weights_of(actor))
    assert same(weights_of(policy.critic), weights_of(critic))


def test_the_folder_of_a_run_is_its_best_policy(saved, tmp_path):
    _, actor, critic = saved
    run = tmp_path / "run"
    best = run / "version_0/policies/best.safetensors"
    save_policy(best, actor, critic, {})
    for folder in (run, run / "version_0"):
        policy = load_policy(str(folder))
        assert policy.name == str(best)
        assert same(weights_of(policy.actor), weights_of(actor))
    save_policy(run / "version_1/policies/best.safetensors", actor, critic, {})
    assert "version_1" in refuse(run)
    assert "folder of a run" in refuse(run / "version_0/policies")


def test_every_policy_of_the_zoo_can_be_made_anew():
    assert set(zoo_names()) == {*RECIPES, *POINTREACH, *CRITICS, *DRIVERS, *AGENTS}


def test_every_policy_of_the_zoo_loads():
    for name in zoo_names():
        assert load_policy(name).info["task"]


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere.safetensors", "pickcube/nonsense", "", "../policies", "/"])
def test_a_policy_that_is_not_there(name):
    assert repr(name) in refuse(name)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100])
def test_corrupt_safetensors(saved, content):
    path, _, _ = saved
    path.write_bytes(content)
    assert str(path) in refuse(path)


def test_truncated_safetensors(saved):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refuse(path)


@pytest.mark.parametrize("ending", [".pt", ".ckpt", ".pkl", ".safetensors"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, ending, writer):
    class Payload:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    path = tmp_path / f"policy{ending}"
    content = {"state_dict": {"actor.log_std": torch.zeros(2)}, "payload": Payload()}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    refuse(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [{"state_dict": 3}, {"state_dict": [1]}, [1, 2], 7, {}, {"a": 1}], ids=str)
def test_a_checkpoint_that_holds_something_else(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    assert "other.pt" in refuse(tmp_path / "other.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("network", [0, 1], ids=["actor", "critic"])
def test_weights_that_are_not_finite(saved, value, network):
    path, *networks = saved
    with torch.no_grad():
        next(networks[network].parameters()).view(-1)[0] = value
    save_policy(path, *networks, {})
    assert "finite" in refuse(path)


def without(key):
    return lambda weights: weights.pop(key)


def with_tensor(key, *shape):
    return lambda weights: weights.update({key: torch.zeros(shape)})


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        dict.clear,
        without("actor.log_std"),
        without("actor.action_head.0.bias"),
        without("actor.encoder.0.weight"),
        without("critic.value.0.bias"),
        with_tensor("actor.log_std", 3),
        with_tensor("actor.encoder.0.weight", 16),
        with_tensor("actor.action_head.0.weight", 16, 15),
        with_tensor("actor.nonsense", 2),
        with_tensor("actor.embedding", 3, 16),  # without guidance
        with_tensor("actor.guidance"),  # without embedding
        with_tensor("critic.nonsense", 2),
    ],
)
def test_wrong_weights(saved, damage, described):
    path, actor, critic = saved
    weights = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    weights |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    damage(weights)
    save_file(weights, path)
    if not described:
        path.with_suffix(".json").unlink()
    assert "holds no rlft policy" in refuse(path)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        without("critic.value.0.bias"),
        without("critic.q.0.0.weight"),
        without("critic.target_q.1.2.bias"),
        with_tensor("critic.q.2.0.weight", 8, 8),
        with_tensor("critic.q.0.0.weight", 8, 9),  # of an action with three numbers
    ],
)
def test_wrong_weights_of_action_values(saved, damage, described):
    path, actor, value = saved
    critic = ActionValueCritic(value, 2)
    save_policy(path, actor, critic, {})
    weights = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    weights |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    damage(weights)
    save_file(weights, path)
    if not described:
        path.with_suffix(".json").unlink()
    assert "holds no rlft policy" in refuse(path)


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "null", "\x00"])
def test_a_broken_description(saved, text):
    path, _, _ = saved
    path.with_suffix(".json").write_text(text)
    assert "json" in refuse(path)


@pytest.mark.parametrize(("obs_dim", "action_dim"), [(42, 2), (6, 8)])
def test_a_policy_of_another_task(saved, obs_dim, action_dim):
    policy = load_policy(str(saved[0]))
    check_shapes(policy, 6, 2)
    with pytest.raises(UserError, match="6 observations to 2 actions") as refused:
        check_shapes(policy, obs_dim, action_dim)
    assert f"{obs_dim} observations and {action_dim} actions" in str(refused.value)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: n.pop("critic"), "do not say what actor and critic are"),
        (lambda n: n["actor"].update(class_path="os.system"), "'os.system' is no Actor"),
        (lambda n: n["actor"]["init_args"].update(hidden_dim=10**6), "is [16, 6], and [1000000, 6] in the networks"),
        (lambda n: n["actor"]["init_args"].update(num_layers=2**31), "num_layers of a network is 2147483648"),
        (lambda n: n["critic"]["init_args"].update(num_layers=2), "is [1, 8], and [8, 8] in the networks"),
        (lambda n: n.update(critic=None), "is [8], and missing in the networks"),
        (lambda n: n.update(critic=n["actor"]), "is no Critic"),
    ],
)
def test_a_description_of_something_else(saved, change, words):
    path, _, _ = saved
    beside = path.with_suffix(".json")
    info = json.loads(beside.read_text())
    change(info["networks"])
    beside.write_text(json.dumps(info))
    refusal = refuse(path)
    assert words in refusal
    assert str(path) in refusal


@pytest.mark.parametrize("networks", [3, [], "text", {}, {"actor": None, "critic": None}], ids=str)
def test_a_checkpoint_with_a_broken_description(saved, tmp_path, networks):
    _, actor, _ = saved
    state = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    torch.save({"state_dict": state, "networks": networks}, tmp_path / "last.ckpt")
    assert "holds no rlft policy" in refuse(tmp_path / "last.ckpt")


def test_a_network_that_cannot_be_described_leaves_no_file(tmp_path):
    with pytest.raises(UserError, match="ForgetfulActor"):
        save_policy(tmp_path / "policy.safetensors", ForgetfulActor(6, 2), None, {})
    assert not list(tmp_path.iterdir())


def test_the_description_is_plain_json(saved):
    assert json.loads(saved[0].with_suffix(".json").read_text())["task"] == "PointReach"
