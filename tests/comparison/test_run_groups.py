"""Which runs are compared as one."""

import json
import math
import shutil

import pytest

from rlft.comparison.run_groups import select
from rlft.errors import UserError
from rlft.runs.status import read_status
from rlft.runs.study_manifest import ManifestEntry, StudyManifest, write_manifest
from tests.support.comparison import begun, iterations, logged, run_folder, version, write
from tests.support.hand_made import REPO, is_sentence

METRIC = "eval/success_rate"


@pytest.fixture
def logs(tmp_path):
    for gamma in ("0.8", "0.99"):
        for seed in (1, 2):
            run_folder(tmp_path, f"weak-gae_ppo-gamma{gamma}-100x50-seed{seed}", [0.1, 0.2])
    return tmp_path


def study(logs, name="study", status="completed"):
    """Two arms and a preparation."""
    names = {"prepare": (True, "completed"), "a-1": (False, "completed"), "b-1": (False, status)}
    for run in names:
        run_folder(logs / name, run, [0.1, 0.2])
    entries = (
        ManifestEntry(run[0], 5, run, prepares, how, version="version_0") for run, (prepares, how) in names.items()
    )
    write_manifest(logs / name, StudyManifest(name, tuple(entries)))
    return logs / name


def labels(*arguments):
    groups = select(list(map(str, arguments)), METRIC).groups
    return {label: [run.seed for run in runs] for label, runs in groups.items()}


def notes(*arguments):
    return select(list(map(str, arguments)), METRIC).notes


def test_runs_that_differ_in_the_seed_alone_are_one_group(logs):
    assert labels(*sorted(logs.iterdir())) == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}
    assert labels(logs) == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}
    assert labels(f"{logs}/*") == {"gamma0.8": [1, 2], "gamma0.99": [1, 2]}


def test_a_single_group_keeps_its_name(logs):
    assert labels(f"{logs}/*-gamma0.8-*") == {"weak-gae_ppo-gamma0.8-100x50": [1, 2]}


def test_names_that_would_lose_everything_stay_whole(tmp_path):
    for name in ("weak-ppo", "weak-ppo-k5"):
        run_folder(tmp_path, name, [0.1, 0.2])
    assert labels(tmp_path) == {"weak-ppo": [-1], "weak-ppo-k5": [-1]}


def test_a_folder_of_another_tool_is_as_many_runs_as_it_holds(tmp_path):
    """Merged, they would pass for one run, and the last written would win."""
    for seed in (1, 2):
        write(tmp_path / f"runs/PickCube-v1__ppo__{seed}__1700000000", iterations([0.1, 0.2]))
        write(tmp_path / f"runs/{seed}/tensorboard", iterations([0.1, 0.2]))
    assert labels(tmp_path / "runs") == {"1": [-1], "2": [-1], "PickCube-v1__ppo": [1, 2]}
    assert labels(tmp_path) == labels(tmp_path / "runs")
    assert labels(tmp_path / "runs/1") == {"1": [-1]}
    (tmp_path / "runs/latest").symlink_to(tmp_path)  # neither twice nor for ever
    assert labels(tmp_path) == labels(tmp_path / "runs") == {"1": [-1], "2": [-1], "PickCube-v1__ppo": [1, 2]}


def test_a_single_run_of_another_tool_is_known_by_its_own_name(tmp_path):
    write(tmp_path / "runs/PickCube-v1__ppo__3__1700000000", iterations([0.1, 0.2]))
    assert labels(tmp_path / "runs") == {"PickCube-v1__ppo": [3]}


def test_names_of_other_tools_are_shortened_at_their_own_seams(tmp_path):
    for script in ("ppo", "sac"):
        write(tmp_path / f"PickCube-v1__{script}__1__1700000000", iterations([0.1, 0.2]))
    assert labels(tmp_path) == {"ppo": [1], "sac": [1]}


