"""The share of episodes that begin in stages: moved as worked out by hand, in runs and over their interruption."""

import json

import lightning
import pytest
import torch

from rlft.callbacks import StartCurriculum
from rlft.cli import main
from rlft.data import RolloutDataModule
from rlft.errors import UserError
from rlft.runs.iterations import read_iterations
from rlft.types import EnvSpec
from tests.modules.test_off_policy import run as run_off_policy
from tests.support.hand_made import is_sentence
from tests.support.schedules import last_checkpoint, with_callbacks
from tests.support.staged import StagedReach
from tests.support.training import MemoryLogger, fit, module, run, same_policies, smoke

STAGED = "--data.env=tests.support.staged.StagedReach"
OPTIONS = {"stages": ["close", "closer"], "share": 0.5, "rate": 0.2, "memory": 0.5}
CURRICULUM = with_callbacks(("StartCurriculum", OPTIONS))


def moved(curriculum, successes):
    """The share before every iteration, and the average after it."""
    found = []
    for success in successes:
        share = curriculum._share
        curriculum._move(success)
        found.append((share, curriculum._success))
    return [round(number, 9) for pair in found for number in pair] + [round(curriculum._share, 9)]


def test_the_share_falls_as_success_rises_above_the_target():
    curriculum = StartCurriculum(["close"], share=0.8, target=0.5, rate=0.4, memory=0.5)
    # averages: 0.7; 0.5 0.7 + 0.5 0.9 = 0.8; 0.5 0.8 + 0.5 0 = 0.4. Shares: 0.8 - 0.4 0.2; - 0.4 0.3; + 0.4 0.1.
    assert moved(curriculum, [0.7, 0.9, 0.0]) == [0.8, 0.7, 0.72, 0.8, 0.6, 0.4, 0.64]


def test_it_stays_between_0_and_nine_tenths():
    assert moved(StartCurriculum(["close"], rate=10.0, memory=0.0), [0.4, 1.0])[-1] == 0
    assert moved(StartCurriculum(["close"], rate=10.0, memory=0.0), [1.0, 0.4])[-1] == 0.9


