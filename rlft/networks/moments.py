"""Mean and standard deviation of what a network gets, by which it standardises."""

from torch import Tensor, where

SMALLEST = 1e-6  # standard deviation of what varies; what does not keeps its scale


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale `[I]` of `rows [M, I]`: subtract the one, divide by the other."""
    scale = rows.std(0)
    return rows.mean(0), where(scale > SMALLEST, scale, 1.0)