def test_runs_of_equal_settings_are_seeds_of_one_arm_wherever_they_are(tmp_path):
    for place in ("p1", "p2"):
        run_folder(tmp_path / place, f"ppo-seed{place[1]}", [0.1, 0.2])
    assert labels(tmp_path / "p1/ppo-seed1", tmp_path / "p2/ppo-seed2") == {"ppo": [1, 2]}


def test_runs_of_equal_settings_and_other_names_are_one_arm_and_that_is_said(tmp_path):
    for name, seed in (("mine", 1), ("other", 2)):
        version(tmp_path / name, 0, [0.1, 0.2], {"x": 1}, seed=seed)
    assert labels(tmp_path) == {"mine": [1, 2]}
    assert notes(tmp_path) == ["mine holds other: the same settings under another name."]


def test_logs_of_other_folders_are_no_other_seeds(tmp_path):
    for place in ("p1", "p2"):
        write(tmp_path / place / f"ppo-seed{place[1]}/version_0", logged([0.1, 0.2]))
        write(tmp_path / place / "tensorboard", iterations([0.1, 0.2]))
    assert labels(tmp_path / "p1/ppo-seed1", tmp_path / "p2/ppo-seed2") == {"p1/ppo": [1], "p2/ppo": [2]}
    assert labels(*tmp_path.glob("p?/tensorboard")) == {"p1/tensorboard": [-1], "p2/tensorboard": [-1]}
    together = labels(f"ppo={tmp_path / 'p?' / 'ppo-*'}")
    assert {label: sorted(seeds) for label, seeds in together.items()} == {"ppo": [1, 2]}  # said so


# ---- identities --------------------------------------------------------------------------------------------------

BASE = {
    "model": "FinetuneModule",
    "model.advantage": "GAE",
    "model.advantage.gamma": 0.8,
    "model.update": "PPO",
    "model.update.clip_coef": 0.2,
    "model.learning_rate": 0.0003,
    "model.learning_rate_warmup": 0,
}


def of(**changes):
    """The settings with others, by the last part of their keys."""
    keys = {key.rsplit(".", 1)[-1]: key for key in BASE}
    return BASE | {keys[name]: value for name, value in changes.items()}


def test_runs_of_one_name_and_other_settings_are_other_arms(tmp_path):
    """Three of seed 1 with another learning rate, clip coefficient and warm-up, one of seed 2 with a fourth rate."""
    changes = ({"learning_rate": 0.001}, {"clip_coef": 0.1}, {"learning_rate_warmup": 9})
    for number, change in enumerate(changes):
        version(tmp_path / "gae_ppo-seed1", number, [0.1, 0.2 + number / 10], of(**change))
    version(tmp_path / "gae_ppo-seed2", 0, [0.1, 0.6], of(learning_rate=0.01), seed=2)
    selection = select([str(tmp_path)], METRIC)
    found = {label: [(run.seed, run.series(METRIC)[1][-1]) for run in runs] for label, runs in selection.groups.items()}
    assert found == {
        "clip_coef 0.2 / learning_rate 0.001 / learning_rate_warmup 0": [(1, pytest.approx(0.2))],
        "clip_coef 0.1 / learning_rate 0.0003 / learning_rate_warmup 0": [(1, pytest.approx(0.3))],
        "clip_coef 0.2 / learning_rate 0.0003 / learning_rate_warmup 9": [(1, pytest.approx(0.4))],
        "clip_coef 0.2 / learning_rate 0.01 / learning_rate_warmup 0": [(2, pytest.approx(0.6))],
    }
    assert selection.notes == []
    names = [run.name for runs in selection.groups.values() for run in runs]
    assert names == [*(f"gae_ppo-seed1/version_{i}" for i in range(3)), "gae_ppo-seed2"]


