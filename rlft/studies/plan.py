"""From the file of a study to its runs, in an order in which every run comes after those it needs."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from rlft.errors import UserError
from rlft.studies.study_file import HERE, PLACEHOLDER, SEED, TASK, Part, StudyFile
from rlft.studies.values import effective, meaning

INTO_A_RUN = re.compile(PLACEHOLDER.pattern + r"(?:/([\w./-]+))?")  # and which file there

Point = Mapping[str, Any]  # a value for every axis


@dataclass(frozen=True)
class PlannedRun:
    """One run of the study."""

    name: str  # also of its folder
    arm: str  # what its seeds, and its tasks, have in common
    seed: int | None
    preparation: bool
    args: tuple[str, ...]  # of rlft; `{name}` stands for the directory of another run, `{here}` for its own
    configs: tuple[str, ...]
    needs: tuple[str, ...]  # runs that have to be complete before
    continues: bool = True  # whether it may go on from its last checkpoint
    task: str = ""  # the name in the study, if that has tasks
    expert: str = ""  # the policy whose normalised score is 1 in that task

    @property
    def is_fit(self) -> bool:
        """Whether it is a run of `rlft fit`, with checkpoints and a report."""
        return self.args[0] == "fit"


def plan(study: StudyFile) -> list[PlannedRun]:
    """All runs; one seed of all arms and tasks before the next, so that an unfinished study compares equal numbers.

    Raises:
        UserError: if a placeholder leads nowhere or in a circle, or two runs would have the same name.
    """
    graph = {part.name: _references(part, study) for part in study.parts.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise UserError(f"{study.path}: these need each other in a circle: {' -> '.join(error.args[1])}.") from error
    planner = _Planner(study)
    for seed in study.seeds:
        for task in study.tasks or [None]:
            for part in study.parts.values():
                if not part.preparation:
                    for values in itertools.product(*part.grid.values()):
                        planner.run(part, {**dict(zip(part.grid, values, strict=True)), SEED: seed, TASK: task})
    for part in study.parts.values():
        if part.name not in planner.used:
            raise UserError(f"{study.path}: no arm needs {part.where()}; remove it, or refer to it as {{{part.name}}}.")
    return [replace(run, continues=name not in planner.whole) for name, run in planner.runs.items()]


def repeats(runs: Sequence[PlannedRun]) -> list[str]:
    """A sentence for each arm of which runs are the same as those of another arm."""
    first: dict[Hashable, PlannedRun] = {}
    found: dict[tuple[str, str], None] = {}
    for run in runs:
        options = [arg.removeprefix("--").partition("=") for arg in run.args if arg.startswith("--")]
        words = tuple(arg for arg in run.args if not arg.startswith("--"))
        made = run.preparation, words, run.configs, effective([(name, value) for name, _, value in options])
        before = first.setdefault(made, run)
        if before is not run:
            found[before.arm, run.arm] = None
    return [
        f"{arm} and {other} are the same in all that is set; their runs are made twice, unless one of them is left out."
        for arm, other in found
    ]


class _Planner:
    """Makes runs when they are needed, so that there are no preparations for nothing."""

    def __init__(self, study: StudyFile) -> None:
        self.study = study
        self.runs: dict[str, PlannedRun] = {}
        self.used: set[str] = set()  # names of parts
        # Runs of which more than the last state is needed: a continued run has its best, and what it kept on the way,
        # since it was continued; these begin anew instead.
        self.whole: set[str] = set()

    def run(self, part: Part, point: Point) -> PlannedRun:
        """The run of a part at a point, and before it what it needs."""
        self.used.add(part.name)
        on_grid = [(axis, point[axis]) for axis in part.axes if axis not in (SEED, TASK)]
        arm = "-".join([part.name, *(_word(*option) for option in on_grid)])
        task = point[TASK] if TASK in part.axes else ""
        seed = point[SEED] if SEED in part.axes else None
        name = "-".join([arm, *([task] if task else []), *([] if seed is None else [f"seed{seed}"])])
        needs: list[str] = []
        seeding = [] if seed is None else [("seed_everything" if part.command[0] == "fit" else "seed", seed)]
        options = [*seeding, *part.options, *on_grid]
        texts = [*part.command, *(f"--config={config}" for config in part.configs)]
        values = {TASK: task, **self.study.tasks[task]} if task else {}
        texts = [_text(_filled(text, values)) for text in texts]
        texts += [f"--{option}={_text(_filled(value, values))}" for option, value in options]
        args = tuple(self._resolve(text, part, point, needs) for text in texts)
        run = PlannedRun(
            *(name, arm, seed, part.preparation, args, part.configs, tuple(dict.fromkeys(needs))),
            task=task,
            expert=_text(_filled(self.study.expert, values)),
        )
        if self.runs.setdefault(name, run) != run:
            raise UserError(f"{self.study.path}: two different runs would be called {name}; rename one of their parts.")
        return run

    def _resolve(self, text: str, part: Part, point: Point, needs: list[str]) -> str:
        """Replaces placeholders of parts by those of runs."""
        for name, file in INTO_A_RUN.findall(text):
            if name not in (SEED, HERE):
                if name not in self.study.parts:  # of options `_references` has refused it
                    where = f"{self.study.path}: {part.where()}"
                    raise UserError(f"{where}: a value of its task refers to {{{name}}}, which is no part.")
                needed = self._needed(part, self.study.parts[name], point)
                needs.append(needed)
                if Path(file).stem != "last":
                    self.whole.add(needed)

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == SEED:
                return str(point[SEED])
            return match[0] if name == HERE else f"{{{self._needed(part, self.study.parts[name], point)}}}"

        return PLACEHOLDER.sub(value, text)

    def _needed(self, part: Part, other: Part, point: Point) -> str:
        """The run of `other` with the same seed and the same values of the grid."""
        for axis in other.axes:
            if axis not in part.axes:
                raise UserError(
                    f"{self.study.path}: {part.where()} needs {{{other.name}}}, of which there is one for each {axis}, "
                    f"but does not say which: it has no {axis} itself."
                )
            if meaning(point[axis]) not in map(meaning, other.grid.get(axis, [point[axis]])):
                raise UserError(
                    f"{self.study.path}: {part.where()} needs {{{other.name}}} with {axis} {point[axis]}, which is not "
                    f"in the grid of {other.where()}."
                )
        return self.run(other, {axis: _as_in(other, axis, point[axis]) for axis in other.axes}).name


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """With values for their placeholders, of any type where one stands alone."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, str):
        return value
    alone = PLACEHOLDER.fullmatch(value)
    if alone and alone[1] in values:
        return values[alone[1]]
    return PLACEHOLDER.sub(lambda match: _text(values[match[1]]) if match[1] in values else match[0], value)


