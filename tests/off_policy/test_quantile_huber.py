"""The quantile regression, against numbers worked out by hand."""

import math

import pytest
import torch

from rlft.off_policy.quantile_huber import quantile_huber, stratified


def test_a_loss_worked_out_by_hand():
    """kappa 1, tau .25 and .75, predictions 0 and 2, targets 1, 0.5 and 4.

    tau .25, prediction 0: u = 1, .5, 4; Huber .5, .125, 3.5; weight .25: mean .25 * 4.125 / 3 = .34375.
    tau .75, prediction 2: u = -1, -1.5, 2; Huber .5, 1, 1.5; weights .25, .25, .75: mean (.125 + .25 + 1.125) / 3 = .5.
    """
    predicted, tau = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.25, 0.75]])
    target = torch.tensor([[1.0, 0.5, 4.0]])
    assert quantile_huber(predicted, tau, target, 1.0).tolist() == pytest.approx([0.84375])
    assert quantile_huber(predicted.flip(1), tau.flip(1), target, 1.0).tolist() == pytest.approx([0.84375])
    # kappa 0.5: Huber / kappa is |u| - 0.25 beyond it.
    first = 0.25 * (0.75 + 0.25 + 3.75) / 3
    second = (0.25 * 0.75 + 0.25 * 1.25 + 0.75 * 1.75) / 3
    assert quantile_huber(predicted, tau, target, 0.5).tolist() == pytest.approx([first + second])


def test_too_high_at_a_high_level_weighs_little():
    predicted = torch.tensor([[0.0]], requires_grad=True)
    slopes = []
    for target in (-5.0, 5.0):
        (slope,) = torch.autograd.grad(
            quantile_huber(predicted, torch.tensor([[0.9]]), torch.tensor([[target]]), 1.0).sum(), predicted
        )
        slopes.append(slope.item())
    assert slopes == pytest.approx([0.1, -0.9])


def fitted(target, tau, kappa, steps=600):
    """What minimises the loss of levels `[n]` for targets `[m]`."""
    predicted = torch.full_like(tau, 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([predicted], lr=0.02)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        optimizer.zero_grad()
        quantile_huber(predicted[None], tau[None], target[None], kappa).sum().backward()
        optimizer.step()
    return predicted.detach()


def test_with_a_small_kappa_it_finds_quantiles():
    tau = torch.tensor([0.1, 0.5, 0.9])
    found = fitted((torch.arange(200) + 0.5) / 200, tau, 0.005)  # uniform: the quantile is the level
    assert torch.allclose(found, tau, atol=0.02)


def test_with_a_large_kappa_it_finds_expectiles():
    """Their mean is not that of the return: p / (2p - 1) - p (1 - p) ln(p / (1 - p)) / (2p - 1)^2, .184 for p = .1."""
    p = 0.1
    tau = (torch.arange(100) + 0.5) / 100
    found = fitted(torch.tensor([1.0] + [0.0] * 9), tau, 1.0).mean().item()
    assert found == pytest.approx(p / (2 * p - 1) - p * (1 - p) * math.log(p / (1 - p)) / (2 * p - 1) ** 2, abs=0.01)


def test_levels_are_one_in_each_part():
    levels = stratified(1000, 4, torch.Generator().manual_seed(0))
    assert torch.equal((levels * 4).long(), torch.arange(4).expand(1000, 4))
    assert (levels * 4 % 1).mean().item() == pytest.approx(0.5, abs=0.02)