def test_a_sweep_is_labelled_by_what_is_swept_and_configs_by_their_names(tmp_path):
    for rate in (0.001, 0.0003):
        for seed in (1, 2):
            run = tmp_path / f"logs{rate}/weak-gae_ppo-seed{seed}"
            version(run, 0, [0.1, 0.2], of(learning_rate=rate), seed=seed)
    assert labels(*sorted(tmp_path.glob("logs*"))) == {"learning_rate 0.0003": [1, 2], "learning_rate 0.001": [1, 2]}
    for seed in (1, 2):
        version(tmp_path / f"other/weak-mc_awr-seed{seed}", 0, [0.1, 0.2], of(update="AWR"), seed=seed)
    write(tmp_path / "PickCube-v1__ppo__3__1700000000", iterations([0.1, 0.2]))
    assert labels(
        *sorted(tmp_path.glob("logs*")), tmp_path / "other", tmp_path / "PickCube-v1__ppo__3__1700000000"
    ) == {
        "weak-gae_ppo / learning_rate 0.0003": [1, 2],
        "weak-gae_ppo / learning_rate 0.001": [1, 2],
        "weak-mc_awr": [1, 2],
        "PickCube-v1__ppo": [3],
    }


def test_a_label_decides_and_what_differs_under_it_is_said(tmp_path):
    for seed, rate in ((1, 0.001), (2, 0.0003)):
        version(tmp_path / f"ppo-seed{seed}", 0, [0.1, 0.2], of(learning_rate=rate), seed=seed)
    assert labels(f"mine={tmp_path}/*") == {"mine": [1, 2]}
    assert notes(f"mine={tmp_path}/*") == [
        "mine holds runs that differ in more than the seed: learning_rate 0.001 or 0.0003."
    ]


def test_an_arm_of_a_study_whose_settings_differ_is_said(logs):
    folder = study(logs)
    run_folder(folder, "a-2", [0.1, 0.2])
    begun(folder / "a-2/version_0", {"model.method": "b"}, seed=6)
    write_manifest(
        folder, StudyManifest("s", tuple(ManifestEntry("a", i, f"a-{i}", False, "completed") for i in (1, 2)))
    )
    assert labels(folder) == {"a": [1, 2]}
    assert notes(folder) == ["a holds runs that differ in more than the seed: method a-1 or b."]


# ---- versions and repeats ----------------------------------------------------------------------------------------


def last(selection):
    """The last value of every run, by label."""
    return {
        label: [round(float(run.series(METRIC)[1][-1]), 3) for run in runs] for label, runs in selection.groups.items()
    }


def checkpoint(folder):
    return str(folder / "checkpoints/last.ckpt")


def test_a_run_that_was_made_again_counts_once_and_that_is_said(tmp_path):
    """The newest complete one counts, although a newer one is running."""
    run = tmp_path / "ppo-seed1"
    for number, (rate, state) in enumerate(((0.2, "completed"), (0.3, "completed"), (0.4, "running"))):
        version(run, number, [0.1, rate], BASE, state=state)
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.3]}
    assert selection.notes == [
        f"Left out: ppo-seed1/version_{number}, the same run as ppo-seed1/version_1, which is the newest complete one; "
        "repeats would make an interval too narrow."
        for number in (0, 2)
    ]


def test_the_same_run_in_two_places_counts_once_unless_it_has_a_label(tmp_path):
    for day, rate in ((1, 0.2), (2, 0.3)):
        version(tmp_path / f"p{day}/ppo-seed1", 0, [0.1, rate], BASE, started=f"2026-01-0{day} 00:00:00")
    selection = select([f"{tmp_path}/p2/*", f"{tmp_path}/p1/*"], METRIC)
    assert last(selection) == {"ppo": [0.3]}
    (note,) = selection.notes
    assert note.startswith(f"Left out: {tmp_path}/p1/ppo-seed1/version_0, the same run as ppo-seed1/version_0")
    labelled = select([f"ppo={tmp_path}/p?/*"], METRIC)
    assert last(labelled) == {"ppo": [0.2, 0.3]}
    assert labelled.notes == ["ppo holds seed 1 more than once; repeats make its interval too narrow."]