def _as_in(part: Part, axis: str, value: Any) -> Any:
    """A value as the grid of a part spells it, if it has one."""
    return next((own for own in part.grid.get(axis, ()) if meaning(own) == meaning(value)), value)


def _references(part: Part, study: StudyFile) -> set[str]:
    """Names of the parts that it needs."""
    values = [value for _, value in part.options] + [value for values in part.grid.values() for value in values]
    found = {name for text in (*part.command, *map(_text, values)) for name in PLACEHOLDER.findall(text)}
    of_task = {TASK, *next(iter(study.tasks.values()), {})} if TASK in part.axes else set()
    places = {*([SEED] if SEED in part.axes else []), *([HERE] if part.command[0] != "fit" else []), *of_task}
    known = {*study.parts, *places}
    for name in sorted(found - known):
        raise UserError(
            f"{study.path}: {part.where()} refers to {{{name}}}, which is not there; it may be one of "
            f"{', '.join(sorted(known - {part.name}))}."
        )
    return found - places


def _text(value: Any) -> str:
    """As one writes it on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _word(option: str, value: Any) -> str:
    """`gamma0.8` of model.advantage.gamma 0.8, `policy_pickcube_weak` of model.policy pickcube/weak."""
    name = option.rsplit(".", 1)[-1].rstrip("+")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return name + ("" if number else "_") + re.sub(r"[^\w.+-]+", "_", _text(value)).strip("_")
