"""Reading runs: versions that go on, logs of other tools, damage."""

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from rlft.comparison.axes import AXES, COSTS
from rlft.errors import UserError
from rlft.runs.identity import Identity
from tests.support.comparison import begun, iterations, logged, read_run, run_folder, version, write
from tests.support.hand_made import is_sentence


def rates(run):
    return {step: pytest.approx(value) for step, value in run.scalars["eval/success_rate"].items()}


def test_a_run_and_one_version_of_it(tmp_path):
    folder = run_folder(tmp_path, "weak-gae_ppo-seed3", [0.25, 0.5, 0.75])
    for path in (folder, folder / "version_0"):
        run = read_run(path)
        assert (run.name, run.place.name, run.seed, run.unread) == ("weak-gae_ppo-seed3", "weak-gae_ppo", 3, 0)
        assert rates(run) == {0: 0.25, 100: 0.5, 200: 0.75}


def test_the_status_tells_what_a_name_does_not(tmp_path):
    """A name is what somebody has chosen."""
    for name in ("my-run", "my-seed3"):
        run = read_run(begun(run_folder(tmp_path, name, [0.25, 0.5]) / "version_0", {"x": 1}, seed=7).parent)
        assert (run.seed, run.settings) == (7, {"x": 1})
        assert len(run.digest) == 64


def test_the_digest_is_no_part_of_the_name(tmp_path):
    digest = Identity({"x": 1}, 4).digest
    for name in (f"ppo-{digest[:8]}-seed4", f"ppo-seed4-{digest[:8]}"):
        folder = run_folder(tmp_path, name, [0.25, 0.5])
        begun(folder / "version_0", {"x": 1}, seed=4)
        assert read_run(folder).place.name == "ppo"


# ---- versions ----------------------------------------------------------------------------------------------------


def checkpoint(folder):
    return str(folder / "checkpoints/last.ckpt")


def test_a_version_that_goes_on_from_another_is_one_curve_with_it(tmp_path):
    first = version(tmp_path / "run", 0, [0.1, 0.2, 0.3, 0.4], {}, state="running", iterations=4)
    more = version(tmp_path / "run", 1, [0.5, 0.6], {}, begin=2, checkpoint=checkpoint(first), seconds=72.0)
    run = read_run(tmp_path / "run")
    # iteration 3 was made twice: the one that led to the end counts, and its time once
    assert rates(run) == {0: 0.1, 100: 0.2, 200: 0.3, 300: 0.5, 400: 0.6}
    steps = np.array([0, 100, 200, 300, 400])
    assert AXES["training_hours"](run, steps).tolist() == pytest.approx([0, 0.01, 0.02, 0.04, 0.06])
    assert COSTS["actor updates"](run, run.end()).tolist() == [12]
    assert rates(read_run(more)) == rates(run)
    assert rates(read_run(first)) == {0: 0.1, 100: 0.2, 200: 0.3, 300: 0.4}


def test_a_chain_of_versions_is_cut_wherever_a_later_one_went_back(tmp_path):
    """The second went on after iteration 3, the third after iteration 4 of the second, the fourth after 2 again."""
    run, settings = tmp_path / "run", {"state": "running", "iterations": 9}
    first = version(run, 0, [0.1, 0.2, 0.3, 0.4, 0.5], {}, **settings)
    second = version(run, 2, [0.6, 0.7], {}, begin=3, checkpoint=checkpoint(first), **settings)
    third = version(run, 10, [0.8], {}, begin=4, checkpoint=checkpoint(second))
    assert rates(read_run(third)) == {0: 0.1, 100: 0.2, 200: 0.3, 300: 0.4, 400: 0.6, 500: 0.8}
    fourth = version(run, 11, [0.9], {}, begin=2, checkpoint=checkpoint(first))
    assert rates(read_run(fourth)) == {0: 0.1, 100: 0.2, 200: 0.3, 300: 0.9}


def test_a_version_that_has_only_begun_keeps_what_it_goes_on_from(tmp_path):
    first = version(tmp_path / "run", 0, [0.1, 0.2, 0.3], {}, state="running", iterations=9)
    more = begun(tmp_path / "run/version_1", {}, done=1, checkpoint_iterations=1, checkpoint=checkpoint(first))
    write(more, {"charts/x": {100: 1.0}})
    assert rates(read_run(more)) == {0: 0.1, 100: 0.2}


