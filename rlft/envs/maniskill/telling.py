"""What a task tells of its steps beside observation and reward, and of its episodes.

Class attributes or properties of a task, all of them optional:

    behaviour = {"farthest": ("moved", "max")}
    failures = [("never_moves_it", {"farthest": (None, 0.001)}), ("does_not_move_it_far_enough", {})]
    reward_definition = {"version": 2}

The first are numbers of an episode: an entry of `info`, and how its steps are summed up, by mean, min, max or last. The
second are kinds of failed episodes, of which the first counts whose ranges, ends included, hold for all these numbers.
The third is what the reward depends on, in place of all options and of the source. Entries of `info` that begin with
`reward/` are taken for the terms of the reward, those with `reward_input/` for what it is made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from rlft.errors import UserError
from rlft.types import REWARD_INPUT, REWARD_TERM, Behaviour, Failure, Measure, Over


def behaviour_of(task: str, env: Any) -> Behaviour:
    """What a task tells of its episodes.

    Raises:
        UserError: if it says so in another form.
    """
    told, kinds = getattr(env, "behaviour", {}), getattr(env, "failures", ())
    try:
        measures = tuple(Measure(str(name), str(entry), over) for name, (entry, over) in dict(told).items())
        failures = tuple(
            Failure(str(kind), {str(name): (low, high) for name, (low, high) in dict(within).items()})
            for kind, within in kinds
        )
    except (TypeError, ValueError) as error:
        raise UserError(
            f"Task {task}: behaviour must be like {{'farthest': ('moved', 'max')}} and failures like "
            "[('never_moves_it', {'farthest': (None, 0.001)})]."
        ) from error
    _check(task, measures, failures)
    return Behaviour(measures, failures)


def _check(task: str, measures: tuple[Measure, ...], failures: tuple[Failure, ...]) -> None:
    names = [measure.name for measure in measures]
    for name in (*names, *(failure.kind for failure in failures)):
        if not name.isidentifier():
            raise UserError(f"Task {task}: {name!r} of behaviour or failures must be a word of letters, digits and _.")
    for measure in measures:
        if measure.over not in get_args(Over):
            raise UserError(
                f"Task {task}: behaviour {measure.name} is summed up by {measure.over!r}; choose one of "
                f"{', '.join(get_args(Over))}."
            )
    for failure in failures:
        if unknown := [name for name in failure.within if name not in names]:
            has = ", ".join(names) or "none"
            raise UserError(f"Task {task}: failures {failure.kind} asks for {unknown[0]}; its behaviour has {has}.")


def entries_told(task: str, behaviour: Behaviour, info: Mapping[str, Any], num_envs: int) -> tuple[str, ...]:
    """The entries of a step's `info` that are passed on.

    Raises:
        UserError: if one is not there, or is not one number per scene.
    """
    wanted = [measure.entry for measure in behaviour.measures]
    wanted += [name for name in info if name.startswith((REWARD_TERM, REWARD_INPUT))]
    for name in wanted:
        value = info.get(name)
        if not (isinstance(value, Tensor) and value.shape == (num_envs,)):
            found = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
            is_there = f"is {found}" if name in info else "is not there"
            raise UserError(
                f"Task {task}: {name!r} of a step's info {is_there}; it must be a tensor with a number per scene."
            )
    return tuple(dict.fromkeys(wanted))


def reward_definition(env: Any) -> str:
    """What a task says that its reward depends on, as json; nothing if it does not say."""
    stated = getattr(env, "reward_definition", None)
    return "" if stated is None else json.dumps(dict(stated), sort_keys=True, default=repr)
