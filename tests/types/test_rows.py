import torch

from rlft.types import EpisodeResults


def results(start, stop):
    number = torch.arange(start, stop)
    return EpisodeResults(number % 2 == 0, number % 3 == 0, number.float(), number)


def test_rows_are_selected_joined_and_counted_in_every_field():
    everything, joined = results(0, 6), EpisodeResults.cat([results(0, 2), results(2, 6)])
    assert len(joined) == 6
    for name in ("success_once", "success_at_end", "episode_return", "length"):
        assert torch.equal(getattr(joined, name), getattr(everything, name))
        assert torch.equal(getattr(everything[2:4], name), getattr(results(2, 4), name))
        assert torch.equal(getattr(everything.to("cpu")[[1]], name), getattr(results(1, 2), name))
