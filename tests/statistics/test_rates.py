import pytest
import torch
from scipy.stats import binomtest

from rlft.statistics.evaluations import summarize
from rlft.statistics.rates import Estimate, mcnemar_p, newcombe, p_text, paired, phi, wilson
from rlft.types import Behaviour, EpisodeResults, Failure, Measure


@pytest.mark.parametrize(
    ("successes", "episodes", "interval"),
    [
        (84, 134, (0.5425, 0.7041)),
        (100, 128, (0.7020, 0.8441)),
        (128, 128, (0.9709, 1.0)),
        (0, 5, (0.0, 0.4345)),
        (950, 1000, (0.9347, 0.9619)),
    ],
)
def test_wilson(successes, episodes, interval):
    assert wilson(successes, episodes) == pytest.approx(interval, abs=5e-5)


def test_summary_of_episodes():
    results = EpisodeResults(
        success_once=torch.tensor([True, True, False, False]),
        success_at_end=torch.tensor([True, False, False, False]),
        episode_return=torch.tensor([1.0, 2.0, 3.0, 4.0]),
        length=torch.tensor([5, 10, 50, 50]),
    )
    # centre (0.5 + z^2/8) / (1 + z^2/4) = 0.5, half width z sqrt(0.25/4 + z^2/64) / (1 + z^2/4) = 0.34996
    assert summarize(results) == pytest.approx(
        {
            "success_rate": 0.5,
            "success_rate_low": 0.15004,
            "success_rate_high": 0.84996,
            "success_at_end": 0.25,
            "return": 2.5,
            "episode_length": 28.75,
        },
        abs=1e-5,
    )


def test_failed_episodes_have_the_first_kind_that_fits():
    """Numbers x of five episodes, of which the first succeeds; bounds are included."""
    results = EpisodeResults(
        success_once=torch.tensor([True, False, False, False, False]),
        success_at_end=torch.zeros(5, dtype=torch.bool),
        episode_return=torch.zeros(5),
        length=torch.full((5,), 50),
        behaviour=torch.tensor([[9.0, 0.0], [2.0, 0.0], [2.0, 5.0], [1.0, 0.0], [7.0, 1.0]]),
    )
    kinds = (
        Failure("small", {"x": (None, 1)}),
        Failure("odd", {"x": (2, 2), "y": (1, None)}),
        Failure("odd", {"y": (1, 1)}),
    )
    found = summarize(results, Behaviour((Measure("x", "x", "mean"), Measure("y", "y", "max")), kinds))
    assert found["behaviour/x"] == pytest.approx(4.2)
    shares = {name: value for name, value in found.items() if name.startswith("failed/")}
    assert shares == {"failed/small": 0.2, "failed/odd": 0.4, "failed/does_something_else": 0.2}
    assert found["success_rate"] + sum(shares.values()) == pytest.approx(1)
    assert "behaviour/x" not in summarize(results)  # nobody has said what the columns are


def test_newcombe_by_the_published_example():
    """Newcombe 1998, table II (a): 56/70 against 48/80, method 10: 0.2000 [0.0524, 0.3339]."""
    first, second = Estimate(56 / 70, 0.6918, 0.8769), Estimate(48 / 80, 0.4904, 0.7004)
    found = newcombe(first, second)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=2e-4)


def outcomes(both, first, second, neither):
    """Successes of two policies in as many equal initial states of each kind."""
    kinds = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return zip(*kinds, strict=True)


def test_newcombe_of_pairs_by_the_published_example():
    """Newcombe 1998, paired data, cells 36, 12, 2, 0, method 10: 0.2000 [0.0569, 0.3404]."""
    found = paired(*outcomes(36, 12, 2, 0))
    interval = found.difference.value, found.difference.low, found.difference.high
    assert interval == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    assert (found.won, found.lost, found.p) == (12, 2, pytest.approx(2 * (1 + 14 + 91) / 2**14))


def test_pairs_that_agree_are_told_apart_better_than_unpaired_ones():
    alike = paired(*outcomes(60, 10, 2, 28)).difference
    unlike = paired(*outcomes(34, 36, 28, 2)).difference
    first, second = Estimate(0.70, 0.6042, 0.7811), Estimate(0.62, 0.5221, 0.7090)  # 70 and 62 of 100 in both
    unpaired = newcombe(first, second)
    assert alike.value == unlike.value == pytest.approx(unpaired.value)
    assert alike.high - alike.low < unpaired.high - unpaired.low < unlike.high - unlike.low


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((8, 2, 2, 8), (64 - 4 - 10) / 100),  # the correction takes away half of the episodes
        ((5, 4, 5, 6), 0.0),  # 30 - 20 is no more than half of the episodes
        ((2, 8, 8, 2), (4 - 64) / 100),  # nothing is taken from a negative one
        ((10, 0, 0, 0), 0.0),  # one of them always succeeds: no correlation is defined
    ],
)
def test_correlation_of_pairs_by_hand(cells, expected):
    assert phi(*cells) == pytest.approx(expected)


@pytest.mark.parametrize("pairs", [(12, 2), (3, 3), (0, 5), (1, 2), (560, 17)])
def test_mcnemar_agrees_with_scipy(pairs):
    assert mcnemar_p(*pairs) == mcnemar_p(*reversed(pairs)) == pytest.approx(binomtest(pairs[0], sum(pairs)).pvalue)


def test_mcnemar_of_equal_outcomes():
    assert mcnemar_p(0, 0) == 1.0


def test_a_p_value_is_never_printed_as_zero():
    assert [p_text(p) for p in (0.25, 0.001, 0.0009, float("nan"))] == ["0.250", "0.001", "< 0.001", "-"]
