"""Logs with more than one life, as tools write them: every curve is the right one, or a sentence says what it is not.

Each case plays a training: starts that go on from checkpoints, and points that remember how far the training had come.
What is right follows from the play alone, by a rule that knows what no event file says: a start goes on from what was
logged up to its checkpoint.
"""

import itertools
import math
import random
import re
import shutil
from dataclasses import dataclass, field

import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto
from torch.utils.tensorboard import SummaryWriter

from rlft.comparison.reading import read_folder
from rlft.comparison.run_groups import select
from rlft.errors import UserError
from tests.support.hand_made import is_sentence

BEGAN = 1_700_000_000.0  # the clock at the first start, in seconds


@dataclass(frozen=True)
class Logged:
    """A point, and how far the training had come (env steps)."""

    tag: str
    step: int
    value: float
    time: float
    came: int


@dataclass
class Start:
    """One start of the training.

    Attributes:
        checkpoint: env steps of the one it goes on from; nothing for a new run.
        until: env steps at its end.
        purge: whether it says `purge_step`.
        same_file: whether it goes on writing into the file of the start before.
    """

    checkpoint: int | None
    until: int
    purge: bool = False
    same_file: bool = False
    points: list[Logged] = field(default_factory=list)


# ---- the play ----------------------------------------------------------------------------------------------------


def by_cleanrl(step, begin):
    """Episodes end at odd steps; losses every 100, evaluations every 200 env steps."""
    if step % 37 == begin % 3:
        yield "charts/episodic_return", step
    if step % 100 == 0:
        yield from (("charts/SPS", step), ("losses/value_loss", step))
    if step % 200 == 0:
        yield "eval/success_once", step


def by_sb3(step, begin):
    """Everything at once, every 100 env steps; evaluations a little off."""
    if step and step % 100 == 0:
        yield from (("rollout/ep_rew_mean", step), ("time/fps", step), ("train/loss", step))
    if step and step % 250 == 0:
        yield "eval/success_rate", step


