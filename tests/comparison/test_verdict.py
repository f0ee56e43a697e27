"""The sentences at the top of a comparison: what they claim, and what they must not."""

import itertools
import re

import pytest

from rlft.comparison.comparison import Question, compare_groups
from rlft.comparison.page import page
from rlft.comparison.report import markdown
from rlft.comparison.run_groups import select
from rlft.comparison.verdict import verdict
from rlft.runs import outcomes
from rlft.runs.outcomes import Episodes
from tests.support.comparison import run_folder, write
from tests.support.hand_made import REPO


def compared(logs, arms, metric="eval/success_rate"):
    """Arms by label: last evaluations by seed, in 128ths; each run began with 32 of them."""
    for label, lasts in arms.items():
        for seed, last in lasts.items():
            run_folder(logs, f"{label}-seed{seed}", [0.25, last / 128])
    names = [f"{label}={logs}/{label}-seed*" for label in arms]
    return compare_groups(select(names, metric), Question(metric, "env_steps", 0.5, 0.2))


def seeds(*lasts):
    return dict(enumerate(lasts, start=1))


def differences(*each):
    """Two arms that differ by so many 128ths, seed by seed."""
    return {"b": seeds(*[32] * len(each)), "a": seeds(*[32 + one for one in each])}


def test_few_seeds_can_never_tell_from_chance_and_how_many_could(tmp_path):
    (said,) = verdict(compared(tmp_path, differences(16, 32, 48)))
    assert said == (
        "a ended above b with all 3 seeds, by 25.0 points [12.5, 37.5]; 3 seeds cannot tell that from chance (p 0.250, "
        "at best 0.250): run 6 or more."
    )
    shown = (REPO / "docs/studies.md").read_text().split("\n> ", 1)[1].split("\n\n")[0].replace("\n> ", " ")
    assert re.sub(r"\d+(\.\d)?", "#", shown) == re.sub(
        r"\d+(\.\d)?", "#", said.replace("a ended above b", "off_policy ended above ppo")
    )


def test_the_least_number_of_seeds_that_can_tell_does_tell(tmp_path):
    """All of six differ one way: 2 of 64 flips are as far from 0; of five it would be 2 of 32, above 0.05."""
    assert "run 6 or more" in verdict(compared(tmp_path / "5", differences(16, 16, 16, 16, 32)))[0]
    (said,) = verdict(compared(tmp_path / "6", differences(16, 16, 16, 16, 16, 32)))
    assert said.startswith("a ended above b with all 6 seeds, by 14.6 points [")
    assert said.endswith("]; that is unlikely to be chance (p 0.031).")


def test_seeds_that_could_tell_and_do_not(tmp_path):
    (said,) = verdict(compared(tmp_path, differences(32, 32, 32, 32, -16, 0)))
    assert said.startswith("a ended above b on average, with 4 of 6 seeds, by 14.6 points [")
    assert "; 6 seeds do not tell that from chance (p 0." in said


@pytest.mark.parametrize("each", [(0, 0, 0), (16, -16, 0)])
def test_arms_that_ended_level_are_not_ranked(tmp_path, each):
    (said,) = verdict(compared(tmp_path, differences(*each)))
    low, high = (-12.5, 12.5) if any(each) else (0.0, 0.0)
    ends = f"[{low:.1f}, {high:.1f}]"
    assert said in {
        f"{pair} ended level on average, with a difference of 0.0 points {ends}." for pair in ("a and b", "b and a")
    }


def test_the_order_of_the_arms_does_not_matter(tmp_path):
    arms = differences(16, 32, 48)
    turned = {label: arms[label] for label in reversed(arms)}
    assert verdict(compared(tmp_path / "1", arms)) == verdict(compared(tmp_path / "2", turned))


def test_other_seeds_have_no_test(tmp_path):
    (said,) = verdict(compared(tmp_path, {"a": seeds(64, 64, 96), "b": seeds(32, 32)}))
    assert said.startswith("a (3 seeds) ended above b (2 seeds) on average, by 33.3 points [")
    assert "; no test tells that from chance, for their seeds are not the same or not known: " in said


def test_one_seed_against_several_has_no_interval_either(tmp_path):
    (said,) = verdict(compared(tmp_path, {"a": seeds(96), "b": seeds(32, 32)}))
    assert said.startswith("a (1 seed) ended above b (2 seeds) on average, by 50.0 points; no test tells that")


