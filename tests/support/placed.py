"""Worker processes of this machine that have to wait for a place, as those of a cluster may."""

from rlft.rollout import Processes
from rlft.rollout.worker_process import WorkerProcess


class Placed(Processes):
    """Processes, of which only some are ready.

    Args:
        places: how many; a test may change it.
        patience: seconds without any.
    """

    def __init__(self, places, patience=1.0):
        self.places, self.patience = places, patience
        self.started = []

    def open(self, factory, scenes):
        return _Site(super().open(factory, scenes), self, (factory, scenes))


class _Site:
    def __init__(self, site, workers, arguments):
        self.queue, self.publish, self.close = site.queue, site.publish, site.close
        self.patience = workers.patience
        self._workers, self._arguments = workers, arguments

    def start(self):
        worker = _Process(*self._arguments, self.queue)
        worker.workers, worker.asked = self._workers, 0
        self._workers.started.append(worker)
        return worker

    def no_place(self):
        return f"There are {self._workers.places} places."


class _Process(WorkerProcess):
    @property
    def ready(self):
        return self.workers.started.index(self) < self.workers.places

    def ask(self, common, own, answers):
        assert self.ready
        self.asked += 1
        super().ask(common, own, answers)