class Watch(lightning.Callback):
    """Mixtures that episodes begin with."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.seen.append(trainer.datamodule.starts)


def test_rollouts_begin_with_the_share_that_is_logged():
    watch, logger = Watch(), MemoryLogger()
    data = RolloutDataModule(StagedReach(), 8, 40, 2, 1, num_workers=0)
    fit(module(learning_rate=0.0), data, 4, [StartCurriculum(**OPTIONS), watch], logger)
    shares = [value for _, value in logger.series("charts/stage_share")]
    assert shares[0] == 0.5
    assert len(set(shares)) > 2
    assert [mixture.stages for mixture in watch.seen] == [("close", "closer")] * 4
    assert [2 * mixture.shares[0] for mixture in watch.seen] == pytest.approx(shares)
    averages, rates = (
        [value for _, value in logger.series(name)] for name in ("charts/stage_success", "train/success_rate")
    )
    for before, after, rate in zip(averages, averages[1:], rates[1:], strict=False):
        assert after == pytest.approx(0.5 * before + 0.5 * rate, abs=1e-6)
    assert shares[1] == pytest.approx(0.5 + 0.2 * (0.5 - averages[0]))


def test_success_is_told_by_stage_and_adds_up():
    logger, data = MemoryLogger(), RolloutDataModule(StagedReach(), 16, 100, 2, 1, num_workers=0)
    fit(module(learning_rate=0.0), data, 1, [StartCurriculum(["close", "closer"], share=0.6)], logger)
    (row,) = [metrics for _, metrics in logger.logged if "train/success_rate" in metrics]
    by_stage = {name: row[f"train/success_rate/{name}"] for name in ("close", "closer", "ordinary")}
    assert min(by_stage.values()) < row["train/success_rate"] < max(by_stage.values())
    assert by_stage["closer"] > by_stage["ordinary"]


def test_a_run_that_goes_on_is_one_that_never_stopped(tmp_path):
    sizes = (STAGED, CURRICULUM, "--data.num_steps=40", "--data.num_minibatches=2")
    whole = run(tmp_path / "whole", *sizes, "--trainer.max_epochs=4")
    run(tmp_path / "parts", *sizes, "--trainer.max_epochs=2")
    parts = run(tmp_path / "parts", *sizes, "--trainer.max_epochs=4", "--ckpt_path=last")
    first, second = (last_checkpoint(version)[0] for version in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)
    columns = ("charts/stage_share", "charts/stage_success", "train/success_rate", "train/success_rate/close")
    rows = [
        {row["iteration"]: [row.get(name) for name in columns] for row in read_iterations(v)} for v in (whole, parts)
    ]
    assert rows[0][4] == rows[1][4]
    assert rows[0][4][0] != rows[0][1][0]


def test_the_number_of_workers_changes_nothing(tmp_path):
    sizes = (STAGED, CURRICULUM, "--data.num_steps=40", "--data.num_minibatches=2", "--trainer.max_epochs=3")
    one, two = (last_checkpoint(run(tmp_path / n, *sizes, f"--data.num_workers={n}"))[0] for n in "02")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_with_a_replay_buffer_as_well(tmp_path):
    options = (STAGED, CURRICULUM, "--data.her=0.25")
    whole = run_off_policy(tmp_path / "whole", *options)
    run_off_policy(tmp_path / "parts", *options, "--trainer.max_epochs=2")
    parts = run_off_policy(tmp_path / "parts", *options, "--ckpt_path=last", "--data.num_workers=2")
    assert same_policies(parts, whole)
    rows = read_iterations(whole)[1:]
    assert rows[0]["charts/stage_share"] == 0.5
    assert len({row["charts/stage_share"] for row in rows}) > 1
    assert not same_policies(whole, run_off_policy(tmp_path / "without", STAGED, "--data.her=0.25"))


def test_evaluation_begins_as_ever(tmp_path):
    short = (STAGED, "--trainer.max_epochs=1", "--data.her=0")
    one, other = (
        read_iterations(run_off_policy(tmp_path / n, *short, *o))[0] for n, o in (("a", [CURRICULUM]), ("b", []))
    )
    assert one["eval/success_rate"] == other["eval/success_rate"]  # of the start policy


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": []}, "StartCurriculum.stages is []; it must name at least one stage"),
        ({"stages": ["a", "a"]}, "none twice"),
        ({"share": 0.95}, "StartCurriculum.share is 0.95; it must be from 0 to 0.9"),
        ({"target": 2.0}, "StartCurriculum.target is 2.0"),
        ({"rate": -1.0}, "StartCurriculum.rate is -1.0"),
        ({"memory": 1.0}, "StartCurriculum.memory is 1.0"),
    ],
)
def test_impossible_settings_are_refused(options, said):
    with pytest.raises(UserError) as refused:
        StartCurriculum(**{"stages": ["a"], **options})
    assert said in str(refused.value)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            (CURRICULUM,),
            "StartCurriculum needs a task with stages, and PointReach as configured has none; leave it out",
        ),
        (
            (STAGED, with_callbacks(("StartCurriculum", {"stages": ["close", "far"]}))),
            "StartCurriculum.stages has 'far', which is no stage of PointReach; choose from close, closer, nowhere",
        ),
        (
            (STAGED, CURRICULUM, "--data=OfflineDataModule", "--data.env=tests.support.staged.StagedReach"),
            "StartCurriculum changes where new episodes begin, but the data of this run are fixed",
        ),
        (
            (STAGED, with_callbacks(("StartCurriculum", {"stages": ["nowhere"]}))),
            "preludes of stage 'nowhere' of PointReach only 0 ended in it",
        ),
    ],
)
def test_what_does_not_fit_the_run_is_refused(options, said, tmp_path, capsys):
    assert main(smoke(tmp_path, *options)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert is_sentence(error)


def test_the_state_is_of_plain_numbers():
    curriculum = StartCurriculum(["close"])
    curriculum._move(0.7)
    other = StartCurriculum(["close"])
    other.load_state_dict(json.loads(json.dumps(curriculum.state_dict())))
    assert other.state_dict() == curriculum.state_dict()
    assert EnvSpec("Any", 1, 1, torch.zeros(1), torch.zeros(1), 1).stages == ()
