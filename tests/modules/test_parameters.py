import pytest
from torch import nn

from rlft.errors import UserError
from rlft.modules.parameters import matching, parameter_groups
from tests.support.hand_made import is_sentence


class Networks(nn.Module):
    """An actor in two parts, and a critic; a tensor of every linear layer is enough."""

    def __init__(self):
        super().__init__()
        parts = {"encoder": nn.Sequential(linear(), linear()), "encoder2": linear(), "head": linear()}
        self.actor = nn.ModuleDict(parts)
        self.critic = nn.ModuleDict({"encoder": linear()})
        self.nothing = nn.Identity()


def linear():
    return nn.Linear(1, 1, bias=False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("critic", ["critic.encoder.weight"]),
        ("actor.encoder", ["actor.encoder.0.weight", "actor.encoder.1.weight"]),
        ("actor.encoder.1", ["actor.encoder.1.weight"]),
        ("actor.head.weight", ["actor.head.weight"]),
        ("*.encoder", ["actor.encoder.0.weight", "actor.encoder.1.weight", "critic.encoder.weight"]),
        ("actor.encoder?", ["actor.encoder2.weight"]),
        ("actor.*.weight", [f"actor.{part}.weight" for part in ("encoder.0", "encoder.1", "encoder2", "head")]),
    ],
)
def test_parameters_by_name_and_glob(name, found):
    assert list(matching(Networks(), name, "test")) == found


@pytest.mark.parametrize("name", ["", ".", "actor.enc", "encoder", "critic.encoder.0", "nothing", "Actor"])
def test_names_of_nothing_are_refused_with_what_there_is(name):
    with pytest.raises(UserError) as refused:
        matching(Networks(), name, "model.setting")
    tops = "actor.encoder, actor.encoder2, actor.head, critic.encoder"
    assert str(refused.value) == f"model.setting: there is no submodule {name!r}; try one of {tops}."
    assert is_sentence(str(refused.value))


def described(names):
    groups = parameter_groups(Networks(), ["actor", "critic"], names)
    return {group.name: sorted(key.removesuffix(".weight") for key in group.parameters) for group in groups}


def test_groups_are_what_the_same_names_concern():
    actor = ["actor.encoder.0", "actor.encoder.1", "actor.encoder2", "actor.head"]
    assert described([]) == {"actor": actor, "critic": ["critic.encoder"]}
    assert described(["actor", "*.encoder", "actor.encoder.1"]) == {
        "actor: *.encoder + actor": actor[:1],
        "actor: *.encoder + actor + actor.encoder.1": actor[1:2],
        "actor": actor[2:],
        "critic: *.encoder": ["critic.encoder"],
    }


def test_a_network_without_parameters_has_no_group():
    groups = parameter_groups(Networks(), ["critic", "nothing"], [])
    assert [(group.network, group.names) for group in groups] == [("critic", ())]
