"""Hindsight through the command line, on PointReach."""

import pytest

from rlft.cli import main
from rlft.commands.collect import collect
from rlft.data import replay_files
from rlft.envs import PointReach
from rlft.runs.iterations import read_iterations
from tests.modules.test_off_policy import arguments, run
from tests.support.hand_made import is_sentence
from tests.support.training import same_policies

HER = "--data.her=0.5"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp("plain"), "--data.her=0")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three iterations with hindsight, of which the first only warms up."""
    return run(tmp_path_factory.mktemp("three"), HER)


def test_half_of_every_minibatch_is_relabelled_once_the_warm_up_is_over(three):
    assert [row.get("charts/her_share") for row in read_iterations(three)] == [None, None, 0.5, 0.5]


def test_it_changes_what_is_learned_but_not_what_is_kept(three, plain):
    assert not same_policies(three, plain)
    kept = [replay_files.read_segment(version, 1)[0] for version in (three, plain)]
    assert kept[0].obs.state[0].equal(kept[1].obs.state[0])
    assert (kept[0].reward == kept[0].terminated).all()  # of the goals that there were


def test_the_number_of_workers_changes_nothing(three, tmp_path):
    assert same_policies(run(tmp_path, HER, "--data.num_workers=2"), three)


def test_a_run_goes_on_to_the_same_weights(three, tmp_path):
    run(tmp_path, HER, "--trainer.max_epochs=2")
    assert same_policies(run(tmp_path, HER, "--ckpt_path=last"), three)


def test_prior_data_get_other_goals_as_well(tmp_path):
    path = tmp_path / "demos.h5"
    collect(str(path), "pointreach/expert", (), 20, env=PointReach(), num_envs=8, num_workers=0)
    prior = (f"--data.prior={path}", "--data.offline_iterations=1", "--data.updates_per_step=0.05")
    whole = run(tmp_path / "whole", *prior, HER, "--model.conservative=Conservative", "--trainer.max_epochs=3")
    assert [row.get("charts/her_share") for row in read_iterations(whole)] == [None, 0.5, None, 0.5]
    assert all(0 <= row["charts/calibrated_actions"] <= 1 for row in read_iterations(whole)[1:2])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data.her=1.5",), "data.her is 1.5; it must be from 0 to 1."),
        (
            (HER, "--data.env=tests.support.chain.Chain", "--model.policy=null"),
            "data.her is 0.5, but Chain as configured has no goals in its observations",
        ),
    ],
)
def test_what_cannot_be_is_refused(options, said, tmp_path, capsys):
    assert main(arguments(tmp_path, *options)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert is_sentence(error)
