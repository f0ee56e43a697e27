"""Methods over several tasks, with numbers worked out by hand."""

import csv
import io
import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from rlft.commands.compare import compare
from rlft.comparison.aggregate import improvement_over_tasks, iqm, mean, over_tasks
from rlft.errors import UserError
from rlft.runs.study_manifest import ManifestEntry, StudyManifest, write_manifest
from tests.support.comparison import begun, logged, write
from tests.support.hand_made import is_sentence

START = 64 / 128
RATES = {  # last evaluations by task, method and seed; what makes a score of 1 is 1 in push, 0.75 in pull
    ("push", "ppo"): [96, 112],
    ("push", "awr"): [64, 96],
    ("pull", "ppo"): [80, 96],
    ("pull", "awr"): [80, 96],
}


def study(tmp_path, rates=RATES, experts=(("push", ""), ("pull", "0.75")), status="completed"):
    """The folder of a study whose runs went from 64 of 128 episodes to `rates`."""
    entries = []
    for (task, method), successes in rates.items():
        for seed, count in enumerate(successes, 1):
            name = f"{method}-{task}-seed{seed}"
            version = tmp_path / name / "version_0"
            write(version, logged([START, 0.6, count / 128]))
            begun(version, {"method": method, "task": task}, seed=seed, done=2)
            expert = dict(experts)[task]
            entries.append(
                ManifestEntry(method, seed, name, False, status, version="version_0", task=task, expert=expert)
            )
    write_manifest(tmp_path, StudyManifest("study", tuple(entries)))
    return str(tmp_path)


def test_scores_ranks_and_probabilities_by_hand(tmp_path, capsys):
    """Scores of ppo: 0.5, 0.75 in push and 0.5, 1 in pull; of awr 0, 0.5 and 0.5, 1."""
    found = compare([study(tmp_path)])
    ppo, awr = found.methods
    assert [method.label for method in found.methods] == ["ppo", "awr"]
    assert [own.tolist() for own in ppo.scores] == [[0.5, 0.75], [0.5, 1.0]]
    assert [own.tolist() for own in awr.scores] == [[0.0, 0.5], [0.5, 1.0]]
    assert ppo.mean.value == pytest.approx(2.75 / 4)
    assert ppo.iqm.value == pytest.approx(1.25 / 2)  # without the lowest and the highest
    assert awr.iqm.value == pytest.approx(0.5)
    assert (ppo.rank, awr.rank) == (1.25, 1.75)  # first and second in push, equal in pull
    # In push ppo wins 3 of 4 pairs and ties one, 3.5 / 4; in pull there are two ties of four and each wins one.
    assert found.better["ppo", "awr"].value == pytest.approx((3.5 / 4 + 0.5) / 2)
    assert found.better["awr", "ppo"].value == pytest.approx(1 - (3.5 / 4 + 0.5) / 2)
    assert [ppo.above(score) for score in (0.4, 0.5, 0.8, 1.0)] == [1.0, 0.5, 0.25, 0.0]
    assert ppo.profile(0.0, 1.0) == ([0.0, 0.5, 0.5, 0.75, 0.75, 1.0], [1.0, 1.0, 0.5, 0.5, 0.25, 0.25])
    assert ppo.profile(0.0, 1.1)[1][-2:] == [0.0, 0.0]  # nothing is above the highest score
    assert ppo.costs["env steps"] == 200
    text = capsys.readouterr().out
    assert "| ppo | 4 | 0.62 [" in text
    assert "| start | 50.0% | 50.0% |" in text
    assert "| expert | 100.0% | 75.0% |" in text


def test_a_score_of_0_is_the_start_policy_also_beside_a_method_that_begins_with_a_new_one(tmp_path):
    folder = study(tmp_path, {("push", "ppo"): [96], ("push", "bc"): [96]})
    for method, policy, first in (("ppo", "pushcube/weak", START), ("bc", None, 0.0)):
        version = tmp_path / f"{method}-push-seed1" / "version_0"
        for file in version.glob("events*"):
            file.unlink()
        write(version, logged([first, 0.6, 96 / 128]))
        begun(version, {"method": method, "task": "push", "model.policy": policy})
    found = compare([folder])
    assert found.tasks[0].start == START
    assert [own.tolist() for method in found.methods for own in method.scores] == [[0.5], [0.5]]


