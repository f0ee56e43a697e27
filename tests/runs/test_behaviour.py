"""What a policy does, in words and in tables."""

from rlft.runs.behaviour import failure_sentence, measures
from rlft.runs.prose import behaviour_table

ROW = {
    "eval/success_rate": 0.125,
    "eval/behaviour/max_cube_z": 0.0123,
    "eval/failed/hovers_open_handed": 0.75,
    "eval/failed/grasps_but_does_not_lift": 0.0,
    "eval/failed/does_something_else": 0.125,
    "eval_stochastic/failed/hovers_open_handed": 1.0,
}


def test_a_sentence_has_the_most_frequent_first_and_leaves_out_what_never_happens():
    assert (
        failure_sentence(ROW)
        == "It fails in 87.5% of its episodes: hovers open handed in 75.0%, does something else in 12.5%."
    )
    assert (
        failure_sentence(ROW, "eval_stochastic/") == "It fails in 100.0% of its episodes: hovers open handed in 100.0%."
    )


def test_tasks_that_tell_nothing_have_no_sentence():
    assert failure_sentence({"eval/success_rate": 0.5}) == ""
    assert failure_sentence({"eval/failed/hovers": 0.0}) == "It fails in none of its episodes."
    assert behaviour_table([{"iteration": 0, "eval/success_rate": 0.5}]) == []


def test_a_report_has_a_row_per_evaluation_and_the_last_one_in_words():
    rows = [{"iteration": 0, **ROW}, {"iteration": 1, "losses/value_loss": 1.0}, {"iteration": 2, **ROW}]
    assert measures(ROW) == {"max_cube_z": 0.0123}
    assert behaviour_table(rows) == [
        f"The last policy: i{failure_sentence(ROW)[1:]}",
        "",
        "| iteration | max cube z |",
        "|---:|---:|",
        "| 0 | 0.012 |",
        "| 2 | 0.012 |",
    ]
