"""From a batch to minibatches: every transition exactly once per epoch."""

from collections.abc import Iterator
from typing import TypeVar

import torch

from rlft.types import TensorRows

Rows = TypeVar("Rows", bound=TensorRows)


def minibatches(batch: Rows, num_minibatches: int, epochs: int, generator: torch.Generator) -> Iterator[Rows]:
    """`epochs` passes over `batch`, each newly shuffled and split into `num_minibatches` (nearly) equal parts."""
    for _ in range(epochs):
        order = torch.randperm(len(batch), generator=generator).to(batch.device)
        for rows in order.tensor_split(num_minibatches):
            if len(rows):  # fewer estimates than minibatches
                yield batch[rows]