def test_a_run_goes_on_from_a_folder_that_was_moved_with_it(tmp_path):
    first = version(tmp_path / "logs/run", 0, [0.1, 0.2], {}, state="running", iterations=9)
    version(tmp_path / "logs/other", 0, [0.5], {}, begin=1, checkpoint=checkpoint(first))
    (tmp_path / "logs").rename(tmp_path / "moved")
    assert rates(read_run(tmp_path / "moved/other")) == {0: 0.1, 100: 0.2, 200: 0.5}


@pytest.mark.parametrize("later", [{"started": "2026-02-01 00:00:00"}, {"done": 0, "state": "running"}])
def test_another_run_in_the_place_of_a_checkpoint_is_not_taken_for_it(tmp_path, later):
    """It was begun after the one that went on, or has not come as far as the checkpoint."""
    first = version(tmp_path / "run", 0, [0.1, 0.2], {}, **later)
    more = version(tmp_path / "other", 0, [0.5], {}, begin=1, checkpoint=checkpoint(first))
    assert rates(read_run(more)) == {200: 0.5}


def test_versions_that_nothing_tells_of_are_one_run_that_went_on(tmp_path):
    """The first got to iteration 4, the second went back to the checkpoint of iteration 1 and on to 2."""
    write(tmp_path / "run/version_0", logged([0.1, 0.2, 0.3, 0.4, 0.5]))
    write(tmp_path / "run/version_10", iterations([0.9], begin=2))
    write(tmp_path / "run/version_2", iterations([0.7, 0.8], begin=2))
    assert rates(read_run(tmp_path / "run")) == {0: 0.1, 100: 0.2, 200: 0.9}


def test_a_version_that_has_only_begun_hides_nothing(tmp_path):
    write(tmp_path / "run/version_0", logged([0.1, 0.2, 0.3]))
    write(tmp_path / "run/version_1", {"charts/x": {0: 1.0}})
    assert rates(read_run(tmp_path / "run")) == {0: 0.1, 100: 0.2, 200: 0.3}


def test_axes_of_a_run_of_rlft(tmp_path):
    run = read_run(run_folder(tmp_path, "run", [0.1, 0.2, 0.3], sim_steps=700))
    steps = np.array([0, 100, 200])
    found = {name: axis(run, steps).tolist() for name, axis in AXES.items() if name != "gradient_steps"}
    assert found == {
        "iteration": [0, 1, 2],
        "env_steps": [0, 100, 200],
        "sim_steps": [0, 700, 1400],
        "relative": [0, 100, 200],
        "training_hours": pytest.approx([0, 0.01, 0.02]),
    }


def test_gradient_steps_add_up(tmp_path):
    logged = {"eval/success_rate": {0: 0.1, 100: 0.2, 200: 0.3}, "charts/critic_updates": {100: 30.0, 200: 40.0}}
    run = read_run(write(tmp_path / "run", logged))
    assert AXES["gradient_steps"](run, np.array([0, 100, 200])).tolist() == [0, 30, 70]


def test_an_offline_run_is_logged_by_iteration_and_keeps_its_env_steps(tmp_path):
    fixed = {"steps/env": {1: 500, 2: 500}, "time/iteration": {1: 1.0, 2: 1.0}, "eval/success_rate": {0: 0.1, 2: 0.4}}
    run = read_run(write(tmp_path / "offline", fixed))
    steps, _ = run.series("eval/success_rate")
    assert AXES["iteration"](run, steps).tolist() == [0, 2]
    assert AXES["env_steps"](run, steps).tolist() == [0, 500]


MANISKILL = {  # examples/baselines/ppo/ppo.py: evaluation before iterations 1, 3; 800 env steps an iteration
    "eval/success_once": {1000: 0.25, 2600: 0.5},
    "eval/success_at_end": {1000: 0.125, 2600: 0.25},
    "eval/episode_len": {1000: 50.0, 2600: 40.0},
    "train/success_once": {1500: 0.3},
    "charts/SPS": {1800: 100, 2600: 100},
    "time/total_rollout+update_time": {1800: 3600.0, 2600: 7200.0},
}


