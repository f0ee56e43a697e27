"""Films of the policy that is being trained."""

from __future__ import annotations

import lightning
from lightning.pytorch.loggers import TensorBoardLogger

from rlft.callbacks.access import environments, learner
from rlft.envs.drawing import DrawingProcess, check_size
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.errors import require
from rlft.runs import directory
from rlft.videos.files import check_encoder
from rlft.videos.film import Film, Take, make_film


class RecordVideo(lightning.Callback):
    """Records evaluation episodes: a film in `videos/` of the run, and its contact sheet in TensorBoard.

    Always the same episodes, so that films of an iteration can be compared with those of another. A GPU draws, or
    SwiftShader on a CPU, which Debian's `apt-get install chromium` brings; where nothing can draw, the run is refused
    at its start. A process of its own draws, and the time this takes is no part of an iteration.

    Args:
        num_episodes: how many of the first evaluation episodes.
        every_n_iterations: iterations between films; the start and the last iteration are always recorded.
        size: of a picture, in pixels.
        seed: which bank of initial states.
    """

    changes_results = False  # it only observes

    def __init__(
        self, num_episodes: int = 2, every_n_iterations: int = 10, size: int = 256, seed: int = EVALUATION_SEED
    ) -> None:
        for name, value in (("num_episodes", num_episodes), ("every_n_iterations", every_n_iterations)):
            require(value >= 1, f"RecordVideo.{name}", value, "at least 1")
        check_size(size, "RecordVideo.size")
        require(0 <= seed < 2**32, "RecordVideo.seed", seed, f"a number from 0 to {2**32 - 1}")
        self.num_episodes = num_episodes
        self.every_n_iterations = every_n_iterations
        self.size = size
        self.seed = seed
        self._renderer: DrawingProcess | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses a run that could not be recorded; one without a folder has no place for films."""
        if stage == "fit" and directory.of_trainer(trainer) is not None:
            check_encoder()
            self._renderer = DrawingProcess(environments(self, trainer).env, self.size)
            self._renderer.wait()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Records the policy that the iterations so far have produced, before the clock of the next one starts."""
        if trainer.current_epoch % self.every_n_iterations == 0:
            self._record(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Records the last policy."""
        self._record(trainer, pl_module)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Lightning does not call `teardown` then."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Ends the process that draws."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _record(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        folder = directory.of_trainer(trainer)
        if self._renderer is None or folder is None:
            return
        module, data = learner(self, pl_module), environments(self, trainer)
        episodes = data.rollouts.record(
            module.evaluated().actor, range(self.num_episodes), seed=self.seed, deterministic=True
        )
        done = trainer.current_epoch  # iterations
        take = Take(f"iteration {done}", episodes)
        film = make_film(self._renderer, [take], folder / f"videos/iteration_{done}", lambda: None)
        _log(trainer, film, done if data.fixed else module.env_steps)


def _log(trainer: lightning.Trainer, film: Film, x: int) -> None:
    """Puts the contact sheet into TensorBoard."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image("videos/contact_sheet", film.contact_sheet, x, dataformats="HWC")
