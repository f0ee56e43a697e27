"""Numbers that are not finite: where they are, and what surrounds them. What to do about them, a module decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.rows import entries_of
from rlft.modules.parameters import and_more
from rlft.types import AdvantageEstimate, Rollout, TensorRows

OnBadNumbers = Literal["stop", "skip"]
REPORT = "bad_numbers.json"  # in the run directory


@dataclass(frozen=True)
class Finding:
    """Where numbers that are not finite appeared."""

    what: str  # the part of a sentence
    details: Mapping[str, Any]  # for the file beside it, as json has them


def good_rows(rollout: Rollout, labels: AdvantageEstimate | None) -> Tensor:
    """Which transitions, `[T, N]` bool, have only finite numbers in what is learned from."""
    good = torch.ones_like(rollout.done)
    for values in _quantities(rollout, labels).values():
        good = good & _finite_rows(values, 2)
    return good


def in_rows(rollout: Rollout, labels: AdvantageEstimate | None, among: Tensor) -> Finding:
    """What to say of the rows `among` (`[T, N]` bool), of which some are not finite."""
    found = _described({**_quantities(rollout, labels), "next_obs": rollout.next_obs.state}, among)
    bad = int((among & ~good_rows(rollout, labels)).sum())
    name = next(name for name, values in found.items() if values["bad_rows"])
    step, env = found[name]["first_bad_row"]
    what = f"{bad} of {among.numel()} transitions are not finite, first the {name} of step {step} in environment {env}"
    return Finding(what, {"rows": among.numel(), "bad_rows": bad, "quantities": found})


def in_weights(module: nn.Module, minibatch: int) -> Finding | None:
    """What to say of weights after a minibatch, if they are not finite."""
    if not (names := bad_weights(module)):
        return None
    what = f"after minibatch {minibatch} the weights {_listed(names)} are not finite"
    return Finding(what, {"minibatch": minibatch, "bad_weights": names})


def bad_weights(module: nn.Module) -> list[str]:
    """The names of those that are not finite."""
    return _bad_tensors(dict(module.named_parameters()))


def in_step(
    module: nn.Module, minibatch: int, loss: Tensor, batch: TensorRows, outputs: Mapping[str, Tensor]
) -> Finding:
    """What to say of a loss or gradients that are not finite.

    Args:
        module: whose weights and gradients these are.
        minibatch: its number within the iteration, from 1.
        loss: of the minibatch.
        batch: the minibatch, `[B]`.
        outputs: what the networks make of it, `[B, ...]` each.
    """
    weights = bad_weights(module)
    gradients = _bad_tensors({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    if weights:
        what = f"the weights {_listed(weights)} are not finite"
    elif not loss.isfinite():
        what = f"the loss is {float(loss)}"
    else:  # the norm of finite gradients may be infinite
        what = f"the gradient of {_listed(gradients or ['all weights together'])} is not finite"
    everywhere = torch.ones(len(batch), dtype=torch.bool, device=batch.device)
    details = {
        "minibatch": minibatch,
        "rows": len(batch),
        "loss": str(float(loss)),
        "bad_weights": weights,
        "bad_gradients": gradients,
        "quantities": _described({**_floating(batch), **outputs}, everywhere),
    }
    return Finding(f"in minibatch {minibatch} of {len(batch)} rows {what}", details)


def error_of(finding: Finding, iteration: int, folder: Path | None) -> UserError:
    """The sentence that ends the run; the details are written into its directory, if there is one."""
    where = _write(folder, {"iteration": iteration, "what": finding.what, **finding.details})
    return UserError(
        f"Iteration {iteration} of the run cannot go on: {finding.what}; checkpoints are of the iterations before"
        f"{f', details in {where}' if where else ''}."
    )


def _quantities(rollout: Rollout, labels: AdvantageEstimate | None) -> dict[str, Tensor]:
    """What is learned from, `[T, N, ...]` each; causes before effects."""
    # Not `next_obs`: an estimator that looks at it where it is not finite says so in the advantages.
    found = {"obs": rollout.obs.state, "action": rollout.action, "log_prob": rollout.log_prob, "reward": rollout.reward}
    if labels is None:
        return found
    return {**found, "value": labels.value, "advantage": labels.advantage, "value_target": labels.value_target}


def _floating(batch: TensorRows) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in entries_of(batch).items() if tensor.is_floating_point()}


def _finite_rows(values: Tensor, row_dims: int) -> Tensor:
    """Which rows, `[T, N]` or `[B]`, have only finite numbers."""
    finite = values.isfinite()
    return finite.flatten(row_dims).all(-1) if finite.ndim > row_dims else finite


def _bad_tensors(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]


def _described(quantities: Mapping[str, Tensor], among: Tensor) -> dict[str, dict[str, Any]]:
    """Of every quantity the range of its finite numbers, and which of the rows `among` (bool) hold others."""
    found: dict[str, dict[str, Any]] = {}
    for name, values in quantities.items():
        bad = (among & ~_finite_rows(values, among.ndim)).nonzero()
        known = values[values.isfinite()]
        found[name] = {
            "min": float(known.min()) if len(known) else None,
            "max": float(known.max()) if len(known) else None,
            "bad_rows": len(bad),
            "first_bad_row": bad[0].tolist() if len(bad) else None,
        }
    return found


def _write(folder: Path | None, details: Mapping[str, Any]) -> Path | None:
    """Writes the details into the run directory, if there is one."""
    if folder is None:
        return None
    path = folder / REPORT
    with suppress(OSError):  # a full disk must not hide why the run ended
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(details, indent=1) + "\n")
        return path
    return None


def _listed(names: Sequence[str]) -> str:
    return names[0] + and_more(names)
