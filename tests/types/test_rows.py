from dataclasses import dataclass

import torch
from torch import Tensor

from rlft.types import EpisodeResults, TensorRows
from tests.support.rollouts import assert_equal


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


@dataclass(frozen=True)
class Nested(TensorRows):
    results: EpisodeResults
    number: Tensor


def nested(start, stop):
    return Nested(results=results(start, stop), number=torch.arange(start, stop))


def test_rows_of_rows_are_selected_joined_and_counted_too():
    everything = nested(0, 6)
    assert len(everything) == 6
    assert everything.device.type == "cpu"
    assert_equal(Nested.cat([nested(0, 2), nested(2, 6)]), everything)
    assert_equal(everything.to("cpu")[[1, 2]], nested(1, 3))
    table = Nested.stack([nested(0, 3), nested(3, 6)])
    assert table.results.length.tolist() == table.number.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert_equal(table[1], nested(3, 6))
    assert_equal(table[:, 1], everything[[1, 4]])
    assert_equal(Nested.cat([table[:, :2], table[:, 2:]], dim=1), table)


def test_rows_are_written_in_place_and_mapped_at_every_depth():
    rows = nested(0, 4)
    rows[[1, 3]] = nested(10, 12)
    assert rows.results.length.tolist() == rows.number.tolist() == [0, 10, 2, 11]
    doubled = rows.map(lambda tensor: 2 * tensor if tensor.dtype == torch.int64 else tensor)
    assert doubled.results.length.tolist() == doubled.number.tolist() == [0, 20, 4, 22]
    assert rows.number.tolist() == [0, 10, 2, 11]
