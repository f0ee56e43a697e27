"""What tensors cannot tell, from the words in a file and from the json beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.networks.mlp import ACTIVATIONS, Activation

OTHER_NAMES = {"swish": "silu"}
KEYS = ("activation", "log_std")


@dataclass(frozen=True)
class Hints:
    """The activation after every hidden layer, and the log standard deviation; `None` is not said."""

    beside: Path  # the json in which they may be said
    activation: Activation | None = None
    log_std: float | None = None


def hints_of(beside: Path, info: dict[str, Any], activations: Iterable[str]) -> Hints:
    """What a file and the json beside it say; takes it out of `info`, which is that json.

    Raises:
        UserError: if they contradict each other, or say what rlft does not have. Says it of "it", the file.
    """
    found = {_activation(text) for text in (*activations, *([info.pop(KEYS[0])] if KEYS[0] in info else []))}
    if len(found) > 1:
        raise UserError(f"it has the activations {' and '.join(sorted(found))}; {beside} may say one, not another one.")
    log_std = info.pop(KEYS[1], None)
    finite = isinstance(log_std, int | float) and not isinstance(log_std, bool) and math.isfinite(log_std)
    if log_std is not None and not finite:
        raise UserError(f"log_std in {beside} is {log_std!r}; it must be a number.")
    return Hints(beside, next(iter(found), None), log_std)


def _activation(text: object) -> Activation:
    """`relu` of `ReLU`, `nn.ReLU` or `<class 'torch.nn.modules.activation.ReLU'>`."""
    word = re.search(r"(\w+)\W*$", str(text)[:200])
    name = "" if word is None else word[1].lower()
    name = OTHER_NAMES.get(name, name)
    for known in ACTIVATIONS:
        if name == known:
            return known  # type: ignore[return-value]  # the keys are the activations
    raise UserError(f"its activation is {str(text)[:100]!r}; rlft has {', '.join(ACTIVATIONS)}.")
