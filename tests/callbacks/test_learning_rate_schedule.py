import pytest

from rlft.callbacks import LearningRateSchedule
from rlft.errors import UserError
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.schedules import Rates
from tests.support.training import UPDATES, MemoryLogger, data, fit, module, run, scalars


@pytest.mark.parametrize(
    ("options", "factors"),
    [
        ({"points": [(1, 0.5), (3, 0.1)]}, [0.5, 0.5, 0.5, 0.1, 0.1]),
        ({"points": [(1, 0.5), (3, 0.1)], "interpolation": "linear"}, [0.5, 0.5, 0.3, 0.1, 0.1]),
        ({"points": [(80, 0.5), (200, 0.1)], "unit": "env_steps"}, [0.5, 0.5, 0.5, 0.1, 0.1]),
        (
            {"points": [(80, 0.5), (240, 0.1)], "unit": "env_steps", "interpolation": "linear"},
            [0.5, 0.5, 0.3, 0.1, 0.1],
        ),
    ],
)
def test_every_gradient_step_of_an_iteration_has_the_rate_of_its_beginning(options, factors):
    logger, rates = MemoryLogger(), Rates()
    fit(
        module(learning_rate=1e-3, critic_learning_rate=4e-3),
        data(),
        5,
        [LearningRateSchedule(**options), rates],
        logger,
    )
    for network, rate in (("actor", 1e-3), ("critic", 4e-3)):
        assert rates.used[network] == pytest.approx([rate * f for f in factors for _ in range(UPDATES)])
        logged = [(80 * i, pytest.approx(rate * f)) for i, f in enumerate(factors, start=1)]
        assert logger.series(f"charts/learning_rate/{network}") == logged


def test_a_group_of_its_own():
    before = module(learning_rate=1e-3)
    model = module(learning_rate=1e-3)
    model.load_state_dict(before.state_dict())
    fit(model, data(), 2, [LearningRateSchedule([(0, 0.0)], group="actor.encoder"), rates := Rates()])
    assert rates.used == {
        name: [r] * 2 * UPDATES for name, r in (("actor.encoder", 0), ("actor", 1e-3), ("critic", 1e-3))
    }
    start, end = weights_of(before), weights_of(model)
    assert same(start, end, "actor.encoder")
    assert {name for name in start if start[name].equal(end[name])} == {
        n for n in start if n.startswith("actor.encoder")
    }


def test_from_the_command_line(tmp_path):
    """Also that a second one may follow."""
    options = (
        "--trainer.callbacks+=LearningRateSchedule",
        "--trainer.callbacks.points=[[0, 1.0], [1, 0.25]]",
        "--trainer.callbacks+=LearningRateSchedule",
        "--trainer.callbacks.points=[[0, 0.5]]",
        "--trainer.callbacks.group=*.log_std",
    )
    metrics = scalars(run(tmp_path, *options, "--model.learning_rate=0.001"))
    for name, rates in (("actor", [1e-3, 0.25e-3]), ("actor: *.log_std", [0.5e-3, 0.125e-3])):
        assert [value for _, value in metrics[f"charts/learning_rate/{name}"]] == pytest.approx(rates)


def test_mistakes_are_refused():
    with pytest.raises(UserError, match="at least 0") as refused:
        LearningRateSchedule([(0, -0.5)])
    assert is_sentence(str(refused.value))
    with pytest.raises(UserError, match=r"LearningRateSchedule.group: there is no submodule 'actor.nose'") as refused:
        fit(module(), data(), 1, [LearningRateSchedule([(0, 0.5)], group="actor.nose")])
    assert is_sentence(str(refused.value))