def test_versions_with_a_label_count_as_they_are_named(tmp_path):
    for number in (0, 1):
        version(tmp_path / "ppo-seed1", number, [0.1, 0.2 + number / 10], BASE)
    assert last(select([f"a={tmp_path}/ppo-seed1"], METRIC)) == {"a": [0.3]}
    assert last(select([f"a={tmp_path}/ppo-seed1/version_*"], METRIC)) == {"a": [0.2, 0.3]}


def test_a_run_that_was_killed_and_went_on_is_one_run_without_a_word(tmp_path):
    first = version(tmp_path / "ppo-seed1", 0, [0.1, 0.2, 0.3], BASE, state="running", iterations=4)
    version(tmp_path / "ppo-seed1", 1, [0.4, 0.5], BASE, begin=2, checkpoint=checkpoint(first))
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.5]}
    assert len(selection.groups["ppo"][0].scalars[METRIC]) == 5
    assert selection.notes == []


def test_a_killed_run_counts_as_far_as_it_came(tmp_path):
    version(tmp_path / "ppo-seed1", 0, [0.1, 0.2, 0.3], BASE, state="running", iterations=4)
    version(tmp_path / "ppo-seed1", 1, [0.1, 0.15], BASE, state="running", iterations=4)
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.3]}
    assert selection.notes == [
        "Left out: ppo-seed1/version_1, the same run as ppo-seed1/version_0, which is not complete either, but has "
        "come further; repeats would make an interval too narrow."
    ]


def test_an_abandoned_branch_is_said(tmp_path):
    """The first version did four iterations; the second went back to the checkpoint of the second."""
    first = version(tmp_path / "ppo-seed1", 0, [0.1, 0.2, 0.3, 0.35, 0.4], BASE, state="running", iterations=9)
    version(tmp_path / "ppo-seed1", 1, [0.5, 0.6], BASE, begin=2, checkpoint=checkpoint(first))
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.6]}
    assert selection.notes == [
        "Left out: what ppo-seed1/version_0 did after iteration 2, from where ppo-seed1/version_1 went on, which is "
        "the newest complete one."
    ]


def test_a_branch_that_has_only_begun_does_not_replace_what_it_left(tmp_path):
    first = version(tmp_path / "ppo-seed1", 0, [0.1, 0.2, 0.3, 0.35, 0.4], BASE)
    version(tmp_path / "ppo-seed1", 1, [0.5], BASE, begin=2, checkpoint=checkpoint(first), state="running")
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.4]}
    (note,) = selection.notes
    assert note.startswith("Left out: ppo-seed1/version_1 with ppo-seed1/version_0 before it, the same run as")


def test_a_run_that_went_on_with_other_settings_is_another_arm_with_the_same_beginning(tmp_path):
    first = version(tmp_path / "ppo-seed1", 0, [0.1, 0.2, 0.3], BASE)
    more = version(
        tmp_path / "more-seed1", 0, [0.5], of(learning_rate=0.001), begin=1,
        checkpoint=checkpoint(first), continues=read_status(first).digest,
    )  # fmt: skip
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"more": [0.5], "ppo": [0.3]}
    assert list(selection.groups["more"][0].scalars[METRIC]) == [0, 100, 200]
    assert selection.notes == ["more-seed1/version_0 went on from ppo-seed1/version_0, which counts as its beginning."]
    assert last(select([str(more)], METRIC)) == {"more": [0.5]}


def test_a_run_that_was_stopped_and_went_on_with_other_settings_is_no_arm_of_its_own(tmp_path):
    first = version(tmp_path / "ppo", 0, [0.1, 0.2], BASE, state="ended early", iterations=4)
    changed = {"checkpoint": checkpoint(first), "continues": read_status(first).digest}
    version(tmp_path / "ppo", 1, [0.3], of(learning_rate=0.001), begin=1, **changed)
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.3]}
    (note,) = selection.notes
    assert note.startswith("ppo/version_0, which is not complete, counts as the beginning of ppo/version_1 alone")


