"""The tensors of a file by name, without what training scripts wrap around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlft.errors import UserError

AROUND = {"module", "_orig_mod"}  # of DistributedDataParallel and torch.compile, wherever they stand in a name
IN_FRONT = {"agent", "model", "model_state_dict", "state_dict", "actor_critic", "policy", "network"}
RENAMED = {"actor_state_dict": "actor", "critic_state_dict": "critic"}
TRAINING = re.compile(r"(\w*_)?(optim|optimizers?|lr_schedulers?|rng_states?|rnd)(_\w*)?")  # what only training needs
STATISTICS = re.compile(r".*(obs|state|input).*(mean|std|var|scale|eps|clip).*", re.IGNORECASE)
AT_THE_END = re.compile(r".*(out|last|final).*", re.IGNORECASE)
NOTHING = re.compile(r".*\b(none|identity|linear)\b.*", re.IGNORECASE)  # as an activation
LIGHTNING = "pytorch-lightning_version"
DEEPEST = 20  # dicts in dicts; a pickle may hold one that holds itself


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    tensors: dict[str, Tensor]
    activations: frozenset[str] = frozenset()  # what it calls its activation, in any words


def contents_of(content: Any) -> Contents:
    """Whatever a file holds, nested or not, as tensors by name.

    Raises:
        UserError: if two tensors have one name once unwrapped, or one holds no numbers. Says it of "it", the file.
    """
    entries = list(_entries(content, ()))
    words = [(names[-1], leaf) for names, leaf in entries if isinstance(leaf, str)]
    activations = frozenset(_activation(key, word) for key, word in words if "activation" in key and not _is_none(word))
    if isinstance(content, Mapping) and LIGHTNING in content:  # the rest of it is about training
        entries = list(_entries(content.get("state_dict"), ()))
    return Contents(_unwrapped(entries), activations)


def _is_none(word: str) -> bool:
    return not word or NOTHING.fullmatch(word) is not None


def _activation(key: str, word: str) -> str:
    return f"{word} at the end" if AT_THE_END.fullmatch(key) else word  # which is none that rlft has


def _entries(content: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything that is no dict and no list of dicts, with the keys that lead there."""
    if len(names) > DEEPEST:
        raise UserError(f"its entries lie more than {DEEPEST} deep in one another, as those of no policy do.")
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _entries(value, (*names, str(key)))
    elif isinstance(content, list | tuple) and any(isinstance(item, Mapping) for item in content):
        for number, item in enumerate(content):
            yield from _entries(item, (*names, str(number)))
    elif names:
        yield names, content


def _unwrapped(entries: list[tuple[tuple[str, ...], Any]]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    wrapped: dict[str, str] = {}
    for names, leaf in entries:
        whole = ".".join(names)
        parts = _without_wrapping(whole)
        tensor = _tensor(".".join(parts), leaf)
        if tensor is None or TRAINING.fullmatch(parts[0]):
            continue
        name = ".".join(parts)
        if name in tensors:
            raise UserError(f"it has the tensor {name} twice, as {wrapped[name]} and as {whole}; keep one of them.")
        tensors[name], wrapped[name] = tensor, whole
    return tensors


def _without_wrapping(name: str) -> list[str]:
    parts = [part for part in name.split(".") if part not in AROUND] or [name]
    while len(parts) > 1 and parts[0] in IN_FRONT:
        parts = parts[1:]
    return [RENAMED.get(parts[0], parts[0]), *parts[1:]]


def _tensor(name: str, leaf: Any) -> Tensor | None:
    """The numbers of an entry, also those of statistics that are no tensors, as they must not go unnoticed."""
    if isinstance(leaf, list | tuple | float) and leaf and STATISTICS.fullmatch(name) and _are_numbers(leaf):
        return torch.tensor(leaf, dtype=torch.float64)
    if not isinstance(leaf, Tensor):
        return None
    if leaf.is_meta or leaf.layout != torch.strided or leaf.is_quantized:
        raise UserError(f"its tensor {name} is not made of plain numbers (meta, sparse or quantized).")
    return leaf.detach()


def _are_numbers(leaf: Any) -> bool:
    return all(isinstance(item, float) for item in (leaf if isinstance(leaf, list | tuple) else [leaf]))
