"""Statistics with which a policy normalises its observations, folded into its first layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.networks.foreign.layouts import Layer

SHARED = ("obs_rms", "obs_norm", "obs_normalizer", "obs_norm_state_dict", "running_mean_std", "state_preprocessor")
OF_ACTOR = (*SHARED, "actor_obs_normalizer", "actor.obs_normalizer")
OF_CRITIC = (
    *("critic_obs_normalizer", "critic.obs_normalizer", "privileged_obs_normalizer"),
    *("critic_obs_norm_state_dict", "privileged_obs_norm_state_dict"),
    *SHARED,
)
LARGEST_LOSS = 1e-3  # in what goes into an activation, by rounding to float32


@dataclass(frozen=True)
class Normaliser:
    """(x - mean) / scale of an observation x."""

    name: str
    mean: Tensor  # [O] float64
    scale: Tensor  # [O] float64, positive
    formula: str
    tensors: frozenset[str]  # that it is made of, by name

    def fold(self, layer: Layer) -> Layer:
        """The layer that does to an observation what the given one does to a normalised one.

        Raises:
            UserError: if it has other sizes, or float32 is not precise enough for it.
        """
        if layer.weight.shape[1:] != self.mean.shape:
            raise UserError(
                f"its {self.name} normalises {len(self.mean)} numbers, but {layer.name} takes {layer.weight.shape[1]}."
            )
        weight = layer.weight.double() / self.scale  # [H, O]
        # Folded, W x / s and W m / s are rounded before they cancel each other.
        lost = (weight.abs() @ self.mean.abs()).max() * torch.finfo(torch.float32).eps
        if not lost <= LARGEST_LOSS:
            raise UserError(
                f"its {self.name} divides by deviations as small as {self.scale.min():.3g}, too small beside the means "
                "to be folded into a layer of float32 numbers."
            )
        return replace(layer, weight=weight, bias=layer.bias.double() - weight @ self.mean)


def normaliser(names: tuple[str, ...], tensors: Mapping[str, Tensor]) -> Normaliser | None:
    """The one under the first of these names that there is.

    Raises:
        UserError: if there are several, or it is none of those that are known. Says it of "it", the file.
    """
    found = [name for name in names if any(key.startswith(f"{name}.") for key in tensors)]
    if len(several := [name for name in found if name in OF_ACTOR]) > 1:
        raise UserError(f"it has several normalisers of observations, {' and '.join(several)}; one would be right.")
    return _normaliser(found[0], tensors) if found else None


def _normaliser(name: str, tensors: Mapping[str, Tensor]) -> Normaliser:
    members = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
    if "running_mean" in members:
        raise UserError(
            f"its {name} holds a running mean and variance as of rl_games and skrl, which also clip what they "
            "normalise (to 5), or as of a BatchNorm; rlft has no network that does it."
        )
    rsl_rl, gymnasium = {"_mean", "_std"} <= members.keys(), {"mean", "var"} <= members.keys()
    if not (rsl_rl or gymnasium):
        raise UserError(f"its {name} holds {', '.join(sorted(members))}; rlft reads mean and var, or _mean and _std.")
    mean = members["_mean" if rsl_rl else "mean"].double().reshape(-1)
    spread = members["_std" if rsl_rl else "var"].double().reshape(-1)
    scale = spread + 1e-2 if rsl_rl else (spread + 1e-8).sqrt()  # the defaults of rsl_rl and of gymnasium
    if mean.shape != scale.shape or not bool((scale > 0).all()):  # also NaN
        raise UserError(f"its {name} holds no deviation for every mean, or one that is not positive.")
    known = {"_mean", "_var", "_std", "count"} if rsl_rl else {"mean", "var", "count"}
    used = frozenset(f"{name}.{key}" for key in known & members.keys())
    formula = "(x - mean) / (std + 0.01)" if rsl_rl else "(x - mean) / sqrt(var + 1e-8)"
    return Normaliser(name, mean, scale, formula, used)