def test_a_run_whose_beginning_is_gone_is_said(tmp_path):
    version(tmp_path / "ppo-seed1", 0, [0.5], BASE, begin=3, checkpoint="/nowhere/run/version_0/checkpoints/last.ckpt")
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.5]}
    assert selection.notes == [
        "ppo-seed1/version_0 went on from iteration 3 of /nowhere/run/version_0/checkpoints/last.ckpt, whose run is "
        "gone; its curve begins there."
    ]


def test_circles_of_checkpoints_end(tmp_path):
    """As in statuses that somebody has written by hand."""
    one, other = tmp_path / "ppo/version_0", tmp_path / "ppo/version_1"
    version(tmp_path / "ppo", 0, [0.5], BASE, begin=1, checkpoint=checkpoint(other))
    version(tmp_path / "ppo", 1, [0.5], BASE, begin=1, checkpoint=checkpoint(one))
    assert notes(tmp_path)


def test_a_version_without_a_status_is_left_out_and_said(tmp_path):
    version(tmp_path / "ppo-seed1", 0, [0.1, 0.2], BASE)
    write(tmp_path / "ppo-seed1/version_1", logged([0.1, 0.9]))
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"ppo": [0.2]}
    assert selection.notes == ["Left out: version_1 of ppo-seed1, without a status that can be read."]


def test_that_logs_are_told_apart_by_their_names_is_said(tmp_path):
    for seed in (1, 2):
        write(tmp_path / f"runs/PickCube-v1__ppo__{seed}__1700000000", iterations([0.1, 0.2]))
    assert notes(tmp_path) == [
        "Told apart by the names of their folders without the seed, as nothing says what their settings were: "
        "PickCube-v1__ppo."
    ]
    write(tmp_path / "mine-seed1/version_0", logged([0.1, 0.2]))
    write(tmp_path / "mine-seed1/version_1", iterations([0.1], begin=2))
    assert any(note.startswith("mine-seed1 has no status that tells how its 2 versions") for note in notes(tmp_path))


def test_runs_of_other_commits_are_said_once_for_an_arm(tmp_path):
    for seed, commit in enumerate(("1" * 40, "2" * 40, "2" * 40, "")):
        version(tmp_path / f"ppo-seed{seed}", 0, [0.1, 0.2], BASE, seed=seed, commit=commit)
        version(tmp_path / f"awr-seed{seed}", 0, [0.1, 0.2], of(update="AWR"), seed=seed, commit="3" * 40)
    assert notes(tmp_path) == ["ppo holds runs of 2 commits of the code: 11111111, 22222222."]


def test_contents_are_called_by_the_names_that_the_configurations_say(tmp_path):
    """A policy of the zoo, one of a run, and one of a run whose configuration is gone; the data are the same."""
    data = {"data.file": f"sha256:{'d' * 64}"}
    for digit, name in (("a", "pickcube/weak"), ("b", "/logs/run/version_0/policies/best.safetensors"), ("c", "")):
        folder = version(tmp_path / f"{digit}/ppo", 0, [0.1, 0.2], data | {"model.policy": f"sha256:{digit * 64}"})
        if name:
            (folder / "config.yaml").write_text(f"data: {{file: d.h5}}\nmodel: {{policy: {name}}}\n")
    assert list(labels(tmp_path)) == [
        "policy pickcube/weak (aaaaaaaa)",
        "policy best (bbbbbbbb)",
        "policy content cccccccc",
    ]
    (note,) = (note for note in notes(f"all={tmp_path}/*/*") if "differ in more than the seed" in note)
    assert note == (
        "all holds runs that differ in more than the seed: policy pickcube/weak (aaaaaaaa) or best (bbbbbbbb) or "
        "content cccccccc."
    )