def test_mani_skill_ppo(tmp_path):
    run = read_run(write(tmp_path / "PickCube-v1__ppo__7__1721000000", MANISKILL))
    assert (run.place.name, run.seed) == ("PickCube-v1__ppo", 7)
    assert run.scalars["eval/success_rate"] == {1000: 0.25, 2600: 0.5}
    assert set(run.scalars) >= {"eval/success_at_end", "eval/episode_length", "train/success_rate"}
    steps = np.array([1000, 2600])
    assert AXES["env_steps"](run, steps).tolist() == [1000, 2600]
    assert AXES["relative"](run, steps).tolist() == [0, 1600]  # a finetune that counts on from its start policy
    assert AXES["iteration"](run, steps).tolist() == [0, 2]
    assert AXES["training_hours"](run, steps).tolist() == [0, 2]
    with pytest.raises(UserError, match="no steps/sim"):
        AXES["sim_steps"](run, steps)


def test_cleanrl(tmp_path):
    """Its clock is the steps per second since the start: 3,600 and 7,200 steps at 1/s and 2/s are an hour each."""
    scalars = {"charts/episodic_return": {50: 1.5, 5000: 3.0}, "charts/SPS": {3600: 1, 7200: 2}}
    run = read_run(write(tmp_path / "runs" / "Ant-v4__ppo_continuous_action__1__1700000000" / "below", scalars).parent)
    steps, values = run.series("train/return")
    assert (run.place.name, run.seed, values.tolist()) == ("Ant-v4__ppo_continuous_action", 1, [1.5, 3.0])
    assert AXES["training_hours"](run, np.array([50, 3600, 7200])).tolist() == [0, 1, 1]
    assert AXES["iteration"](run, steps).tolist() == [0, 1]


def test_cleanrl_rates_are_whole_numbers(tmp_path):
    """A rate that is rounded down to 0 says nothing, and time does not run back when one is rounded up."""
    scalars = {"charts/episodic_return": {100: 1.0}, "charts/SPS": {100: 0, 3600: 1, 7000: 2, 7200: 2}}
    run = read_run(write(tmp_path / "Ant-v4__ppo__1__1700000000", scalars))
    assert AXES["training_hours"](run, np.array([100, 3600, 7000, 7200])).tolist() == [0, 1, 1, 1]


def test_scalars_as_tensors_and_what_is_no_scalar(tmp_path):
    """TensorFlow 2 writes scalars as tensors; texts and histograms are left alone."""
    writer = EventFileWriter(str(tmp_path / "run"))
    of = {
        "scalars": make_tensor_proto(0.5),
        "text": make_tensor_proto("hello"),
        "histograms": make_tensor_proto([[1.0]]),
    }
    for plugin, tensor in of.items():
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
        value = Summary.Value(tag=f"a/{plugin}", tensor=tensor, metadata=metadata)
        writer.add_event(Event(step=3, summary=Summary(value=[value])))
    writer.close()
    assert read_run(tmp_path / "run").scalars == {"a/scalars": {3: 0.5}}


def test_values_that_are_no_numbers_are_no_points(tmp_path):
    run = read_run(write(tmp_path / "run", {"eval/return": {0: 1.0, 5: float("nan"), 10: 2.0}}))
    assert [series.tolist() for series in run.series("eval/return")] == [[0, 10], [1.0, 2.0]]


def event_file(folder):
    (path,) = folder.rglob("*.tfevents.*")
    return path


def test_a_half_written_record_is_left_out_and_counted(tmp_path):
    run = run_folder(tmp_path, "run", [0.1, 0.2])
    path = event_file(run)
    path.write_bytes(path.read_bytes()[:-5])  # the last record is the last of steps/sim, the only one of iteration 1
    read = read_run(run)
    assert rates(read) == {0: 0.1, 100: 0.2}
    assert "steps/sim" not in read.scalars
    assert 5 < read.unread < 60


@pytest.mark.parametrize("content", [b"", b"nonsense" * 20])
def test_files_without_readable_scalars(tmp_path, content):
    run = run_folder(tmp_path, "run", [0.1, 0.2])
    event_file(run).write_bytes(content)
    with pytest.raises(UserError, match="empty or damaged") as raised:
        read_run(run)
    assert is_sentence(str(raised.value))


def test_a_folder_without_event_files(tmp_path):
    with pytest.raises(UserError, match="no TensorBoard event files"):
        read_run(tmp_path)


def test_a_metric_that_is_not_there(tmp_path):
    run = read_run(write(tmp_path / "run", {**logged([0.1, 0.2]), "train/reward": {1: 0.5}}))
    with pytest.raises(UserError, match=r"run has no eval/nonsense; it has eval/success_rate, .*, train/reward\."):
        run.series("eval/nonsense")
