"""Networks as class and arguments."""

import json

import pytest
import torch
from torch import nn

from rlft.errors import UserError
from rlft.networks import ActionValueCritic, ConditionedActor, GaussianActor, NoCritic, ValueCritic
from rlft.networks.descriptions import build, describe, shapes
from rlft.types import Actor, Critic, Network, Obs
from tests.support.hand_made import is_sentence, same
from tests.support.user_actors import ForgetfulActor, LogisticActor


class Sum(Actor):
    """Made of other networks."""

    def __init__(self, obs_dim, action_dim, parts):
        super().__init__()
        self.obs_dim, self.action_dim, self.noise_dim = obs_dim, action_dim, action_dim
        self.parts = parts
        self.both = nn.ModuleList(parts)


class Needy(Actor):
    """Looks at its weights when it is built."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.ones(size))
        self.total = float(self.weight.detach().sum())


NETWORKS = {
    "plain": lambda: GaussianActor(6, 2, 8, 2),
    "shaped": lambda: GaussianActor(6, 2, hidden_dims=(8, 4), activation="relu", init_log_std=-1.5),
    "conditioned": lambda: ConditionedActor(GaussianActor(6, 2, hidden_dims=(8, 4), activation="relu"), 2.5),
    "user's": lambda: LogisticActor(6, 2, (7,)),
    "nested": lambda: Sum(6, 2, [LogisticActor(6, 2), GaussianActor(6, 2, 8, 1)]),
    "value": lambda: ValueCritic(6, hidden_dims=(8, 4), activation="silu"),
    "action values": lambda: ActionValueCritic(ValueCritic(6, hidden_dims=(8, 4), activation="silu"), 2, 3),
    "none": NoCritic,
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_what_is_described_can_be_built_from_json(make):
    network = make()
    description = json.loads(json.dumps(describe(network)))
    before = torch.get_rng_state()
    expected = shapes(description, Network)
    assert torch.equal(torch.get_rng_state(), before)
    other = build(description, Network)
    assert type(other) is type(network)
    other.load_state_dict(network.state_dict())
    assert expected == {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert describe(other) == describe(network)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_describing_draws_no_random_numbers_and_building_those_of_the_constructor(make):
    torch.manual_seed(1)
    network = make()
    state = torch.get_rng_state()
    description = describe(network)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    other = build(description, Network)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.state_dict() or same(network.state_dict(), other.state_dict())


def test_the_description_is_what_a_config_would_say():
    assert describe(ValueCritic(6, 8)) == {
        "class_path": "rlft.networks.ValueCritic",
        "init_args": {"obs_dim": 6, "hidden_dim": 8, "num_layers": 3, "hidden_dims": None, "activation": "tanh"},
    }


def test_a_constructor_that_needs_numbers_is_built_all_the_same():
    description = describe(Needy(3))
    assert shapes(description, Actor) is None
    assert build(description, Actor).total == 3


def test_guidance_is_that_of_now():
    actor = ConditionedActor(GaussianActor(6, 2, 8, 2))
    actor.guidance.fill_(0.5)
    assert describe(actor)["init_args"]["guidance"] == 0.5


def test_the_v_of_action_values_has_their_shape():
    value = ValueCritic(6, hidden_dims=(8, 4), activation="relu")
    alone, obs = ActionValueCritic(value, 2).state_value(), Obs(torch.randn(5, 6))
    assert (alone.hidden_dims, alone.activation) == ((8, 4), "relu")
    assert torch.equal(alone(obs), value(obs))


def local():
    class Hidden(Actor):
        pass

    return Hidden()


def of_main():
    cls = type("Script", (Actor,), {})
    cls.__module__ = "__main__"
    return cls()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: ForgetfulActor(6, 2),
            "how to build the ForgetfulActor: 'ForgetfulActor' object has no attribute 'size'",
        ),
        (local, "cannot name the class local.<locals>.Hidden of tests.networks.test_descriptions"),
        (of_main, "cannot name the class Script of __main__"),
        (lambda: Sum(6, 2, [nn.Linear(1, 1)]), "its argument parts is a Linear"),
        (lambda: LogisticActor(6, 2, torch.Size([4])), None),  # a tuple
    ],
)
def test_what_cannot_be_described(make, words):
    if words is None:
        assert describe(make())["init_args"]["widths"] == [4]
        return
    with pytest.raises(UserError) as refused:
        describe(make())
    assert words in str(refused.value)
    assert is_sentence(str(refused.value))


def description(path, **arguments):
    return {"class_path": path, "init_args": arguments}


ACTOR = "rlft.networks.GaussianActor"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (description("os.system", command="touch executed"), "'os.system' is no Actor"),
        (description("builtins.open", file="executed", mode="w"), "'builtins.open' is no Actor"),
        (description("rlft.networks.ValueCritic", obs_dim=6), "'rlft.networks.ValueCritic' is no Actor"),
        (description("rlft.networks.Nonsense"), "no network class 'rlft.networks.Nonsense' here"),
        (description("nowhere.at_all.Actor"), "No module named 'nowhere'"),
        (description("GaussianActor"), "no network class 'GaussianActor' here"),
        (description(""), "no network class '' here"),
        (description(ACTOR), "cannot be built with {}"),
        (description(ACTOR, obs_dim=6, action_dim=2, nonsense=1), "nonsense"),
        (description(ACTOR, obs_dim=6, action_dim="two"), "cannot be built"),
        (description(ACTOR, obs_dim=6, action_dim=2, num_layers=0), "num_layers of a network is 0"),
        (description(ACTOR, obs_dim=6, action_dim=2, activation="nonsense"), "cannot be built"),
        (description(ACTOR, obs_dim=6, action_dim=description("os.getpid")), "'os.getpid' is no Network"),
        ({**description(ACTOR), "more": 1}, "described by class_path and init_args"),
        ("rlft.networks.GaussianActor", "described by class_path and init_args"),
        (None, "described by class_path and init_args"),
        ({"class_path": 1, "init_args": {}}, "described by class_path and init_args"),
        ({"class_path": ACTOR, "init_args": [6, 2]}, "described by class_path and init_args"),
    ],
    ids=str,
)
def test_what_is_never_built(wrong, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        build(wrong, Actor)
    assert words in str(refused.value)
    assert is_sentence(str(refused.value))
    assert not list(tmp_path.iterdir())


def test_sizes_are_known_without_their_memory():
    huge = description(ACTOR, obs_dim=6, action_dim=2, hidden_dim=10**6, num_layers=3)  # terabytes
    assert shapes(huge, Actor)["encoder.2.weight"] == (10**6, 10**6)


def test_a_critic_is_no_actor():
    with pytest.raises(UserError, match="is no Critic"):
        build(describe(GaussianActor(6, 2, 8, 1)), Critic)