def test_a_second_run_in_the_versions_of_a_run_without_a_status_is_said(tmp_path):
    write(tmp_path / "mine-seed1/version_0", logged([0.1, 0.2, 0.3]))
    write(tmp_path / "mine-seed1/version_1", logged([0.1, 0.9]))
    selection = select([str(tmp_path)], METRIC)
    assert last(selection) == {"mine": [0.9]}
    assert any(note.startswith("mine-seed1 holds 2 runs, each from its beginning") for note in selection.notes)


def test_studies_of_one_name_do_not_mix(logs):
    one, other = study(logs / "p1"), study(logs / "p2")
    assert set(labels(one, other)) == {f"{place}/study: {arm}" for place in ("p1", "p2") for arm in "ab"}


# ---- older code --------------------------------------------------------------------------------------------------

OLD = REPO / "tests/fixtures/old_cont"
OLD_PPO = "pointreach_scratch-gae_ppo-gamma0.8-lambda0.9-kl100-16x20-2x4-seed1"


def test_runs_of_older_code_are_told_apart_by_their_configurations(tmp_path):
    """Four, each continued; one of them made again with another clip coefficient under the same name."""
    logs = shutil.copytree(OLD, tmp_path / "moved")
    assert notes(logs) == []
    assert sorted(seed for seeds in labels(logs).values() for seed in seeds) == [1, 1, 1, 1001]
    again = shutil.copytree(logs / OLD_PPO / "version_0", logs / OLD_PPO / "version_2")
    config = again / "config.yaml"
    config.write_text(config.read_text().replace("clip_coef: 0.2\n        ent", "clip_coef: 0.1\n        ent"))
    assert notes(logs) == []
    ours = select([str(logs / OLD_PPO)], METRIC).groups
    assert {label: len(runs[0].scalars[METRIC]) for label, runs in ours.items()} == {
        "clip_coef 0.2": 5,
        "clip_coef 0.1": 3,
    }


def test_a_study_of_older_code_is_read(tmp_path):
    """Its manifest does not say which versions are complete."""
    shutil.copytree(OLD / OLD_PPO, tmp_path / "study" / OLD_PPO)
    entry = {"arm": "a", "seed": 1, "run": OLD_PPO, "preparation": False, "needs": [], "status": "completed"}
    (tmp_path / "study/study.json").write_text(json.dumps({"name": "study", "runs": [entry | {"reason": ""}]}))
    selection = select([str(tmp_path / "study")], METRIC)
    assert [len(run.scalars[METRIC]) for run in selection.groups["a"]] == [5]


# ---- studies, patterns, damage -----------------------------------------------------------------------------------


def test_an_arm_of_a_study_is_not_joined_by_a_run_of_its_name(logs):
    run_folder(logs, "a-seed2", [0.1, 0.2])
    assert labels(study(logs), logs / "a-seed2") == {"study: a": [5], "study: b": [5], "a": [2]}


def test_studies_in_a_folder(logs):
    for name in ("one", "two"):
        study(logs, name)
    assert labels(logs)["one: a"] == [5]
    assert labels(logs)["gamma0.8"] == [1, 2]


def test_labelled_patterns(logs):
    assert labels(f"low={logs}/*-gamma0.8-*", f"all={logs}/*") == {
        "low": [1, 2],
        "all": [1, 2, 1, 2],
    }


def test_a_run_that_two_patterns_match_counts_once(logs):
    assert labels(f"a={logs}/*-seed1", f"a={logs}/*gamma0.8*") == {"a": [1, 1, 2]}


def test_a_seed_twice_in_a_group_is_said(logs):
    twice, different = notes(f"a={logs}/*-seed1")
    assert twice.startswith("a holds seed 1 more than once")
    assert different.startswith(
        "a holds runs that differ in more than the seed: method weak-gae_ppo-gamma0.8-100x50 or"
    )


def test_the_arms_of_a_study(logs):
    assert labels(study(logs)) == {"a": [5], "b": [5]}