def test_a_statistic_over_tasks_agrees_with_a_plain_loop():
    generator = np.random.default_rng(3)
    scores = [generator.random(5), 2 + generator.random(3), generator.random(4)]
    found = over_tasks(iqm, scores)
    assert found.value == pytest.approx(trim_mean(np.concatenate(scores), 0.25))
    drawn = np.concatenate([generator.choice(own, (20_000, len(own))) for own in scores], 1)
    bounds = np.percentile(trim_mean(drawn, 0.25, axis=1), [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(bounds), abs=0.03)
    unstratified = trim_mean(generator.choice(np.concatenate(scores), (20_000, 12)), 0.25, axis=1)
    assert found.high - found.low < 0.8 * np.diff(np.percentile(unstratified, [2.5, 97.5])).item()


def test_of_one_task_it_is_what_one_task_has():
    one, other = np.array([0.2, 0.7, 0.4]), np.array([0.3, 0.6])
    assert improvement_over_tasks([one], [other]).value == pytest.approx(3 / 6)
    assert over_tasks(mean, [one]).value == pytest.approx(one.mean())
    single = over_tasks(mean, [one[:1], other[:1]])
    assert single.value == pytest.approx(0.25)
    assert math.isnan(single.low)


def test_a_method_without_a_run_in_some_task_has_no_score_and_is_named(tmp_path, capsys):
    found = compare([study(tmp_path, {**RATES, ("push", "bc"): [128]})])
    assert [method.label for method in found.methods] == ["ppo", "awr"]
    text = capsys.readouterr().out
    assert "bc has no score, for it has no run of pull." in text
    assert "| bc | 100.0% [97.1, 100.0] | - |" in text
    assert "Where a method has one seed in a task, the interval of its evaluation there is Wilson's" in text


def test_what_the_numbers_of_seeds_do_to_scores_is_said(tmp_path, capsys):
    compare([study(tmp_path, {**RATES, ("push", "awr"): [64, 96, 80, 90, 70], ("pull", "awr"): [80]})])
    text = capsys.readouterr().out
    assert "awr has 5, 1 runs in the tasks; those with more count more in its IQM and mean." in text
    assert "Fewer than 5 seeds in a task, so the intervals are too narrow: ppo." in text
    assert "ppo has" not in text


def test_files(tmp_path, capsys):
    folder, out = study(tmp_path / "study"), tmp_path / "out"
    compare([folder], out=str(out))
    rows = list(csv.DictReader(io.StringIO((out / "comparison.csv").read_text())))
    assert len(rows) == 8
    first = rows[0]
    assert (first["task"], first["method"], first["seed"]) == ("push", "ppo", "1")
    assert [float(first[key]) for key in ("start", "expert", "last", "score")] == [0.5, 1.0, 0.75, 0.5]
    html = (out / "comparison.html").read_text()
    assert html.count("<svg") == html.count("</svg>") == 3  # profiles, and the curves of two tasks
    names = [part.split('"')[0] for part in html.split('<g id="')[1:]]
    assert len(set(names)) == len(names) == 6
    assert "http" not in html
    assert (out / "comparison.png").stat().st_size > 10_000
    assert "# eval/success_rate over 2 tasks" in (out / "comparison.md").read_text()


def test_beside_other_runs_its_arms_are_those_of_a_task(tmp_path):
    folder = study(tmp_path / "study")
    found = compare([folder, f"mine={write(tmp_path / 'other', logged([0.5, 0.75]))}"])
    assert {arm.label for arm in found.arms} == {
        "mine",
        *(f"study: {method} on {task}" for task in ("push", "pull") for method in ("ppo", "awr")),
    }


@pytest.mark.parametrize(
    ("experts", "options", "says"),
    [
        (("0.5", "1"), {}, r"expert of task push has 0\.5 and the start policy 0\.5"),
        (("pickcube/weak", "nobody/here"), {}, "nobody/here"),
        (("", ""), {"metric": "eval/length"}, "eval/length is no rate, so the study has to say what a score of 1 is"),
        (("pickcube/expert", "1"), {"metric": "eval/nothing"}, "pickcube/expert of task push says nothing of nothing"),
    ],
)
def test_what_makes_no_score_is_refused(tmp_path, experts, options, says):
    folder = study(tmp_path, experts=tuple(zip(("push", "pull"), experts, strict=True)))
    with pytest.raises(UserError, match=says) as refused:
        compare([folder], **options)
    assert is_sentence(str(refused.value))


def test_a_policy_of_the_zoo_is_an_expert(tmp_path):
    found = compare([study(tmp_path, experts=(("push", "pickcube/expert"), ("pull", "1")))])
    assert found.tasks[0].expert == 0.99


def test_a_study_without_completed_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="No run of task push is completed") as refused:
        compare([study(tmp_path, status="failed")])
    assert is_sentence(str(refused.value))
