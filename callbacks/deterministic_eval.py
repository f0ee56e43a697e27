"""Deterministic evaluation: the mean action, one episode per fixed initial state."""

import time
from typing import Any

import lightning

from rlft.envs.initial_states import EVALUATION_SEED
from rlft.errors import require
from rlft.modules.metrics import log_metrics
from rlft.runs import directory, outcomes
from rlft.statistics.evaluations import summarize
from rlft.types import EpisodeResults


class DeterministicEval(lightning.Callback):
    """Evaluates the policy before the first iteration and after every `every_n_iterations`.

    Each episode starts in its own fixed initial state and is played to the time limit, so rates are unbiased and the
    same for every run, machine and number of workers. Logs `eval/success_rate` (success at any step, with its 95%
    Wilson interval), `eval/success_at_end`, and up to the first termination `eval/return` and
    `eval/episode_length`. Which episodes succeeded stands in `episodes.jsonl` of the run directory, so that runs can be
    compared by their episodes from equal initial states.

    A run that ends before `trainer.max_epochs`, for instance by early stopping, is evaluated once more at its end; its
    best checkpoint is the best of the evaluations before that. A run that trains no policy is evaluated once.

    Args:
        num_episodes: episodes per evaluation.
        every_n_iterations: iterations between evaluations; the last iteration is always evaluated.
        stochastic: also evaluate with sampled actions, as `eval_stochastic/*`.
        seed: which bank of initial states to use.
    """

    changes_results = False  # it only observes

    def __init__(
        self,
        num_episodes: int = 128,
        every_n_iterations: int = 1,
        stochastic: bool = False,
        seed: int = EVALUATION_SEED,
    ) -> None:
        for name, value in (("num_episodes", num_episodes), ("every_n_iterations", every_n_iterations)):
            require(value >= 1, f"eval.{name}", value, "at least 1")
        require(0 <= seed < 2**32, "eval.seed", seed, f"a number from 0 to {2**32 - 1}")
        self.num_episodes = num_episodes
        self.every_n_iterations = every_n_iterations
        self.stochastic = stochastic
        self.seed = seed

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Evaluates the start policy; a resumed run has been evaluated where it stopped."""
        if trainer.current_epoch == 0:
            log_metrics(trainer, self._evaluate(trainer, pl_module), pl_module.x_axis)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Evaluates the policy that this iteration's updates have produced; the module logs it with the iteration."""
        if not pl_module.trains_actor:
            return
        iteration = trainer.current_epoch + 1
        if iteration % self.every_n_iterations == 0 or iteration == trainer.max_epochs:
            pl_module.add_metrics(self._evaluate(trainer, pl_module))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Evaluates the last policy of a run that did not get as far as its last iteration."""
        evaluated = "eval/success_rate" in pl_module.iteration_metrics() or not pl_module.trains_actor
        if pl_module.iteration and not evaluated:
            metrics = self._evaluate(trainer, pl_module)
            pl_module.add_metrics(metrics)
            log_metrics(trainer, metrics, pl_module.x_axis)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Evaluates for `rlft validate`."""
        log_metrics(trainer, self._evaluate(trainer, pl_module), pl_module.x_axis)

    def _evaluate(self, trainer: Any, module: Any) -> dict[str, float]:
        started = time.perf_counter()
        metrics: dict[str, float] = {}
        for prefix, deterministic in (("eval", True), ("eval_stochastic", False)):
            if deterministic or self.stochastic:
                results = trainer.datamodule.rollouts.evaluate(
                    module.evaluated().actor, self.num_episodes, seed=self.seed, deterministic=deterministic
                )
                metrics |= {f"{prefix}/{name}": value for name, value in summarize(results).items()}
                self._keep(trainer, module, f"{prefix}/success_rate", results)
        return metrics | {"time/eval": time.perf_counter() - started}

    def _keep(self, trainer: Any, module: Any, metric: str, results: EpisodeResults) -> None:
        """Notes which episodes succeeded."""
        if folder := directory.of_trainer(trainer):
            states = f"{trainer.datamodule.env.starts()}, seed {self.seed}"
            success = tuple(results.success_once.tolist())
            outcomes.add(folder, outcomes.Episodes(metric, module.x_axis, states, success))
