"""The whole command: its tables against a computation of their own, its files, its mistakes, its start."""

import csv
import itertools
import math
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from rlft.cli import main
from rlft.comparison.comparison import Question, compare_groups
from rlft.comparison.run_groups import select
from rlft.comparison.svg import ticks
from rlft.runs import outcomes
from rlft.runs.outcomes import Episodes
from rlft.runs.prose import is_rate
from rlft.statistics.rates import wilson
from tests.support.comparison import iterations, run_folder, write
from tests.support.hand_made import REPO, is_sentence

RATES = {  # by seed; all numbers of episodes out of 128
    "gamma0.8": {1: [0.25, 0.5, 0.625, 0.75], 2: [0.25, 0.375, 0.5, 0.625], 3: [0.25, 0.5, 0.75, 0.875]},
    "gamma0.99": {1: [0.25, 0.375, 0.375, 0.5], 2: [0.25, 0.5, 0.875, 0.25], 3: [0.25, 0.25, 0.375, 0.375]},
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    for (arm, seeds), sim_steps in zip(RATES.items(), (100, 300), strict=True):
        for seed, rates in seeds.items():
            run_folder(logs, f"{arm}-seed{seed}", rates, sim_steps=sim_steps)
    write(logs.parent / "ManiSkill__ppo__1__1721000000", {"eval/success_once": {0: 0.25, 150: 0.5, 250: 0.625}})
    return logs


def output(capsys, *arguments):
    assert main(["compare", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def cells(text, title):
    """The rows of a markdown table: first cell to `{column: cell}`."""
    lines = itertools.takewhile(bool, text.split(f"## {title}\n\n", 1)[1].splitlines())
    columns, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def percentiles(values):
    """All resamples of three seeds: the exact bootstrap distribution of their mean."""
    means = [np.mean(sample) for sample in itertools.product(values, repeat=3)]
    return np.percentile(means, [2.5, 97.5], method="inverted_cdf")


def shown(values):
    low, high = percentiles(values)
    return f"{100 * np.mean(values):.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def test_results_to_the_digit(logs, capsys):
    results = cells(output(capsys, logs), "Results")
    for arm, seeds in RATES.items():
        rates = np.array(list(seeds.values()))
        row = results[arm]
        assert row["seeds"] == "3"
        assert row["last, mean"] == shown(rates[:, 3])
        assert row["last, IQM"] == shown(rates[:, 3])  # a quarter of three seeds is none
        low, high = percentiles(rates[:, 3] - rates[:, 0])
        assert row["change (points)"] == f"{100 * (rates[:, 3] - 0.25).mean():+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        assert row["last 20%, mean"] == shown(rates[:, 3])  # one of three evaluations
        assert row["best (biased upwards)"] == shown(rates[:, 1:].max(1))
        assert row["area"] == shown((rates[:, 0] / 2 + rates[:, 1] + rates[:, 2] + rates[:, 3] / 2) / 3)
    assert results["gamma0.8"]["env steps to 50.0%"] == "100 (3 of 3)"
    assert results["gamma0.99"]["env steps to 50.0%"] == "300 (2 of 3)"
    assert (results["gamma0.8"]["collapsed"], results["gamma0.99"]["collapsed"]) == ("0", "1 of 3")


def test_evaluations_to_the_digit(logs, capsys):
    table = cells(output(capsys, logs), "eval/success_rate by env steps, mean")
    assert list(table) == ["0", "100", "200", "300"]
    for i, row in enumerate(table.values()):
        for arm, seeds in RATES.items():
            assert row[arm] == shown([rates[i] for rates in seeds.values()])


def test_differences(logs, capsys):
    row = difference(capsys, logs)
    first, second = (np.array([rates[-1] for rates in seeds.values()]) for seeds in RATES.values())
    low, high = percentiles(first - second)
    assert (
        row["difference of the last (points)"]
        == f"{100 * (first - second).mean():+.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    )
    assert row["interval over"] == "paired seeds"
    assert row["p"] == "0.250"  # all differences are positive: 2 of 8 flips
    assert row["P(first > second)"].startswith("1.00")


def difference(capsys, *arguments):
    (row,) = cells(output(capsys, *arguments), "Differences").values()
    return row


def test_seeds_are_paired_by_their_numbers(logs, capsys):
    low, high = f"low={logs}/gamma0.8-seed", f"high={logs}/gamma0.99-seed"
    in_order = difference(capsys, f"{low}1", f"{low}3", f"{high}1", f"{high}3")
    assert in_order["interval over"] == "paired seeds"
    assert in_order["difference of the last (points)"] == "+37.5 [25.0, 50.0]"  # 25 in seed 1, 50 in seed 3
    assert difference(capsys, f"{low}3", f"{low}1", f"{high}1", f"{high}3") == in_order


def test_seeds_that_are_not_the_same_or_not_known_are_not_paired(logs, tmp_path, capsys):
    for name in ("a", "b"):
        run_folder(tmp_path, f"{name}-unknown", [0.25, 0.5])
    unknown = (
        f"low={tmp_path}/a-*",
        f"low={logs}/gamma0.8-seed1",
        f"high={tmp_path}/b-*",
        f"high={logs}/gamma0.99-seed1",
    )
    others = (f"low={logs}/gamma0.8-seed[12]", f"high={logs}/gamma0.99-seed[23]")
    for arguments in (unknown, others):
        row = difference(capsys, *arguments)
        assert (row["interval over"], row["p"]) == ("seeds", "-")


def test_single_runs_differ_with_the_uncertainty_of_their_episodes(logs, capsys):
    """75% and 50% of 128: Newcombe's interval from Wilson's (66.8, 81.7) and (41.5, 58.5)."""
    row = difference(capsys, f"low={logs}/gamma0.8-seed1", f"high={logs}/gamma0.99-seed1")
    assert row["difference of the last (points)"] == "+25.0 [13.2, 35.8]"
    assert (row["interval over"], row["p"], row["P(first > second)"]) == ("episodes", "-", "-")


def run_that_tells_episodes(logs, name, successes, states="PickCube-v1, seed 5", episodes=128, ahead=False):
    """The first so many episodes of its last evaluation succeed; `ahead` adds one that no event file has."""
    run = run_folder(logs, name, [0.25, 0.25, 0.25, successes / 128])
    success = tuple(i < successes for i in range(episodes))
    for step in (300, 400) if ahead else (300,):
        outcomes.add(run / "version_0", Episodes("eval/success_rate", step, states, success))
    return run


def test_single_runs_from_equal_initial_states_are_compared_in_pairs(tmp_path, capsys):
    """96 and 64 of 128, the same 64 in both: phi = (64 * 32 - 64) / sqrt(96 * 32 * 64 * 64)."""
    text = output(
        capsys, run_that_tells_episodes(tmp_path, "more", 96), run_that_tells_episodes(tmp_path, "less", 64, ahead=True)
    )
    (row,) = cells(text, "Differences").values()
    (below, above), (low, high) = wilson(96, 128), wilson(64, 128)
    phi = (64 * 32 - 64) / math.sqrt(96 * 32 * 64 * 64)
    down = math.sqrt((0.75 - below) ** 2 - 2 * phi * (0.75 - below) * (high - 0.5) + (high - 0.5) ** 2)
    up = math.sqrt((above - 0.75) ** 2 - 2 * phi * (above - 0.75) * (0.5 - low) + (0.5 - low) ** 2)
    assert row["difference of the last (points)"] == f"+25.0 [{25 - 100 * down:.1f}, {25 + 100 * up:.1f}]"
    assert (row["interval over"], row["p"], row["P(first > second)"]) == ("paired episodes", "< 0.001", "-")
    assert "McNemar" in text
    assert "flipping the signs" not in text


def test_a_single_run_has_changed_by_the_pairs_of_its_own_episodes(tmp_path, capsys):
    """The 32 that succeed at first and 64 more: a tighter interval than that of independent episodes."""
    run = run_that_tells_episodes(tmp_path, "more", 96)
    independent = cells(output(capsys, run), "Results")["more"]["change (points)"]
    outcomes.add(
        run / "version_0", Episodes("eval/success_rate", 0, "PickCube-v1, seed 5", (True,) * 32 + (False,) * 96)
    )
    text = output(capsys, run)
    assert cells(text, "Runs")["more"]["change (points)"] == "+50.0"
    (below, above), (low, high) = wilson(96, 128), wilson(32, 128)
    phi = (32 * 32 - 64) / math.sqrt(96 * 32 * 32 * 96)
    down = math.sqrt((0.75 - below) ** 2 - 2 * phi * (0.75 - below) * (high - 0.25) + (high - 0.25) ** 2)
    up = math.sqrt((above - 0.75) ** 2 - 2 * phi * (above - 0.75) * (0.25 - low) + (0.25 - low) ** 2)
    paired = cells(text, "Results")["more"]["change (points)"]
    assert paired == f"+50.0 [{50 - 100 * down:.1f}, {50 + 100 * up:.1f}]" != independent


def test_a_run_with_one_evaluation_has_not_changed(tmp_path, capsys):
    run = write(tmp_path / "once", {"eval/success_rate": {0: 0.25}})
    assert cells(output(capsys, run), "Results")["once"]["change (points)"] == "-"


@pytest.mark.parametrize("other", [{"states": "PickCube-v1, seed 6"}, {"episodes": 127}])
def test_other_initial_states_are_not_paired(tmp_path, capsys, other):
    runs = [run_that_tells_episodes(tmp_path, "more", 96), run_that_tells_episodes(tmp_path, "less", 64, **other)]
    row = difference(capsys, *runs)
    assert (row["interval over"], row["p"]) == ("episodes", "-")


def test_episodes_of_another_evaluation_than_the_last_are_not_paired(tmp_path, capsys):
    """The second run was continued; the event file of its later version lacks what it has evaluated again."""
    more, less = (run_that_tells_episodes(tmp_path, name, n) for name, n in (("more", 96), ("less", 64)))
    (less / "version_0/status.json").unlink()  # so that its versions are merged
    again = Episodes("eval/success_rate", 300, "PickCube-v1, seed 5", (True,) * 128)
    outcomes.add(less / "version_1", again)
    write(less / "version_1", {"charts/x": {300: 1.0}})
    assert difference(capsys, more, less)["interval over"] == "episodes"


def test_notes_tell_only_of_what_the_table_shows(logs, capsys):
    several = output(capsys, logs)
    assert "flipping the signs" in several
    assert "McNemar" not in several
    single = output(capsys, f"low={logs}/gamma0.8-seed1", f"high={logs}/gamma0.99-seed1")
    assert "flipping the signs" not in single
    assert "P(first > second): " not in single
    assert "taken for independent" in single
    length = output(
        capsys, f"low={logs}/gamma0.8-seed1", f"high={logs}/gamma0.99-seed1", "--metric", "charts/actor_updates"
    )
    assert "taken for independent" not in length


def test_a_single_run_against_several_differs_without_an_interval(logs, capsys):
    row = difference(capsys, f"low={logs}/gamma0.8-seed1", f"high={logs}/gamma0.99-seed[12]")
    assert (row["difference of the last (points)"], row["interval over"]) == ("+37.5", "-")


def test_costs_and_runs(logs, capsys):
    text = output(capsys, logs)
    costs = cells(text, "Costs of a run, mean over seeds")
    assert list(costs["gamma0.99"].values())[1:] == ["300", "900", "9", "-", "0.03"]
    assert text.count("| gamma0.99 | 2 | 4 | 25.0% | 25.0% | +0.0 | 25.0% | 87.5% |") == 1


def test_what_policies_do_is_told_of_tasks_that_tell(tmp_path, capsys):
    """Two seeds that hover in 50% and 100% of their last episodes, and a run of earlier code that does not tell."""
    for seed, hovers, height in ((1, 0.5, 0.02), (2, 1.0, 0.04)):
        told = {
            "eval/behaviour/max_cube_z": {0: 0.01, 300: height},
            "eval/failed/hovers_open_handed": {0: 1.0, 300: hovers},
            "eval/failed/grasps_but_does_not_lift": {0: 0.0, 300: 0.0},
        }
        folder = run_folder(tmp_path, f"lift-seed{seed}", [0.0, 0.0, 0.0, 1 - hovers])
        write(folder / "version_0", told)
    run_folder(tmp_path, "old-seed1", [0.0, 0.5])
    out = tmp_path / "out"
    text = output(capsys, f"new={tmp_path}/lift-*", f"old={tmp_path}/old-*", f"--out={out}")
    table = cells(text, "What the policies of the last evaluations do, mean over seeds")
    assert {arm: row["max cube z"] for arm, row in table.items()} == {"new": "0.03", "old": "-"}
    assert "new, last evaluation: It fails in 75.0% of its episodes: hovers open handed in 75.0%." in text
    assert "old, last evaluation" not in text
    with (out / "comparison.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"].startswith("eval/")]
    found = {(row["run"], row["quantity"].split("/")[2]): float(row["mean"]) for row in rows}
    assert found["", "max_cube_z"] == pytest.approx(0.03)
    assert found["lift-seed2", "hovers_open_handed"] == 1
    assert len(found) == 9


def test_other_tasks_have_no_table_of_what_policies_do(logs, capsys):
    assert "What the policies" not in output(capsys, logs)


def test_other_axes(logs, capsys):
    hours = cells(output(capsys, logs, "--x=training_hours"), "eval/success_rate by training hours, mean")
    assert list(hours) == ["0.000", "0.010", "0.020", "0.030"]
    steps = cells(output(capsys, logs, "--x=sim_steps"), "eval/success_rate by simulator steps, mean")
    assert [row["gamma0.8"] != "" for row in steps.values()] == [True, True, True, True, False, False]
    assert list(steps) == ["0", "100", "200", "300", "600", "900"]
    assert steps["0"]["gamma0.99"] == steps["200"]["gamma0.99"] != steps["300"]["gamma0.99"]  # the latest one counts


def test_a_long_table_of_evaluations_keeps_every_arms_end(tmp_path, capsys):
    for name, evaluations in {"long": 200, "short": 101}.items():
        run_folder(tmp_path, f"{name}-seed1", np.linspace(0, 1, evaluations).tolist())
    table = cells(output(capsys, tmp_path), "eval/success_rate by env steps, mean")
    assert len(table) <= 27
    assert table["19,900"]["long"].startswith("100.0%")
    assert table["10,000"]["short"].startswith("100.0%")
    assert list(table.values())[-1]["short"] == ""


def test_csv_has_the_evaluations_that_the_table_leaves_out(tmp_path, capsys):
    run_folder(tmp_path, "long-seed1", np.linspace(0, 1, 300).tolist())
    text = output(capsys, tmp_path, f"--out={tmp_path / 'out'}")
    assert "The table of evaluations does not show all of them; comparison.csv" in text
    rows = csv.DictReader((tmp_path / "out/comparison.csv").open())
    assert [float(row["mean"]) for row in rows if row["quantity"] == "evaluation"] == pytest.approx(
        np.linspace(0, 1, 300)
    )


def test_a_run_of_another_tool_beside_ours(logs, capsys):
    other = f"ManiSkill={logs.parent}/ManiSkill__*"
    text = output(capsys, f"ours={logs}/gamma0.8-*", other, "--episodes=128")
    assert cells(text, "Results")["ManiSkill"]["last, mean"] == "62.5% [53.9, 70.4]"  # Wilson of 80 of 128
    assert "Wilson interval" in text
    without = output(capsys, other)
    assert cells(without, "Results")["ManiSkill"]["last, mean"] == "62.5%"
    assert "so there is no interval (--episodes would give Wilson's): ManiSkill." in without


def test_runs_that_end_elsewhere_are_named(tmp_path, capsys):
    for seed, rates in {1: [0.1, 0.2, 0.3], 2: [0.1, 0.2]}.items():
        run_folder(tmp_path, f"ppo-seed{seed}", rates)
    text = output(capsys, tmp_path)
    assert "The runs of ppo end at 100 to 200 env steps, so their last evaluations are not alike." in text
    assert list(cells(text, "eval/success_rate by env steps, mean")) == ["0", "100"]


def test_arms_that_end_elsewhere_are_named(tmp_path, capsys):
    for arm, evaluations in {"long": 9, "short": 3, "shorter": 2}.items():
        for seed in (1, 2):
            run_folder(tmp_path, f"{arm}-seed{seed}", [0.25] * evaluations)
    said = "Arms end at 100 (shorter) to 800 (long) env steps, so the differences of the last evaluations are between"
    assert said in output(capsys, tmp_path)


def test_runs_that_go_on_in_a_folder_of_their_own_are_named(tmp_path, capsys):
    run_folder(tmp_path, "new-seed1", [0.25, 0.5, 0.5])
    write(tmp_path / "more-seed1/version_0", iterations([0.5, 0.75], begin=3))
    text = output(capsys, tmp_path)
    (note,) = (line for line in text.splitlines() if line.startswith("- Gone on from other runs"))
    assert note.endswith("their start was not evaluated: more-seed1.")


def test_a_log_that_was_started_again_shows_one_curve_and_says_so(tmp_path, capsys):
    write(tmp_path / "ppo-seed1", iterations([0.1, 0.2, 0.9, 0.9, 0.9]))
    write(tmp_path / "ppo-seed1", iterations([0.3, 0.4], begin=3))
    text = output(capsys, tmp_path)
    row = cells(text, "Results")["ppo"]
    assert (row["last, mean"], row["best (biased upwards)"]) == ("40.0% [31.8, 48.5]", "40.0%")  # Wilson of 51 of 128
    assert "- ppo-seed1 was started again from step 300 after it had come further; left out is what" in text


def test_values_that_are_no_numbers_are_named(tmp_path, capsys):
    write(tmp_path / "lost-seed1/version_0", {"eval/return": {0: 1.0, 9: 5.0, 18: math.nan, 27: math.inf}})
    text = output(capsys, tmp_path, "--metric=eval/return")
    assert "2 values of eval/return of lost-seed1 are no numbers and left out: it may be lost." in text


def test_runs_with_no_stretch_in_common_have_final_numbers_and_no_curve(tmp_path, capsys):
    for seed, begin in {1: 1, 2: 9}.items():
        write(tmp_path / f"ppo-seed{seed}" / "version_0", iterations([0.25, 0.5], begin=begin))
    text = output(capsys, tmp_path, f"--out={tmp_path / 'out'}")
    row = cells(text, "Results")["ppo"]
    assert (row["last, mean"], row["area"]) == ("50.0% [50.0, 50.0]", "-")
    assert "by env steps, mean" not in text
    assert "so there are no areas: ppo-seed1 ends at 200, ppo-seed2 begins at 900." in text


def test_offline_runs_are_told_apart_by_iteration(tmp_path, capsys):
    """Logged by iteration, with the same data all along: by env steps only the last evaluation counts."""
    numbers = {"eval/success_rate": {0: 0.25, 1: 0.5, 2: 0.75}, "steps/env": {1: 500, 2: 500}}
    write(tmp_path / "offline" / "version_0", {**numbers, "time/iteration": {1: 1.0, 2: 1.0}})
    text = output(capsys, tmp_path / "offline")
    assert cells(text, "eval/success_rate by env steps, mean")["500"] == {"env steps": "500", "offline": "75.0%"}
    assert "another --x tells them apart: offline." in text
    by_iteration = output(capsys, tmp_path / "offline", "--x=iteration")
    assert list(cells(by_iteration, "eval/success_rate by iteration, mean")) == ["0", "1", "2"]
    assert "tells them apart" not in by_iteration


def test_files(logs, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    text = output(capsys, logs, f"--out={tmp_path / 'new' / 'out'}")
    out = tmp_path / "new" / "out"
    assert {path.name for path in out.iterdir()} == {f"comparison.{kind}" for kind in ("md", "csv", "png", "html")}
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert cells((out / "comparison.md").read_text(), "Results") == cells(text, "Results")
    rows = list(csv.DictReader((out / "comparison.csv").open()))
    evaluations, scores, costs, of_a_run, of_a_pair = 4, 6, 5, 4 + 8, 3
    assert len(rows) == 2 * (evaluations + scores + costs + 3 * of_a_run) + of_a_pair
    last = next(row for row in rows if row["arm"] == "gamma0.8" and row["quantity"] == "last")
    assert float(last["mean"]) == pytest.approx(0.75)
    lasts = [
        float(row["mean"]) for row in rows if row["arm"] == "gamma0.8" and row["run"] and row["quantity"] == "last"
    ]
    assert sorted(lasts) == sorted(seed[3] for seed in RATES["gamma0.8"].values())
    difference = next(row for row in rows if row["quantity"] == "difference of the last, interval over paired seeds")
    assert difference["arm"] == "gamma0.8 - gamma0.99"
    never = next(row for row in rows if row["quantity"] == "reached" and row["arm"] == "gamma0.99" and not row["mean"])
    assert never["run"].startswith("gamma0.99-seed")
    point = next(row for row in rows if row["arm"] == "gamma0.99" and row["env_steps"] == "200.0")
    assert float(point["mean"]) == pytest.approx((0.375 + 0.875 + 0.375) / 3)


def test_the_page_needs_nothing_else(logs, tmp_path, capsys):
    output(capsys, logs, f"--out={tmp_path}")
    html = (tmp_path / "comparison.html").read_text()
    for outside in ("http", "src=", "href=", "url(", "@import"):
        assert outside not in html
    assert html.count("<circle") == 2 * 4
    assert "<title>gamma0.8, 300: 75.0% [62.5, 87.5]</title>" in html
    assert "<td>25.0% [25.0, 25.0]</td>" in html
    assert unclosed(html) == []


def unclosed(html):
    """Elements that are opened and not closed, in order."""
    opened = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "input"):
                opened.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed(html)
    return opened


def test_what_is_a_rate():
    names = ("eval/success_rate", "eval/success_at_end", "rollout/success_once", "is_success")
    assert all(map(is_rate, names))
    assert not any(map(is_rate, ("eval/return", "eval/steps_to_success", "losses/unsuccessful")))


def test_returns_have_a_threshold_and_collapse_only_if_asked(tmp_path, capsys):
    """A fall of 0.2 is one of success; of a return of thousands it is noise."""
    run = tmp_path / "Hopper-v4__ppo__1__1700000000"
    write(run, {"charts/episodic_return": {0: 100.0, 9: 2000.0, 18: 1500.0}})
    options = (run, "--metric=charts/episodic_return")
    text = output(capsys, *options)
    assert list(cells(text, "Results")["Hopper-v4__ppo"])[-1] == "area"
    assert "collapse" not in text.lower()
    assert "nan" not in text.lower()
    asked = output(capsys, *options, "--threshold=1000", "--collapse=300")
    assert (row := cells(asked, "Results")["Hopper-v4__ppo"])["collapsed"] == "1 of 1"
    assert row["env steps to 1000"] == "9 (1 of 1)"
    assert "fell more than 300 below" in asked


def test_labels_cannot_break_the_page(logs, tmp_path, capsys):
    output(capsys, f"<b>&|={logs}/gamma0.8-*", f"--out={tmp_path}")
    assert "<b>" not in (tmp_path / "comparison.html").read_text()
    assert "\\<b>&\\|" in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize("label", ["$\\frac$", "cost $5 vs $6", "_hidden"])
def test_labels_cannot_break_the_picture(logs, tmp_path, label):
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot

    from rlft.comparison.figure import draw

    question = Question("eval/success_rate", "env_steps", 0.5, 0.2)
    comparison = compare_groups(select([f"{label}={logs}/gamma0.8-*"], question.metric), question)
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyplot, "close", shown.append)
        draw(comparison, tmp_path / "picture")
    (legend,) = shown[0].legends
    assert [(text.get_text(), text.get_parse_math()) for text in legend.get_texts()] == [(f"{label} (3 seeds)", False)]


def test_without_matplotlib_there_is_everything_but_the_picture(logs, tmp_path, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "rlft.comparison.figure", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = output(capsys, logs, f"--out={tmp_path}")
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".csv", ".html"}
    assert "There is no comparison.png: matplotlib is missing" in text


MISTAKES = {
    "{logs}/nowhere": "There is no run",
    "{logs} --metric=eval/nonsense": "has no eval/nonsense; it has eval/success_rate",
    "{logs} --x=nonsense": "nonsense",
    "{logs} --nonsense=1": "nonsense",
    "--x=iteration": "runs",
    "{logs} --episodes=0": "--episodes is 0",
    "{logs} --collapse=-1": "--collapse is -1",
    "{logs} --threshold=90": "--threshold is 90; success is a share, so it must be at most 1.",
    "{logs} --collapse=20": "--collapse is 20; success is a share",
    "{logs} --out=": "--out is empty",
    "{logs} --out={logs}/../taken": "holds a folder comparison.html",
    "{logs} --out={logs}/gamma0.8-seed1/version_0/file/below": "cannot be made a directory",
    "{logs} --out={logs}/curves.HTML": "curves.HTML is the folder that files go into",
}


@pytest.mark.parametrize("options", MISTAKES)
def test_mistakes(logs, capsys, options):
    (logs / "gamma0.8-seed1" / "version_0" / "file").touch()
    (logs.parent / "taken/comparison.html").mkdir(parents=True, exist_ok=True)
    assert main(["compare", *options.format(logs=logs).split()]) == 1
    error = capsys.readouterr().err
    assert MISTAKES[options] in error
    assert is_sentence(error)
    assert [path.name for path in (logs.parent / "taken").iterdir()] == ["comparison.html"]


@pytest.mark.parametrize("options", [[], ["--metric=eval/nonsense"], ["--nonsense=1"]])
def test_neither_lightning_nor_torch_is_imported(logs, options):
    heavy = ("lightning", "torch", "scipy", "tensorflow", "matplotlib", "pandas")
    code = f"""
import sys
from rlft.cli import main
main(["compare", {str(logs)!r}, *{options}])
assert "rlft.comparison.comparison" in sys.modules
sys.exit(",".join(name for name in {heavy} if name in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("values", [[0, 50_000], [0.0, 0.03], [-3.0, 999.9], [7.0], [], [0, 1000], [1e-9, 2e-9]])
def test_ticks_are_round_and_around_the_values(values):
    found = ticks(values)
    assert 2 <= len(found) <= 13
    assert all(found[0] <= value <= found[-1] for value in values)
    assert np.diff(found) == pytest.approx(found[1] - found[0])
