"""Parameters by the names of their submodules, and the groups in which an optimiser has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from rlft.errors import UserError


@dataclass(frozen=True)
class ParameterGroup:
    """Tensors that have one learning rate."""

    network: str  # the submodule they belong to, `actor` or `critic`
    names: tuple[str, ...]  # the names or globs that set them apart, sorted
    parameters: dict[str, nn.Parameter]  # by name

    @property
    def name(self) -> str:
        """`actor` or, of a part, `actor.encoder`; no two groups have the same."""
        parts = [name if name.startswith(self.network) else f"{self.network}: {name}" for name in self.names]
        return " + ".join(parts) or self.network


def matching(module: nn.Module, name: str, setting: str) -> dict[str, nn.Parameter]:
    """The parameters of a submodule, by name: `critic`, `actor.encoder.0`, `actor.log_std`, `*.log_std`.

    Args:
        module: that has them.
        name: of a submodule or a parameter, or a glob of such names; `*` matches dots as well.
        setting: for the sentence of the error, where the name comes from.

    Raises:
        UserError: if there are none.
    """
    found = {key: parameter for key, parameter in module.named_parameters() if _names(name, key)}
    if not found:
        tops = sorted({".".join(key.split(".")[:2]) for key, _ in module.named_parameters()})
        raise UserError(f"{setting}: there is no submodule {name!r}; try one of {', '.join(tops)}.")
    return found


def parameter_groups(module: nn.Module, networks: Iterable[str], names: Collection[str]) -> list[ParameterGroup]:
    """The parameters of `networks` in groups: all of one network that the same `names` (or globs) concern."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, nn.Parameter]] = {}
    for network in networks:
        for key, parameter in module.get_submodule(network).named_parameters(prefix=network):
            concerned = tuple(sorted(name for name in names if _names(name, key)))
            groups.setdefault((network, concerned), {})[key] = parameter
    return [ParameterGroup(*group, parameters) for group, parameters in groups.items()]


def and_more(names: Sequence[str]) -> str:
    """What follows the first of several names where the others are only counted."""
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _names(name: str, key: str) -> bool:
    return key == name or key.startswith(f"{name}.") or fnmatchcase(key, name) or fnmatchcase(key, f"{name}.*")
