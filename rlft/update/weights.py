"""Exponential weights of advantages, for the updates that imitate weighted actions.

Peng, Kumar, Zhang, Levine 2019, "Advantage-Weighted Regression", equation 9 and section 5.
"""

import math

import torch
from torch import Tensor

from rlft.errors import UserError

MAX_EXPONENT = 60.0  # also without a `max_weight`: sums of such weights are still finite in single precision


def standardize(advantage: Tensor, mask: Tensor) -> Tensor:
    """`[T, N]` with mean 0 and standard deviation 1 (ddof 1) over the mask; 0 outside it.

    Advantages that are all equal become exactly 0, whatever their mean is rounded to.
    """
    known = advantage[mask].cpu().double()  # [M]; some devices have no double precision
    result = torch.zeros_like(advantage)
    if not bool((known == known[:1]).all()):
        result[mask] = ((known - known.mean()) / (known.std() + 1e-8)).to(result)
    return result


def exponential(advantage: Tensor, beta: float, max_weight: float) -> Tensor:
    """min(exp(A / beta), max_weight), same shape; finite and positive for every finite A."""
    # Clamped before exp, which would overflow.
    return torch.exp((advantage / beta).clamp(-MAX_EXPONENT, min(math.log(max_weight), MAX_EXPONENT)))


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of `values [B]` with `weights [B]` rescaled to mean 1: sum(w x) / sum(w); 0 if all weights are 0."""
    return (weights * values).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def effective_sample_size(weights: Tensor) -> float:
    """Kish's (sum w)^2 / sum w^2 of `weights [M]`, as a share of M: 1 if they are equal."""
    weights = weights.cpu().double()  # squares of large weights overflow single precision
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def check_positive(name: str, value: float) -> None:
    """Refuses a value that is not above 0.

    Raises:
        UserError: if it is not.
    """
    if not value > 0:  # also NaN
        raise UserError(f"model.update.{name} is {value}; it must be greater than 0.")
