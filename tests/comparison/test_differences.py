"""What tells configurations apart, in few words."""

import pytest

from rlft.comparison.differences import labels, summary

GAE = {"model.advantage": "GAE", "model.advantage.gamma": 0.8, "model.advantage.gae_lambda": 0.9}
IQL = {"model.advantage": "IQL", "model.advantage.gamma": 0.8, "model.advantage.expectile": 0.7}
NETWORKS = {"model.actor.hidden_dim": 8, "model.critic.hidden_dim": 8}
FREEZE = "trainer.callbacks.FreezeSchedule"


@pytest.mark.parametrize(
    ("configurations", "expected"),
    [
        ([{"a.x": 0.001}, {"a.x": 5e-05}, {"a.x": None}], ["x 0.001", "x 5e-05", "no x"]),
        ([{"a.x": True, "a.y": 1}, {"a.x": False, "a.y": 1}], ["x true", "x false"]),
        ([{"a.x": 1}, {"a.x": 1, "a.y": 2}], ["no y", "y 2"]),  # an option that was added later
        # a class says what its settings would repeat
        ([GAE, IQL], ["advantage GAE", "advantage IQL"]),
        (
            [GAE, IQL, IQL | {"model.advantage.expectile": 0.9}],
            ["advantage GAE", "advantage IQL / expectile 0.7", "advantage IQL / expectile 0.9"],
        ),
        ([GAE, GAE | {"model.advantage.gamma": 0.99}], ["gamma 0.8", "gamma 0.99"]),
        # the last part of a key where it means one setting alone
        ([NETWORKS, NETWORKS | {"model.actor.hidden_dim": 9}], ["actor.hidden_dim 8", "actor.hidden_dim 9"]),
        ([{}, {FREEZE: "FreezeSchedule"}], ["no FreezeSchedule", "FreezeSchedule"]),
        ([{"a.x": "b" * 50}, {"a.x": "c"}], [f"x {'b' * 37}...", "x c"]),
        # nothing but what they go on from
        ([{"a": 1}, {"a": 1}], ["the same settings", "the same settings (2)"]),
        ([{"a": None}, {}], ["the same settings", "the same settings (2)"]),
    ],
)
def test_labels(configurations, expected):
    assert labels(configurations) == expected


def test_many_differences_are_cut_to_those_that_tell_the_most_apart():
    """Of a to d, b tells all three apart; the first two of the others fill up."""
    configurations = [{"a": i > 0, "b": i, "c": i > 1, "d": i > 0, "e": 5} for i in range(3)]
    assert labels(configurations) == [
        "a false / b 0 / c false / ...",
        "a true / b 1 / c false / ...",
        "a true / b 2 / c true / ...",
    ]


def test_labels_get_longer_until_all_are_told_apart():
    """Of five switches each of six configurations has another one on, or none."""
    configurations = [{name: name == on for name in "abcde"} for on in "abcde-"]
    found = labels(configurations)
    assert len(set(found)) == 6
    assert not any("(2)" in label for label in found)
    assert found[5] == "a false / b false / c false / d false / e false"


def test_a_summary_names_values_once():
    configurations = [{"x": 1, "y": 1, "z": i, "w": i} for i in (1, 2)]
    assert summary([{"x": 1}, {"x": 2}, {"x": 1}]) == "x 1 or 2"
    assert summary([{"x": 1}, {}]) == "x 1 or no x"
    assert summary(configurations) == "z 1 or 2; w 1 or 2"
    assert summary([dict.fromkeys("abcd", i) for i in (1, 2)]) == "a 1 or 2; b 1 or 2; c 1 or 2; ..."
    assert summary([{"x": 1}, {"x": 1}]) == "what they go on from"