def test_runs_of_a_study_that_are_not_completed_are_left_out_and_named(logs):
    selection = select([str(study(logs, status="failed"))], METRIC)
    assert list(selection.groups) == ["a"]
    assert selection.notes == ["Left out: b, failed, of seed 5."]


def test_several_studies_do_not_mix(logs):
    assert set(labels(study(logs, "one"), study(logs, "two"))) == {"one: a", "one: b", "two: a", "two: b"}
    assert set(labels(f"new={logs / 'one'}")) == {"new: a", "new: b"}


def test_half_written_logs_are_named(logs):
    (path,) = (logs / "weak-gae_ppo-gamma0.8-100x50-seed2").rglob("*.tfevents.*")
    path.write_bytes(path.read_bytes()[:-3])
    (note,) = select([str(logs)], METRIC).notes
    assert "of weak-gae_ppo-gamma0.8-100x50-seed2 are damaged or half-written" in note


def test_runs_that_have_nothing_to_compare_are_left_out_of_folders_and_patterns(logs):
    """A run that has just begun, or pretrained a critic, does not keep the others from being compared."""
    write(logs / "begun-seed1/version_0", {})
    write(logs / "critic-seed1/version_0", {"losses/value_loss": {0: 1.0}})
    write(logs / "odd-seed1/version_0", {METRIC: {0: math.nan}})
    for argument in (str(logs), f"{logs}/*"):
        selection = select([argument], METRIC)
        assert selection.groups.keys() == {"gamma0.8", "gamma0.99"}
        assert sum(map(len, selection.groups.values())) == 4
        begun, critic, odd = (note for note in selection.notes if note.startswith("Left out"))
        assert begun.startswith("Left out: No scalars can be read in")
        assert critic == f"Left out: critic-seed1 has no {METRIC}; it has losses/value_loss."
        assert odd == f"Left out: odd-seed1 has no {METRIC} that is a number."
    for name in ("begun-seed1", "critic-seed1", "odd-seed1"):
        with pytest.raises(UserError):
            select([str(logs), str(logs / name)], METRIC)
    with pytest.raises(UserError, match=r"^Left out: critic-seed1 has no .*; it has losses/value_loss\.$"):
        select([f"{logs}/crit*"], METRIC)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("label=", "There is no run ''"),
        ("{logs}/nowhere", "There is no run"),
        ("{logs}/*nothing*", "There is no run"),
        ("label={logs}/nowhere", "There is no run '{logs}/nowhere'"),
        ("{logs}/file", "There is no run"),
        ("{logs}/empty", "holds no TensorBoard event files"),
        ("{logs}/broken", "is not the record of a study"),
        ("{logs}/other", "is not the record of a study: KeyError 'runs'"),
        ("{logs}/begun", "is completed"),
    ],
)
def test_mistakes(logs, argument, message):
    (logs / "file").touch()
    for name, text in {"empty": None, "broken": "{", "other": "{}", "begun": '{"runs": []}'}.items():
        (logs / name).mkdir()
        if text is not None:
            (logs / name / "study.json").write_text(text)
    with pytest.raises(UserError) as raised:
        select([argument.format(logs=logs)], METRIC)
    assert message.format(logs=logs) in str(raised.value)
    assert is_sentence(str(raised.value))


def test_arms_of_different_environments_are_named(tmp_path):
    for name, task in (("a", "PickCube-v1"), ("b", "PushCube-v1"), ("c", "PickCube-v1")):
        settings = {"data.env": "ManiSkill", "data.env.task": task, "model.method": name}
        begun(write(tmp_path / name / "version_0", logged([0.1, 0.2])), settings, 1)
    different = select([str(tmp_path / name) for name in "abc"], METRIC).notes
    said = "data.env.task is PickCube-v1 of a, c; PushCube-v1 of b."
    assert [note for note in different if "environment" in note] == [
        f"Not the same environment, so a difference is not of the methods alone: {said}"
    ]
    assert not [
        note for note in select([str(tmp_path / "a"), str(tmp_path / "c")], METRIC).notes if "environment" in note
    ]
