"""Numbers that are not finite: where they are, what surrounds them, and what to do about them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.modules.parameters import and_more
from rlft.runs import directory
from rlft.types import AdvantageEstimate, Rollout, TensorRows

if TYPE_CHECKING:
    from rlft.modules.iteration import IterationModule

OnBadNumbers = Literal["stop", "skip"]
REPORT = "bad_numbers.json"  # in the run directory


def without_bad_rows(module: IterationModule, rollout: Rollout, estimate: AdvantageEstimate) -> AdvantageEstimate:
    """An estimate `[T, N]` whose mask leaves out, if that is wanted, what is not finite.

    Raises:
        UserError: if it is not. What the estimator has masked itself may hold anything.
    """
    # Not `next_obs`: an estimator that looks at it where it is not finite says so in the advantages.
    quantities = {  # causes before effects
        "obs": rollout.obs,
        "action": rollout.action,
        **({"log_prob": rollout.log_prob} if module.actor.can("log_prob") else {}),
        "reward": rollout.reward,
        "value": estimate.value,
        "advantage": estimate.advantage,
        "value_target": estimate.value_target,
    }
    good = estimate.mask  # [T, N]
    for values in quantities.values():
        good = good & _finite_rows(values, 2)
    bad = int((estimate.mask & ~good).sum())
    if not bad:
        return estimate
    if module.on_bad_numbers == "skip":
        module.add_metrics({"charts/bad_rows": bad})
        return dataclasses.replace(estimate, mask=good)
    found = _described({**quantities, "next_obs": rollout.next_obs}, estimate.mask)
    name = next(name for name, values in found.items() if values["bad_rows"])
    step, env = found[name]["first_bad_row"]
    what = f"{bad} of {good.numel()} transitions are not finite, first the {name} of step {step} in environment {env}"
    raise _stopped(module, what, {"rows": good.numel(), "bad_rows": bad, "quantities": found})


def bad_weights(module: IterationModule) -> UserError | None:
    """What to say if weights are not finite."""
    if not (names := _bad_tensors(dict(module.named_parameters()))):
        return None
    what = f"after minibatch {module.minibatch_number} the weights {_listed(names)} are not finite"
    return _stopped(module, what, {"minibatch": module.minibatch_number, "bad_weights": names})


def bad_step(module: IterationModule, loss: Tensor, batch: TensorRows) -> UserError | None:
    """What to say of a loss or gradients that are not finite; nothing if the step is to be skipped."""
    weights = _bad_tensors(dict(module.named_parameters()))
    if module.on_bad_numbers == "skip" and not weights:  # a skipped step would not mend those
        return None
    gradients = _bad_tensors({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    if weights:
        what = f"the weights {_listed(weights)} are not finite"
    elif not loss.isfinite():
        what = f"the loss is {float(loss)}"
    else:  # the norm of finite gradients may be infinite
        what = f"the gradient of {_listed(gradients or ['all weights together'])} is not finite"
    number, everywhere = module.minibatch_number, torch.ones(len(batch), dtype=torch.bool, device=batch.device)
    details = {
        "minibatch": number,
        "rows": len(batch),
        "loss": str(float(loss)),
        "bad_weights": weights,
        "bad_gradients": gradients,
        "quantities": _described(_quantities(module, batch), everywhere),
    }
    return _stopped(module, f"in minibatch {number} of {len(batch)} rows {what}", details)


def _quantities(module: IterationModule, batch: TensorRows) -> dict[str, Tensor]:
    """What a minibatch holds, `[B, ...]`, and what the networks make of it."""
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    floating = {k: v for k, v in fields.items() if isinstance(v, Tensor) and v.is_floating_point()}
    with torch.no_grad():
        return {**floating, "mean_action": module.actor.mode(fields["obs"]), "critic": module.critic(fields["obs"])}


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


def _stopped(module: IterationModule, what: str, details: Mapping[str, Any]) -> UserError:
    where = _write(module.trainer, {"iteration": module.iteration, "what": what, **details})
    return UserError(
        f"Iteration {module.iteration} of the run cannot go on: {what}; checkpoints are of the iterations before"
        f"{f', details in {where}' if where else ''}."
    )


def _write(trainer: Any, details: Mapping[str, Any]) -> Path | None:
    """Writes the details into the run directory, if there is one."""
    folder = directory.of_trainer(trainer)
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
