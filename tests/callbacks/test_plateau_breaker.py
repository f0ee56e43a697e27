import pytest

from rlft.callbacks import PlateauBreaker
from rlft.errors import UserError
from tests.support.hand_made import is_sentence
from tests.support.schedules import Rates, Scripted
from tests.support.training import UPDATES, MemoryLogger, data, fit, module

N = None
FLAT = [0.7] * 13  # which no precision has exactly


def factors(values, first=True, **options):
    """The logged factor of every iteration, after the rates of all gradient steps have been compared with it."""
    breaker, scripted = PlateauBreaker(**{"duration": 2, "cooldown": 4, **options}), Scripted(values)
    rates, logger = Rates(), MemoryLogger()
    callbacks = [breaker, scripted, rates] if first else [scripted, breaker, rates]
    fit(module(learning_rate=1e-3), data(), len(values) - 1, callbacks, logger)
    logged = [value for _, value in logger.series("charts/plateau_factor")]
    for network in ("actor", "critic"):
        assert rates.used[network] == pytest.approx([1e-3 * f for f in logged for _ in range(UPDATES)])
    return logged


@pytest.mark.parametrize("first", [True, False], ids=["before the evaluation", "after it"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_bumps": 1}, [1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1]),
        ({"max_bumps": 2}, [1, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 1]),
        ({"max_bumps": 9, "cooldown": 6}, [1, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2, 1]),
        ({"max_bumps": 9, "duration": 1, "factor": 0.5}, [1, 1, 1, 0.5, 1, 1, 1, 0.5, 1, 1, 1, 0.5]),
    ],
)
def test_bumps_on_a_flat_metric(options, expected, first):
    assert factors(FLAT, first, patience=3, **options) == expected


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([0.5, 0.5, 0.7, 0.5, 0.5, 0.5], {"patience": 3}, [1, 1, 1, 1, 1]),  # as good as 3 iterations ago only now
        ([0.5, 0.5, 0.7, 0.5, 0.5, 0.5, 0.5], {"patience": 3}, [1, 1, 1, 1, 1, 2]),
        ([0.5, 0.5, 0.55, 0.5, 0.5], {"patience": 3, "min_delta": 0.1}, [1, 1, 1, 2]),  # no improvement
        ([0.5, 0.4, 0.6, 0.6, 0.6], {"patience": 2, "mode": "min"}, [1, 1, 1, 2]),
        ([0.5, N, 0.5, N, 0.5, N], {"patience": 3}, [1, 1, 1, 1, 2]),  # the third iteration has not measured it
        ([0.5, N, 0.5, N, 0.9, N], {"patience": 3}, [1, 1, 1, 1, 1]),
        ([0.5, float("nan"), 0.5, 0.5], {"patience": 2}, [1, 1, 2]),
        ([N, 0.5, 0.5, 0.5], {"patience": 2}, [1, 1, 1]),  # not at the start: it is an iteration younger
        ([N, 0.5, 0.5, 0.5, 0.5], {"patience": 2}, [1, 1, 1, 2]),
        ([0.5, 0.5, 0.5, 0.9, 0.9], {"patience": 2}, [1, 1, 2, 2]),  # an improvement ends no bump
    ],
)
def test_when_a_plateau_begins(values, options, expected):
    assert factors(values, **options)[: len(expected)] == expected


def test_a_metric_that_nobody_measures_is_refused():
    with pytest.raises(UserError, match="'eval/succes_rate'") as refused:
        factors(FLAT, monitor="eval/succes_rate")
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    "option",
    [
        {"patience": 0},
        {"duration": 0},
        {"max_bumps": 0},
        {"cooldown": 9},
        {"min_delta": -0.1},
        {"min_delta": float("nan")},
        {"factor": 0.0},
        {"factor": float("inf")},
    ],
)
def test_impossible_settings_are_refused(option):
    (name,) = option
    with pytest.raises(UserError, match=f"PlateauBreaker.{name} is") as refused:
        PlateauBreaker(**{"duration": 5, **option})
    assert is_sentence(str(refused.value))
