"""How a module learns: one Adam, the groups of what it trains, their learning rates, the clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from rlft.modules.parameters import ParameterGroup, matching, parameter_groups

Factor = Callable[[ParameterGroup], float]


class Optimisation:
    """The optimiser's side of a module.

    A learning rate is the product of the network's own rate, the factors of `learning_rate_factors` that name the
    tensor, the annealing, the warm-up, and what the schedules say at the moment; so those of several callbacks compose
    in any order. The warm-up is there because Adam's first steps are as long as the learning rate in every weight,
    whatever the gradient (Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond").

    Args:
        module: whose weights are trained.
        rates: says the learning rate of each network that learns, by the name of its submodule.
        factors: multiply the learning rate of submodules, by name or glob.
        warmup: gradient steps over which learning rates rise linearly from 0.
        anneal: lower the learning rates linearly to 0 over the run.
    """

    def __init__(
        self,
        module: lightning.LightningModule,
        rates: Callable[[], Mapping[str, float]],
        factors: Mapping[str, float],
        warmup: int,
        *,
        anneal: bool,
    ) -> None:
        self.factors = factors
        self.warmup = warmup
        self.anneal = anneal
        self._module, self._rates = module, rates
        self._apart: set[str] = set()
        self._schedules: list[Factor] = []
        self._groups: list[ParameterGroup] = []  # of the running iteration

    def check_names(self) -> None:
        """Refuses factors of submodules that do not exist.

        Raises:
            UserError: if there is one.
        """
        for name in self.factors:
            matching(self._module, name, "model.learning_rate_factors")

    # ---- for callbacks -------------------------------------------------------------------------------------------

    def parameters(self, name: str, setting: str) -> dict[str, nn.Parameter]:
        """The parameters of a submodule by name or glob; see `matching`."""
        return matching(self._module, name, setting)

    def set_apart(self, name: str, setting: str) -> None:
        """Gives a submodule, by name or glob, groups of its own, so that a schedule can concern it alone.

        Raises:
            UserError: if there is none of this name; `setting` says where the name comes from.
        """
        matching(self._module, name, setting)
        self._apart.add(name)

    def multiply(self, factor: Factor) -> None:
        """Multiplies the learning rate of every group by what `factor` says before each gradient step."""
        self._schedules.append(factor)

    def warm_up(self, group: ParameterGroup, steps: int) -> float:
        """The share of a group's learning rate after as many gradient steps as Adam has made with its present moments.

        It rises linearly from 0 to 1 over `steps`, at once if there are none. Checkpoints hold the count.
        """
        if not steps:
            return 1.0
        state = self._adam.state
        made = max((float(state[p]["step"]) for p in group.parameters.values() if p in state), default=0.0)
        return min(1.0, made / steps)

    # ---- groups and rates ----------------------------------------------------------------------------------------

    def groups(self) -> list[ParameterGroup]:
        """All that learns, in groups of equal learning rate."""
        return parameter_groups(self._module, list(self._rates()), {*self.factors, *self._apart})

    def own_factor(self, group: ParameterGroup) -> float:
        """What `learning_rate_factors` multiply the learning rate of a group by."""
        return math.prod(self.factors.get(name, 1.0) for name in group.names)

    def adam(self, rate: float, *, fused: bool) -> torch.optim.Adam:
        """A new one over all groups; rates are set before every gradient step."""
        return torch.optim.Adam(self._of_torch(), lr=rate, eps=1e-5, fused=fused)

    def radam(self, rate: float) -> torch.optim.RAdam:
        """The same as RAdam, whose steps are short until it knows the size of gradients (Liu et al. 2020)."""
        return torch.optim.RAdam(self._of_torch(), lr=rate, eps=1e-4, foreach=True)

    def _of_torch(self) -> list[dict[str, Any]]:
        """The groups as optimisers take them."""
        return [{"params": list(group.parameters.values()), "name": group.name} for group in self.groups()]

    def begin_iteration(self) -> None:
        """Looks which groups there are, and sets their rates."""
        self._groups = self.groups()
        self.set_rates()

    def set_rates(self) -> None:
        """Gives Adam the learning rates of this moment."""
        rates = self._rates()
        trainer = self._module.trainer
        annealed = 1 - trainer.current_epoch / (trainer.max_epochs or 1) if self.anneal else 1.0
        for group, settings in zip(self._groups, self._adam.param_groups, strict=True):
            rate = annealed * rates[group.network] * self.own_factor(group)
            rate *= self.warm_up(group, self.warmup)
            for factor in self._schedules:
                rate *= factor(group)
            settings["lr"] = rate

    def rates(self) -> dict[str, float]:
        """The learning rates as they are, by the name of their group."""
        return {str(settings["name"]): float(settings["lr"]) for settings in self._adam.param_groups}

    @property
    def _adam(self) -> torch.optim.Optimizer:
        return self._module.trainer.optimizers[0]


@dataclass(frozen=True)
class Gradients:
    """Those of some networks together."""

    parameters: Sequence[nn.Parameter]
    norm: Tensor  # [], of all of them

    def clip(self, max_norm: float) -> None:
        """Scales them, in place, to a norm of at most `max_norm`."""
        torch.nn.utils.clip_grads_with_norm_(self.parameters, max_norm, self.norm)


def gradients_of(networks: Iterable[Sequence[nn.Parameter]]) -> list[Gradients]:
    """Of each of the networks, given by their parameters, that has some."""
    learning = [ps for ps in networks if any(p.grad is not None for p in ps)]
    return [Gradients(ps, torch.nn.utils.get_total_norm([p.grad for p in ps if p.grad is not None])) for ps in learning]