def by_epochs(step, begin):
    """Lightning or Keras: losses by batch, evaluations by epoch of 200 env steps."""
    if step and step % 20 == 0:
        yield "batch_loss", step // 20
    if step and step % 200 == 0:
        yield from (("eval/success_rate", step // 200), ("epoch_loss", step // 200))


TOOLS = {"cleanrl": by_cleanrl, "sb3": by_sb3, "epochs": by_epochs}
METRICS = {"cleanrl": "eval/success_rate", "sb3": "eval/success_rate", "epochs": "eval/success_rate"}


def played(starts, tool, late=False):
    """The starts with what they log; `late` puts every fifth point of the losses one place later."""
    clock = BEGAN
    for number, start in enumerate(starts):
        begin = -1 if start.checkpoint is None else start.checkpoint
        for step in range(begin + 1, start.until + 1):
            clock += 0.01
            for tag, own in TOOLS[tool](step, number):
                clock += 0.001
                start.points.append(Logged(tag, own, number + step / 4096, clock, step))
        if late:
            swapped(start.points)
        clock += 60
    return starts


def swapped(points):
    """Neighbours of a tag that come in the other order, as from two threads."""
    places = [i for i, point in enumerate(points) if point.tag in ("losses/value_loss", "train/loss", "batch_loss")]
    for one, other in list(itertools.pairwise(places))[3::5]:
        points[one], points[other] = points[other], points[one]


def right(starts):
    """Tag to step to value: a start goes on from what was logged up to its checkpoint, a new run from nothing."""
    counts = []
    for start in starts:
        counts = [point for point in counts if start.checkpoint is not None and point.came <= start.checkpoint]
        counts += start.points
    curves = {}
    for point in counts:
        curves.setdefault(point.tag, {})[point.step] = point.value
    return curves


def loses(starts):
    """Whether anything that was logged does not count."""
    return sum(map(len, right(starts).values())) < sum(len(start.points) for start in starts)


# ---- files -------------------------------------------------------------------------------------------------------


def simple(point):
    return Summary.Value(tag=point.tag, simple_value=point.value)


def tensor(point):
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    return Summary.Value(tag=point.tag, tensor=make_tensor_proto(point.value), metadata=metadata)


VALUES = {"simple": simple, "tensor": tensor}


def records(start, value, began):
    """The events of a start: what `SummaryWriter` writes."""
    if not start.same_file:
        yield Event(wall_time=began, file_version="brain.Event:2")
    if start.purge:
        yield Event(wall_time=began, step=start.checkpoint + 1, session_log=SessionLog(status=SessionLog.START))
    for point in start.points:
        yield Event(wall_time=point.time, step=point.step, summary=Summary(value=[value(point)]))


def write_events(path, events):
    """Adds events to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()
    return path


def write_run(folder, starts, kind="simple", odd_names=False):
    """Each start a file; `odd_names` sort against the clock."""
    path = None
    for number, start in enumerate(starts):
        began = start.points[0].time - 1
        if not start.same_file:
            path = folder / f"events.out.tfevents.{9 - number if odd_names else int(began)}.host.{number}"
        write_events(path, records(start, VALUES[kind], began))
    return folder


def write_with_torch(folder, starts):
    """The same with torch's writer; its records of starts have the present time, so these come in order anyway."""
    for start in starts:
        writer = SummaryWriter(folder, purge_step=start.checkpoint + 1 if start.purge else None)
        for point in start.points:
            writer.add_scalar(point.tag, point.value, point.step, walltime=point.time)
        writer.close()
    return folder


def in_gaps(starts):
    """Points between a checkpoint and the first step that is logged after it: nothing tells that they are abandoned."""
    return {
        (point.tag, point.step)
        for i, after in enumerate(starts)
        for start in starts[:i]
        for point in start.points
        if after.checkpoint is not None and after.checkpoint < point.came < min(p.came for p in after.points)
    }


def curves_of(run):
    """By the names that the tool used."""
    names = {"eval/success_rate": "eval/success_once", "train/return": "charts/episodic_return"}
    own = "charts/SPS" in run.scalars
    return {names.get(tag, tag) if own else tag: points for tag, points in run.scalars.items()}


def assert_right(run, starts):
    """Every tag, every step, to float32; and a sentence if and only if something does not count."""
    found, expected = curves_of(run), right(starts)
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        unknown = {step for own, step in in_gaps(starts) if own == tag} - points.keys()
        told = {step: value for step, value in found[tag].items() if step not in unknown}
        assert list(told) == sorted(points), tag
        assert told == pytest.approx(points, rel=1e-6), tag
    assert bool(run.notes) == loses(starts), run.notes
    assert all(map(is_sentence, run.notes))


# ---- cases -------------------------------------------------------------------------------------------------------

LIVES = {  # checkpoint and end of each start
    "one": [(None, 1600)],
    "goes on": [(None, 1000), (1000, 1600)],
    "goes back": [(None, 1000), (600, 1600)],
    "goes back and has just begun": [(None, 2000), (1000, 1210)],
    "goes back twice": [(None, 1000), (600, 1400), (1200, 2000)],
    "goes back further": [(None, 1400), (1200, 1600), (400, 1000)],
    "second run": [(None, 1600), (None, 1200)],
    "third run": [(None, 1200), (None, 1600), (None, 1400)],
    "second run that goes back": [(None, 1200), (None, 1600), (800, 2000)],
    "goes back, then a second run": [(None, 1400), (800, 1600), (None, 1200)],
}


def life(name, **options):
    return [Start(checkpoint, until, **(options if i else {})) for i, (checkpoint, until) in enumerate(LIVES[name])]


@pytest.mark.parametrize("late", [False, True], ids=["in order", "late"])
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", LIVES)
def test_a_file_for_each_start(tmp_path, name, tool, kind, late):
    starts = played(life(name), tool, late)
    assert_right(read_folder(write_run(tmp_path / "run", starts, kind, odd_names=late)), starts)


def lives_at_random(seed):
    """Up to four starts. In one file a start goes back by 300 env steps or more: less looks like late points."""
    draw = random.Random(seed)
    starts, reached = [Start(None, draw.randint(3, 16) * 100)], 0
    for _ in range(draw.randint(1, 3)):
        reached = starts[-1].until
        same_file = draw.random() < 0.3
        back = draw.randint(3 if same_file else 0, max(3, reached // 100 - 1)) * 100
        checkpoint = None if draw.random() < 0.25 or back >= reached else reached - back
        starts.append(Start(checkpoint, (checkpoint or 0) + draw.randint(3, 16) * 100, same_file=same_file))
    return starts


@pytest.mark.parametrize("seed", range(60))
def test_lives_at_random(tmp_path, seed):
    """A start from near the beginning may look like another run, and then a sentence says so."""
    starts = played(lives_at_random(seed), list(TOOLS)[seed % 3], late=seed % 2 == 0)
    run = read_folder(write_run(tmp_path / "run", starts, list(VALUES)[seed % 2]))
    if not any("If it went back to a checkpoint near its beginning" in note for note in run.notes):
        assert_right(run, starts)


def test_most_lives_leave_no_doubt(tmp_path):
    """The sentence that excuses a curve in the test above is rare."""
    runs = [
        read_folder(write_run(tmp_path / str(seed), played(lives_at_random(seed), "sb3"))) for seed in range(0, 60, 3)
    ]
    assert sum(any("near its beginning" in note for note in run.notes) for run in runs) <= 2


def test_a_start_from_near_the_beginning_may_be_another_run_and_that_is_said(tmp_path):
    """Its first evaluation is that of a new run, its first loss is not."""
    starts = played([Start(None, 2000), Start(100, 1000)], "sb3")
    (note,) = read_folder(write_run(tmp_path / "run", starts)).notes
    assert note == (
        "run holds 2 runs, each from its beginning; the last one counts. Left out: what was logged before it, up to "
        "step 2,000. If it went back to a checkpoint near its beginning instead, it lacks that."
    )


@pytest.mark.parametrize("tool", ["cleanrl", "sb3"])  # steps of one kind, as purge_step takes them to be
@pytest.mark.parametrize("name", ["goes on", "goes back", "goes back twice", "goes back further"])
@pytest.mark.parametrize("how", ["files", "one file", "torch"])
def test_purge_step(tmp_path, name, tool, how):
    starts = played(life(name, purge=True, same_file=how == "one file"), tool)
    write = write_with_torch if how == "torch" else write_run
    assert_right(read_folder(write(tmp_path / "run", starts)), starts)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", LIVES)
def test_torch_writes_a_file_for_each_start(tmp_path, name, tool):
    starts = played(life(name), tool)
    assert_right(read_folder(write_with_torch(tmp_path / "run", starts)), starts)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", LIVES)
def test_one_file_for_all_starts(tmp_path, name, tool):
    """A script that loads a checkpoint, or begins again, with the writer it has."""
    starts = played(life(name, same_file=True), tool)
    assert_right(read_folder(write_run(tmp_path / "run", starts)), starts)


def test_a_purge_that_says_less_than_the_steps(tmp_path):
    """The script says 900 and begins at 700: what was logged from 700 on is abandoned all the same."""
    starts = played([Start(None, 1000), Start(600, 1400)], "sb3")
    folder = write_run(tmp_path / "run", starts[:1])
    began = starts[1].points[0].time - 1
    start = Event(wall_time=began, step=900, session_log=SessionLog(status=SessionLog.START))
    write_events(folder / "events.out.tfevents.2.host", [start, *records(starts[1], simple, began)])
    run = read_folder(folder)
    assert_right(run, starts)
    assert [re.search(r"step (\d+)", note)[1] for note in run.notes] == ["900", "700"]


# ---- writers at the same time ------------------------------------------------------------------------------------


def split(starts, *tags):
    """The starts of two writers: of these tags, and of the others."""
    return tuple(
        [Start(s.checkpoint, s.until, points=[p for p in s.points if (p.tag in tags) is own]) for s in starts]
        for own in (True, False)
    )


@pytest.mark.parametrize("tool", ["cleanrl", "sb3"])
@pytest.mark.parametrize("name", LIVES)
def test_training_and_evaluation_have_writers_of_their_own(tmp_path, name, tool):
    """Each with a file for each start, in one folder; one goes back if the other does."""
    starts = played(life(name), tool)
    evaluation, training = split(starts, "eval/success_once", "eval/success_rate")
    for i, writer in enumerate((evaluation, training)):
        for number, start in enumerate(writer):
            path = tmp_path / "run" / f"events.out.tfevents.{number}.host.{i}"
            write_events(path, records(start, simple, starts[number].points[0].time - 1))
    assert_right(read_folder(tmp_path / "run"), starts)


@pytest.mark.parametrize("tool", ["cleanrl", "sb3"])
def test_a_second_run_does_not_borrow_the_evaluations_of_the_first(tmp_path, tool):
    """Its evaluation has not logged anything yet."""
    starts = played(life("second run"), tool)
    evaluation, training = split(starts, "eval/success_once", "eval/success_rate")
    write_run(tmp_path / "run", training)
    write_run(tmp_path / "run/more", evaluation[:1])
    shutil.move(next((tmp_path / "run/more").iterdir()), tmp_path / "run/events.out.tfevents.5.host")
    (tmp_path / "run/more").rmdir()
    run = read_folder(tmp_path / "run")
    assert "eval/success_rate" not in run.scalars
    assert run.notes


def test_an_evaluation_that_outlives_the_training(tmp_path):
    """One process evaluates all along, while the training goes back: it logs the evaluations again."""
    starts = played(life("goes back"), "sb3")
    evaluation, training = split(starts, "eval/success_rate")
    write_run(tmp_path / "run", training)
    points = [point for start in evaluation for point in start.points]
    write_events(tmp_path / "run/events.out.tfevents.5.host", records(Start(None, 0, points=points), simple, BEGAN))
    assert_right(read_folder(tmp_path / "run"), starts)


def test_two_runs_at_the_same_time_have_no_single_curve(tmp_path):
    """And the remedy makes two runs of them."""
    one, other = played([Start(None, 1000)], "sb3"), played([Start(None, 1200)], "sb3")
    write_run(tmp_path / "a/run", one)
    path = write_events(tmp_path / "a/run/events.out.tfevents.3.host", records(other[0], simple, BEGAN + 1))
    path.unlink()
    later = [Logged(p.tag, p.step, p.value + 1, p.time + 3, p.came) for p in other[0].points]
    write_events(path, records(Start(None, 0, points=later), simple, BEGAN + 3))
    run = read_folder(tmp_path / "a/run")
    assert run.scalars == {}
    with pytest.raises(UserError, match="two writers at the same time") as refused:
        run.series("eval/success_rate")
    assert is_sentence(str(refused.value))
    moved = tmp_path / "a/run" / re.search(r"move (\S+) into", str(refused.value))[1]
    (tmp_path / "a/more").mkdir()
    shutil.move(moved, tmp_path / "a/more")
    groups = select([str(tmp_path / "a")], "eval/success_rate").groups
    assert sorted(len(run.series("eval/success_rate")[0]) for (run,) in groups.values()) == [4, 4]


def test_a_copy_of_a_file_changes_nothing(tmp_path):
    """Also one that was made half-way."""
    starts = played(life("goes back"), "cleanrl")
    folder = write_run(tmp_path / "run", starts)
    first = min(folder.iterdir())
    shutil.copy(first, folder / "events.out.tfevents.7.copy")
    half = Start(None, 0, points=starts[1].points[:40])
    write_events(folder / "events.out.tfevents.8.copy", records(half, simple, starts[1].points[0].time - 1))
    assert_right(read_folder(folder), starts)


# ---- folders below -----------------------------------------------------------------------------------------------


def in_folders(tmp_path, **tags):
    """A folder below for each name, with a file of these tags, every value that of the name's place."""
    for number, (name, own) in enumerate(tags.items()):
        points = [Logged(tag, step, number + step / 4096, BEGAN + step, step) for step in range(10) for tag in own]
        place = tmp_path / "run" / name.replace("own", "")
        write_events(place / "events.out.tfevents.1.host", records(Start(None, 9, points=points), tensor, BEGAN))
    return tmp_path / "run"


def test_equal_tags_of_folders_below_are_other_series(tmp_path):
    folder = in_folders(tmp_path, train=["loss", "rate"], validation=["loss", "eval/success_rate"])
    run = read_folder(folder)
    assert sorted(run.scalars) == ["eval/success_rate", "rate", "train/loss", "validation/loss"]
    with pytest.raises(UserError, match=r"ask for train/loss or validation/loss\.$") as refused:
        select([str(folder)], "loss")
    assert is_sentence(str(refused.value))
    for number, metric in enumerate(("train/loss", "validation/loss")):
        ((run,),) = select([str(folder)], metric).groups.values()
        assert run.series(metric)[1][0] == number
    ((run,),) = select([str(folder)], "eval/success_rate").groups.values()
    assert (run.name, run.notes) == ("run", ())


@pytest.mark.parametrize("below", ["1700000000.25", "eval_reward_policy", "eval"])
def test_folders_below_a_log_are_no_part_of_its_series(tmp_path, below):
    """As torch's `add_hparams` and `add_scalars` make them."""
    folder = in_folders(tmp_path, own=["eval/success_rate"], **{below: ["eval/success_rate"]})
    selection = select([str(folder)], "eval/success_rate")
    ((run,),) = selection.groups.values()
    assert run.series("eval/success_rate")[1][0] == 0
    said = f"eval/success_rate of run is that of its own folder; folders below have {below}/eval/success_rate as well."
    assert said in selection.notes
    assert read_folder(folder).series(f"{below}/eval/success_rate")[1][0] == 1


# ---- what nothing tells ------------------------------------------------------------------------------------------


def test_a_tag_that_counts_anew_in_every_epoch_has_no_curve(tmp_path):
    points = []
    for epoch, batch in itertools.product(range(9), range(20)):
        time = BEGAN + 20 * epoch + batch
        points.append(Logged("batch_loss", batch, epoch, time, 0))
        if batch == 19:
            points += [Logged(tag, epoch, epoch / 16, time, 0) for tag in ("eval/success_rate", "epoch_loss")]
    write_events(tmp_path / "run/events.out.tfevents.1.host", records(Start(None, 0, points=points), simple, BEGAN))
    run = read_folder(tmp_path / "run")
    assert run.scalars["eval/success_rate"] == {epoch: epoch / 16 for epoch in range(9)}
    with pytest.raises(UserError, match="batch_loss of run counts its steps anew while other tags go on") as refused:
        run.series("batch_loss")
    assert is_sentence(str(refused.value))


def test_a_start_that_nothing_tells_of_is_refused_and_its_remedy_works(tmp_path):
    """Epochs begin at 0 again, batches go on: a script that forgot one counter, or a second run that kept it."""
    starts = played([Start(None, 2000), Start(1000, 3000)], "epochs")
    again = [
        p if p.tag == "batch_loss" else Logged(p.tag, p.step - 5, p.value, p.time, p.came) for p in starts[1].points
    ]
    starts[1].points = again
    folder = write_run(tmp_path / "logs/run", starts)
    with pytest.raises(UserError, match="nothing tells what it went on from") as refused:
        select([str(folder)], "eval/success_rate")
    assert is_sentence(str(refused.value))
    (tmp_path / "logs/more").mkdir()
    shutil.move(folder / re.search(r"move (\S+) into", str(refused.value))[1], tmp_path / "logs/more")
    groups = select([str(tmp_path / "logs")], "eval/success_rate").groups
    assert {label: len(run.series("batch_loss")[0]) for label, (run,) in groups.items()} == {"run": 100, "more": 100}


@pytest.mark.parametrize("workers", [1, 4])
def test_points_of_workers_are_out_of_order_and_no_restarts(tmp_path, workers):
    """Each logs at steps of its own, up to four late; the learner's are in order."""
    draw = random.Random(workers)
    times = [(10 * i + draw.randint(-40, 40), 10 * i // workers * workers) for i in range(400)]
    points = [Logged("charts/episodic_return", step, step, BEGAN + at, 0) for at, step in sorted(times)]
    points += [Logged("charts/SPS", 10 * i, i, BEGAN + 10 * i, 0) for i in range(400)]
    points.sort(key=lambda point: point.time)
    write_events(tmp_path / "run/events.out.tfevents.1.host", records(Start(None, 0, points=points), simple, BEGAN))
    run = read_folder(tmp_path / "run")
    assert run.scalars["train/return"] == {step: step for step in sorted({step for _, step in times})}
    assert (len(run.scalars["charts/SPS"]), run.notes, run.unclear) == (400, (), {})


def test_values_that_are_no_numbers_are_points_of_their_start(tmp_path):
    starts = played(life("goes back"), "sb3")
    lost = starts[1].points[-1]
    starts[1].points[-1] = Logged(lost.tag, lost.step, math.nan, lost.time, lost.came)
    run = read_folder(write_run(tmp_path / "run", starts))
    assert math.isnan(run.scalars[lost.tag][lost.step])
    assert len(run.notes) == 1
