"""What a run leaves to be read: its status and the numbers of its iterations as data, and a report made of them."""

from __future__ import annotations

import math
import platform
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import lightning

from rlft.callbacks.access import environments, learner
from rlft.envs.maniskill import ManiSkill
from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.networks.policy_files import load_policy
from rlft.runs import directory, log, outcomes
from rlft.runs.identity import Identity
from rlft.runs.iterations import ITERATION, Row, append_iteration, write_iterations
from rlft.runs.outcomes import Episodes
from rlft.runs.prose import behaviour_table, iteration_table, what_happened
from rlft.runs.status import State, Status, write_status
from rlft.statistics.rates import p_text, paired
from rlft.types import mismatches

SUCCESS = "eval/success_rate"
MORE_EPISODES = 1000  # than an evaluation of a run has, to ask again whether it has changed the policy
LAST = "policies/last.safetensors"  # of the policies in a run's folder


class RunReport(lightning.Callback):
    """Writes `status.json`, `iterations.jsonl` and `report.md` into the run directory, after every iteration.

    An interrupted run has them too. The run also gets a line in `index.jsonl` of the log directory, and its part of
    `log.md` there, when it begins and when it ends.

    Args:
        arguments: of rlft, as typed.
        identity: what the run is; without one nothing tells whether another run is a seed of the same method.
        differences: settings that differ from their defaults, for the report.
        configuration: all settings, for runs that continue this one.
        continues: a sentence on the checkpoint that the run goes on from.
        checkpoint: the file of it.
        checkpoint_iterations: how many iterations were complete in it.
    """

    changes_results = False  # it only observes

    def __init__(
        self,
        arguments: Sequence[str] = (),
        identity: Identity | None = None,
        differences: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        continues: str = "",
        checkpoint: str = "",
        checkpoint_iterations: int = 0,
    ) -> None:
        self._arguments = list(arguments)
        self._identity = identity or Identity({}, seed=-1)
        self._differences = dict(differences or {})
        self._configuration = dict(configuration or {})
        self._continues = continues
        self._checkpoint = str(Path(checkpoint).absolute()) if checkpoint else ""
        self._done = self._checkpoint_iterations = checkpoint_iterations
        self._begun = False
        self._notes: list[str] = []
        self._rows: list[Row] = []
        self._start: Episodes | None = None  # those of the policy that the run started from
        self._asks_again = False  # whether `rlft evaluate` can play that policy as this run plays its own
        self._started, self._clock = time.localtime(), time.monotonic()  # a clock that is set has no part in durations
        self._commit, self._dirty = _git_commit()

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the configuration, with which a run that continues this one compares its own, and what the run is."""
        checkpoint["configuration"] = self._configuration
        if (one := self._identity).settings:
            checkpoint["identity"] = {"settings": dict(one.settings), "seed": one.seed, "continues": one.continues}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Notes what is different from here on; the module has restored the notes so far."""
        if self._continues:
            learner(self, pl_module).notes.append(self._continues)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Takes the notes of the start."""
        self._notes = learner(self, pl_module).notes

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Logs that the run has begun, and notes the evaluation of the start policy."""
        self._begun, self._done = True, trainer.current_epoch
        folder, module = directory.of_trainer(trainer), learner(self, pl_module)
        if not self._rows:
            evaluated = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self._rows = [self._row({"steps/env": module.env_steps, **evaluated})]
            if folder and (found := outcomes.read([folder]).get((SUCCESS, module.x_axis))):
                self._start = replace(found, behaviour={})
        if folder:
            self._asks_again = self._start is not None and self._can_ask_again(trainer)
            command = shlex.join(["rlft", *self._arguments])
            log.add_start(folder.absolute(), command, self._commit, self._dirty)
            write_iterations(folder, self._rows)
        self._write(trainer, "running")
        self._log(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Notes the iteration that ended."""
        self._done = trainer.current_epoch + 1
        self._rows.append(self._row(dict(learner(self, pl_module).finish_iteration().metrics)))
        if folder := directory.of_trainer(trainer):
            append_iteration(folder, self._rows[-1])
        self._write(trainer, "running")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Completes the last row with what was measured after it had been noted."""
        if record := learner(self, pl_module).record:
            self._rows[-1] = self._row(dict(record.metrics))
            if folder := directory.of_trainer(trainer):
                write_iterations(folder, self._rows)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Says why the run ended early."""
        if self._begun:
            kind = type(exception).__name__
            message = " ".join(str(exception).split())
            self._write(trainer, "ended early", reason=f"{kind} {message}".strip())
            self._log(trainer)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Completes the records and the report."""
        self._write(trainer, "completed")
        self._log(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for a resumed run."""
        return {"rows": self._rows, "start": vars(self._start) if self._start else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`; older code did not number the rows, and kept no episodes of the start."""
        self._rows = [{ITERATION: i, **row} for i, row in enumerate(state_dict["rows"])]
        self._start = Episodes(**start) if (start := state_dict.get("start")) else None

    def _row(self, metrics: Mapping[str, float]) -> Row:
        return {ITERATION: self._done, **metrics}

    def _log(self, trainer: lightning.Trainer) -> None:
        if folder := directory.of_trainer(trainer):
            log.write_page(folder.absolute().parent.parent)

    def _write(self, trainer: lightning.Trainer, state: State, reason: str = "") -> None:
        if folder := directory.of_trainer(trainer):
            status = self._status(trainer, state, reason)
            write_status(folder, status)
            with replacing(folder / "report.md") as temporary:
                temporary.write_text(self._text(folder, status), errors="replace")

    def _status(self, trainer: lightning.Trainer, state: State, reason: str) -> Status:
        return Status(
            state=state,
            arguments=self._arguments,
            started=time.strftime("%Y-%m-%d %H:%M:%S", self._started),
            heard=time.strftime("%Y-%m-%d %H:%M:%S"),
            iterations=trainer.max_epochs or 0,
            done=self._done,
            seed=self._identity.seed,
            digest=self._identity.digest if self._identity.settings else "",
            settings=dict(self._identity.settings),
            continues=self._identity.continues,
            checkpoint=self._checkpoint,
            checkpoint_iterations=self._checkpoint_iterations,
            reason=reason,
            commit=self._commit,
            dirty=self._dirty,
        )

    def _text(self, folder: Path, status: Status) -> str:
        lines = [
            f"# {folder.parent.name} {folder.name}",
            "",
            what_happened(status, self._rows),
            "",
            *([told, ""] if status.state != "running" and (told := self._against_start(folder)) else []),
            f"- command: `{shlex.join(['rlft', *status.arguments])}`",
            f"- commit: {status.commit}{' with uncommitted changes' if status.dirty else ''}",
            f"- started: {status.started}, wall time {time.monotonic() - self._clock:.0f} s",
            f"- machine: {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
            "",
            "## Configuration that differs from the defaults",
            "",
            *(f"- `{key}`: {value}" for key, value in self._differences.items()),
            "",
            *(["## Start", "", *(f"- {note}" for note in self._notes), ""] if self._notes else []),
            "## Iterations",
            "",
            *iteration_table(self._rows),
            "",
            *(["## What the policy did", "", *behaviour, ""] if (behaviour := behaviour_table(self._rows)) else []),
            "## Where the time went",
            "",
            *_times(self._rows),
            "",
            "## Notes",
            "",
            "Success is deterministic: the mean action, one episode per fixed initial state, success at any step; low "
            "and high are its 95% Wilson interval. Iteration 0 is the policy that the run started from. The best of "
            "several noisy evaluations is biased upwards; compare runs by their last iterations.",
        ]
        return "\n".join(lines) + "\n"

    def _against_start(self, folder: Path) -> str:
        """What the episodes of the last evaluation tell of the start, in pairs; nothing if there are no such pairs."""
        start, last = self._start, max(_successes(folder), key=lambda one: one.step, default=None)
        rates = [row[SUCCESS] for row in self._rows if SUCCESS in row]
        if start is None or last is None or last.step == start.step or last.starts != start.starts:
            return ""
        if not math.isclose(mean(last.success), rates[-1], abs_tol=1e-6):  # its iteration did not come to an end
            return ""
        found = paired(last.success, start.success)
        told = (
            f"Of {len(last.success)} episodes from equal initial states it won {found.won} that the start policy lost, "
            f"and lost {found.lost} that the start policy won (p {p_text(found.p)}, exact McNemar)."
        )
        policy, is_last = folder / LAST, SUCCESS in self._rows[-1]
        if not (self._asks_again and is_last and policy.is_file() and len(last.success) < MORE_EPISODES):
            return told
        options = ["--against", self._configuration["model.policy"], "--episodes", str(MORE_EPISODES)]
        return f"{told} More of them: `{shlex.join(['rlft', 'evaluate', str(policy), *options])}`."

    def _can_ask_again(self, trainer: lightning.Trainer) -> bool:
        """Whether `rlft evaluate` can play the start policy, by what its file says, in the environment of this run."""
        name = self._configuration.get("model.policy")
        if not name or self._configuration.get("model.inject_from") or self._identity.continues:
            return False  # the start is no policy that has a name
        data = environments(self, trainer)
        described = data.env.describe(data.rollouts.spec)
        if not isinstance(data.env, ManiSkill) and "environment" not in described:
            return False
        try:
            recorded = load_policy(name).info
        except UserError:  # it has been moved since
            return False
        names = [key for key in described if key not in ("task", "task_options", "reward_mode")]
        same_task = all((recorded.get(key) or {}) == described[key] for key in ("task", "task_options"))
        return same_task and not mismatches(described, recorded, names=names)


def _successes(folder: Path) -> list[Episodes]:
    return [one for one in outcomes.read([folder]).values() if one.metric == SUCCESS]


def _times(rows: Sequence[Row]) -> list[str]:
    rollout, rerollout, evaluation = (
        sum(row.get(f"time/{name}", 0.0) for row in rows) for name in ("rollout", "rerollout", "eval")
    )
    total = sum(row.get("time/iteration", 0.0) for row in rows) + (rows[0].get("time/eval", 0.0) if rows else 0.0)
    parts = {"collecting rollouts": rollout, "evaluating": evaluation}
    parts |= {"playing re-rollouts": rerollout} if rerollout else {}
    parts |= {"learning": total - sum(parts.values())}
    return [f"- {name}: {seconds:.1f} s ({seconds / total:.0%})" for name, seconds in parts.items() if total > 0]


def _git_commit() -> tuple[str, bool]:
    """The commit of the code that runs, and whether anything is changed on top of it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        commit, dirty = git("rev-parse", "HEAD"), git("status", "--porcelain")
    except (OSError, subprocess.CalledProcessError):
        return "not under git", False
    return commit, bool(dirty)
