"""The loss of quantiles of a return.

Source: Dabney, Rowland, Bellemare, Munos 2018, "Distributional Reinforcement Learning with Quantile Regression",
1710.10044, equation 10; summed and averaged as in Dabney et al. 2018, 1806.06923, equation 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quantile_huber(predicted: Tensor, tau: Tensor, target: Tensor, kappa: float) -> Tensor:
    """sum_i mean_j |tau_i - 1(u_ij < 0)| Huber(u_ij) / kappa, with u_ij = target_j - predicted_i.

    Where all |u| are below kappa this fits expectiles, not quantiles: kappa has to be small beside the returns.

    Args:
        predicted: quantiles `[B, n]`.
        tau: their levels `[B, n]`.
        target: samples of the return `[B, m]`, without gradient.
        kappa: where the loss turns from squared to linear, above 0.

    Returns:
        Losses `[B]`.
    """
    error = target[:, None, :] - predicted[:, :, None]  # [B, n, m]
    size = error.abs()
    # Without branches: with c = min(|u|, kappa) Huber is c (|u| - c / 2).
    inner = size.clamp(max=kappa)
    huber = inner * (size - 0.5 * inner) / kappa
    weight = (tau[:, :, None] - (error.detach() < 0).to(tau.dtype)).abs()
    return (weight * huber).mean(2).sum(1)


def stratified(size: int, count: int, generator: torch.Generator) -> Tensor:
    """Levels `[size, count]`, one in each of `count` equal parts of (0, 1), in which it is uniform."""
    drawn = torch.rand(size, count, generator=generator, device=generator.device)
    return (torch.arange(count, device=generator.device) + drawn) / count
