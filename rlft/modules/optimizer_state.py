"""Adam's moments in a checkpoint: saved and restored by the name of the tensor, however tensors are grouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rlft.errors import UserError
from rlft.modules.parameters import ParameterGroup, and_more

NAMES = "optimizer_parameters"  # key of the checkpoint


def tensor_names(groups: Sequence[ParameterGroup]) -> list[str]:
    """Of all tensors, in the order in which an optimiser of these groups numbers them."""
    return [name for group in groups for name in group.parameters]


def moments_of(checkpoint: Mapping[str, Any], groups: Sequence[ParameterGroup]) -> dict[int, dict[str, Tensor]]:
    """Adam's state in a checkpoint, by the numbers that an optimiser of `groups` gives the tensors.

    Raises:
        UserError: if the checkpoint does not name its tensors.
    """
    if NAMES not in checkpoint:
        raise UserError(
            "The checkpoint does not say which tensor is which in its optimiser; --reset_optimizer true goes on "
            "without Adam's moments."
        )
    saved: Mapping[int, dict[str, Tensor]] = checkpoint["optimizer_states"][0]["state"]
    moments = {name: saved[i] for i, name in enumerate(checkpoint[NAMES]) if i in saved}
    return {i: moments[name] for i, name in enumerate(tensor_names(groups)) if name in moments}


def refuse_other_tensors(ours: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuses weights of a checkpoint that are not those of a module.

    Raises:
        UserError: if `state` lacks some of `ours`, has others, or has them in other shapes.
    """
    lacking, unknown = ([n for n in one if n not in other] for one, other in ((ours, state), (state, ours)))
    misfit = [name for name in ours if name in state and state[name].shape != ours[name].shape]
    found = [f"it has no {lacking[0]}{and_more(lacking)}"] if lacking else []
    found += [f"it has {unknown[0]}{and_more(unknown)}, unknown here"] if unknown else []
    if misfit:
        there, here = (list(tensors[misfit[0]].shape) for tensors in (state, ours))
        found += [f"its {misfit[0]} is {there}, here {here}{and_more(misfit)}"]
    if found:
        raise UserError(
            f"The checkpoint does not fit this configuration: {'; '.join(found)}. To go on, networks, estimator "
            "and update have to be those it was made with; to start a new run from its policy use --model.policy."
        )