@pytest.mark.parametrize(("more", "told"), [(64, "tell"), (34, "do not tell")])
def test_single_runs_are_told_apart_as_policies_only(tmp_path, more, told):
    for label, successes in (("a", more), ("b", 32)):
        folder = run_folder(tmp_path, f"{label}-seed1", [0.25, successes / 128])
        success = tuple(i < successes for i in range(128))
        outcomes.add(folder / "version_0", Episodes("eval/success_rate", 100, "task, seed 5", success))
    (said,) = verdict(compared(tmp_path, {"a": {1: more}, "b": {1: 32}}))
    assert said.startswith("a ended above b, by ")
    assert f"]; episodes from equal initial states {told} these two policies apart (p " in said
    assert said.endswith(", and one run each says nothing of other seeds.")


def test_single_runs_without_episodes(tmp_path):
    (said,) = verdict(compared(tmp_path, {"a": {1: 64}, "b": {1: 32}}))
    assert said.startswith("a ended above b, by 25.0 points [")
    assert said.endswith("]; no test tells that from chance, and one run each says nothing of other seeds.")


def test_a_p_counts_for_all_pairs(tmp_path):
    """6 seeds, p 2 / 64: less than 0.05 for a pair that was asked for, not for the best of three pairs."""
    arms = {"low": seeds(*[16] * 6), "best": seeds(*[64] * 6), "middle": seeds(*[32] * 6)}
    said = verdict(compared(tmp_path, arms))
    assert [one.partition(" with ")[0] for one in said] == ["best ended above middle", "best ended above low"]
    assert all(
        "6 seeds cannot tell that from chance (p 0.031, at best 0.031, times 3 pairs): run 7" in one for one in said
    )


def test_of_many_arms_the_best_against_the_next_ones(tmp_path):
    said = verdict(compared(tmp_path, {f"arm{i}": seeds(32 + i, 34 + i) for i in range(8)}))
    assert [one.split(" ")[:4] for one in said[:-1]] == [["arm7", "ended", "above", f"arm{i}"] for i in (6, 5, 4, 3)]
    assert said[-1] == "3 more ended no higher than these; every pair is in the table of differences."


def test_metrics_on_other_scales_have_no_points(tmp_path):
    for label, last in (("a", 900.0), ("b", 850.5)):
        for seed in (1, 2):
            write(tmp_path / f"{label}-seed{seed}/version_0", {"eval/return": {0: 100.0, 9: last}})
    names = [f"{label}={tmp_path}/{label}-seed*" for label in "ab"]
    question = Question("eval/return", "env_steps", float("nan"), float("nan"))
    (said,) = verdict(compare_groups(select(names, "eval/return"), question))
    assert said.startswith("a ended above b with all 2 seeds, by 49.5 [49.5, 49.5]; 2 seeds cannot tell")


def test_an_arm_alone_has_nothing_to_be_above(tmp_path):
    assert verdict(compared(tmp_path, {"a": seeds(32, 64)})) == []


def test_unequal_budgets_stand_beside_it(tmp_path):
    run_folder(tmp_path, "a-seed1", [0.25, 0.5, 0.75])
    run_folder(tmp_path, "b-seed1", [0.25, 0.5])
    names = [f"{label}={tmp_path}/{label}-seed1" for label in "ab"]
    said = verdict(
        compare_groups(select(names, "eval/success_rate"), Question("eval/success_rate", "env_steps", 0.5, 0.2))
    )
    assert said[1].startswith(
        "Arms end at 100 (b) to 200 (a) env steps, so the differences of the last evaluations are "
    )


def test_it_stands_before_everything_else(tmp_path):
    comparison = compared(tmp_path, {"<b>": seeds(64, 64), "b": seeds(32, 32)})
    (said,) = verdict(comparison)
    lines = markdown(comparison, has_figure=True).splitlines()
    assert lines[2] == said.replace("<b>", "\\<b>")
    assert lines[4] == "![Curves](comparison.png)"
    html = page(comparison)
    assert html.index("</h1>") < html.index(said.replace("<", "&lt;").replace(">", "&gt;")) < html.index("<svg")


def test_no_sentence_claims_more_than_its_p(tmp_path):
    """All patterns of signs and ties over three and over six seeds."""
    claims = 0
    for number, signs in enumerate(itertools.product((-1, 0, 1), repeat=3)):
        for each in (signs, signs * 2):
            comparison = compared(tmp_path / f"{number}-{len(each)}", differences(*(8 * one for one in each)))
            (said,) = verdict(comparison)
            assert ("unlikely to be chance" in said) == (comparison.pairs[0].p <= 0.05)
            claims += "unlikely" in said
    assert claims == 2  # six seeds, all one way or all the other
