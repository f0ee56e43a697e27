"""Studies without processes: files, folders, and runs that end when a test says so."""

import shlex
from pathlib import Path

from rlft.runs.status import Status, write_status
from rlft.studies.folder import StudyFolder
from rlft.studies.plan import plan
from rlft.studies.scheduler import Scheduler
from rlft.studies.study_file import read_study


def written(tmp_path, text, name="study.yaml"):
    """A study's file, beside an empty `base.yaml` which `BASE` stands for in it."""
    base = tmp_path / "base.yaml"
    if not base.exists():
        base.write_text("")
    path = tmp_path / name
    path.write_text(text.replace("BASE", str(base)))
    return path


def planned(tmp_path, text):
    """The runs of a study by name."""
    return {run.name: run for run in plan(read_study(written(tmp_path, text)))}


def folder_of(tmp_path, text):
    """The folder of a study in `tmp_path/logs`, which need not exist."""
    read = read_study(written(tmp_path, text))
    return StudyFolder(tmp_path / "logs", read.name, plan(read))


def write_version(folder, args, state="completed", iterations=2, of=2, checkpoint=True):
    """What `rlft fit` leaves in a run's folder."""
    version = folder / f"version_{len(list(folder.glob('version_*')))}"
    (version / "checkpoints").mkdir(parents=True)
    time = "2026-01-01 00:00:00"
    write_status(version, Status(state, list(args), time, time, of, iterations, 1, "0" * 64, {"x": 1}))
    if checkpoint:
        (version / "checkpoints/last.ckpt").write_text("")
    return version


def write_old_version(folder, args, note="Completed.", iterations=2, of=2, checkpoint=True):
    """What it left there when all that it knew was in its report."""
    version = write_version(folder, args, checkpoint=checkpoint)
    (version / "status.json").unlink()
    rows = "".join(f"| {i} | 0.5 |\n" for i in range(iterations + 1))
    (version / "report.md").write_text(f"# run\n\n{note}\n\n- command: `{shlex.join(['rlft', *args])}`\n\n{rows}")
    (version / "config.yaml").write_text(f"trainer:\n  max_epochs: {of}\n")
    return version


class FakeJob:
    """Ends when its status is set; keeps what it was asked."""

    def __init__(self, args, log, threads):
        self.args, self.log, self.threads = list(args), log, threads
        self.status = None
        self.asked = []

    def poll(self):
        return self.status

    def terminate(self):
        self.asked.append("terminate")

    def kill(self):
        self.asked.append("kill")


class FakeRuns:
    """An executor whose runs end at the next look.

    Args:
        ends: called with each running job; returns its exit status, or `None` to let it run on.
    """

    def __init__(self, ends=lambda job: 0):
        self.ends = ends
        self.jobs = []
        self.most = 0  # that were running at a time

    def __call__(self, args, log, threads):
        runs = self

        class Job(FakeJob):
            def poll(self):
                self.status = runs.ends(self)
                if self.status == 0 and self.args[0] == "fit":
                    write_version(Path(self.log).parent, self.args)
                return self.status

        self.jobs.append(Job(args, log, threads))
        self.most = max(self.most, sum(job.status is None for job in self.jobs))
        return self.jobs[-1]

    @property
    def names(self):
        """Of the runs, in the order in which they were started."""
        return [job.log.parent.name for job in self.jobs]


class Listener:
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def begun(self, run, *, again):
        self.heard.append((run.name, "goes on" if again else "begins"))

    def tick(self):
        pass

    def ended(self, run, outcome, seconds):
        self.heard.append((run.name, outcome.status))


def make(folder, runs, jobs=1, stops=lambda: 0, listener=None):
    """Makes a study and returns the outcomes by name."""
    return Scheduler(folder, runs, listener or Listener(), jobs, threads=3, stops=stops).run()
