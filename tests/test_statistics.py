import pytest
import torch

from rlft.statistics import summarize, wilson
from rlft.types import EpisodeResults


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
