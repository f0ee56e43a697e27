"""The report of a run: what was asked, what happened, where the time went."""

from __future__ import annotations

import platform
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning

from rlft.files.atomic import replacing
from rlft.runs import directory, log
from rlft.runs.identity import Identity

COLUMNS = {
    "steps/env": "env steps",
    "steps/sim": "simulated steps",
    "eval/success_rate": "success",
    "eval/success_rate_low": "low",
    "eval/success_rate_high": "high",
    "eval/success_at_end": "at end",
    "train/success_rate": "training success",
    "losses/explained_variance": "explained variance",
    "losses/validation_policy_loss": "validation policy loss",
    "losses/validation_value_loss": "validation value loss",
    "losses/validation_explained_variance": "validation explained variance",
    "charts/calibration_slope": "calibration slope",
    "charts/advantage_standard_error": "advantage error",
    "charts/advantage_reliability": "reliability",
    "probe/explained_variance": "probe explained variance",
    "probe/advantage_correlation": "probe advantage correlation",
    "losses/approx_kl": "KL",
    "losses/entropy": "entropy",
    "time/iteration": "seconds",
}


class RunReport(lightning.Callback):
    """Writes `report.md` into the run directory, anew after every iteration, so that an interrupted run has one too.

    The run also gets a line in `index.jsonl` of the log directory, and its part of `log.md` there, when it begins and
    when it ends.

    Args:
        arguments: of `rlft`, as typed.
        identity: what the run is.
        differences: settings that differ from their defaults.
        configuration: all settings, with which a run that continues this one compares its own.
        continues: a sentence on the checkpoint that the run goes on from.
        checkpoint: that file.
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
        self.command = shlex.join(["rlft", *arguments])
        self.identity = identity
        self.differences = dict(differences or {})
        self.configuration = dict(configuration or {})
        self.continues = continues
        self.checkpoint, self.checkpoint_iterations = checkpoint, checkpoint_iterations
        self._notes: list[str] = []
        self._rows: list[dict[str, float]] = []
        self._started, self._clock = time.localtime(), time.monotonic()  # a clock that is set has no part in durations
        self._commit, self._dirty = _git_commit()

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Adds the configuration, with which a run that continues this one compares its own, and what the run is."""
        checkpoint["configuration"] = self.configuration
        if (one := self.identity) is not None:
            checkpoint["identity"] = {"settings": dict(one.settings), "seed": one.seed, "continues": one.continues}

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Notes what is different from here on; the module has restored the notes so far."""
        if self.continues:
            pl_module.notes.append(self.continues)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Takes the notes of the start."""
        self._notes = pl_module.notes

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Logs that the run has begun, and notes the evaluation of the start policy."""
        if folder := directory.of_trainer(trainer):
            log.add_start(folder.absolute(), self.command, self._commit, self._dirty)
        if not self._rows:
            evaluated = {name: float(value) for name, value in trainer.callback_metrics.items()}
            self._note(trainer, {"steps/env": pl_module.env_steps, **evaluated})
        self._log(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Notes the iteration that ended."""
        self._note(trainer, pl_module.iteration_metrics())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Completes the last row with what was measured after it had been noted."""
        if pl_module.iteration:
            self._rows[-1] = pl_module.iteration_metrics()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Says in the report why the run ended early."""
        if self._rows:
            self._write(trainer, note=f"Ended early: {type(exception).__name__} {exception}".strip())
            self._log(trainer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Completes the report."""
        self._write(trainer, note=directory.COMPLETED)
        self._log(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for a resumed run."""
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores `state_dict()`."""
        self._rows = state_dict["rows"]

    def _note(self, trainer: Any, metrics: dict[str, float]) -> None:
        self._rows.append(metrics)
        self._write(trainer, note=directory.RUNNING)

    def _log(self, trainer: Any) -> None:
        if folder := directory.of_trainer(trainer):
            log.write_page(folder.absolute().parent.parent)

    def _write(self, trainer: Any, note: str) -> None:
        if folder := directory.of_trainer(trainer):
            with replacing(folder / "report.md") as temporary:
                temporary.write_text(self._text(folder, note))

    def _text(self, folder: Path, note: str) -> str:
        rows = self._rows
        lines = [
            f"# {folder.parent.name} {folder.name}",
            "",
            f"{note} {_summary(rows)}",
            "",
            f"- command: `{self.command}`",
            f"- commit: {self._commit}{' with uncommitted changes' if self._dirty else ''}",
            f"- started: {time.strftime('%Y-%m-%d %H:%M:%S', self._started)}, "
            f"wall time {time.monotonic() - self._clock:.0f} s",
            f"- machine: {platform.machine()}, {platform.system()}, Python {platform.python_version()}",
            "",
            "## Configuration that differs from the defaults",
            "",
            *(f"- `{key}`: {value}" for key, value in self.differences.items()),
            "",
            *(["## Start", "", *(f"- {note}" for note in self._notes), ""] if self._notes else []),
            "## Iterations",
            "",
            *_table(rows),
            "",
            "## Where the time went",
            "",
            *_times(rows),
            "",
            "## Notes",
            "",
            "Success is deterministic: the mean action, one episode per fixed initial state, success at any step; low "
            "and high are its 95% Wilson interval. Iteration 0 is the policy that the run started from. The best of "
            "several noisy evaluations is biased upwards; compare runs by their last iterations.",
        ]
        return "\n".join(lines) + "\n"


def _summary(rows: list[dict[str, float]]) -> str:
    rates = {i: row["eval/success_rate"] for i, row in enumerate(rows) if "eval/success_rate" in row}
    if not rates:
        return ""
    first, last, best = min(rates), max(rates), max(rates, key=rates.__getitem__)
    if first == last:
        return f"Deterministic success of the policy is {rates[first]:.1%}."
    return (
        f"Deterministic success went from {rates[first]:.1%} to {rates[last]:.1%} in {int(rows[-1]['steps/env']):,} "
        f"env steps; the best evaluation was {rates[best]:.1%} (iteration {best})."
    )


def _table(rows: list[dict[str, float]]) -> list[str]:
    keys = [key for key in COLUMNS if any(key in row for row in rows)]
    lines = ["| iteration | " + " | ".join(COLUMNS[key] for key in keys) + " |", "|---:" * (len(keys) + 1) + "|"]
    for i, row in enumerate(rows):
        cells = [_cell(row.get(key)) for key in keys]
        lines.append(f"| {i} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: float | None) -> str:
    if value is None or value != value:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _times(rows: list[dict[str, float]]) -> list[str]:
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
