"""How well predictions fit."""

import torch
from torch import Tensor


def correlation(x: Tensor, y: Tensor) -> float:
    """Pearson's, of `[M]` each; NaN if one of them does not vary, or there is but one."""
    if len(x) < 2:
        return float("nan")
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def calibration_slope(prediction: Tensor, target: Tensor) -> float:
    """Slope of the regression of the target on the prediction, `[M]` each: 1 if calibrated, less if too extreme."""
    if target.numel() < 2:
        return float("nan")
    covariance = torch.cov(torch.stack([prediction, target]))
    return float(covariance[0, 1] / covariance[0, 0])


def explained_variance(prediction: Tensor, target: Tensor) -> float:
    """1 - Var(target - prediction) / Var(target); 0 where the target does not vary."""
    if target.numel() < 2:
        return 0.0
    variance = target.var()
    return float(1 - (target - prediction).var() / variance) if variance > 0 else 0.0


def spread(values: Tensor) -> float:
    """The standard deviation (ddof 1) of all numbers of a tensor; 0 for fewer than two, as `normalize` takes it."""
    return float(values.std()) if values.numel() > 1 else 0.0
