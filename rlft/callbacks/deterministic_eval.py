"""Deterministic evaluation: the mean action, one episode per fixed initial state."""

import time

import lightning

from rlft.callbacks.access import environments, learner
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.errors import require
from rlft.modules.iteration import IterationModule
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
    compared by their episodes from equal initial states. A task that tells what a policy does has it there as well, and
    as `eval/behaviour/*` and `eval/failed/*`.

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

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluates the start policy; a resumed run has been evaluated where it stopped."""
        if trainer.current_epoch == 0:
            self._log(trainer, learner(self, pl_module))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluates the policy that this iteration's updates have produced; the module logs it with the iteration."""
        module, iteration = learner(self, pl_module), trainer.current_epoch + 1
        due = iteration % self.every_n_iterations == 0 or iteration == trainer.max_epochs
        if module.trains_actor and due:
            module.add_metrics(self._evaluate(trainer, module))

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluates the last policy of a run that did not get as far as its last iteration."""
        module = learner(self, pl_module)
        if module.trains_actor and module.record and "eval/success_rate" not in module.record.metrics:
            module.amend_record(self._evaluate(trainer, module))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluates for `rlft validate`."""
        self._log(trainer, learner(self, pl_module))

    def _log(self, trainer: lightning.Trainer, module: IterationModule) -> None:
        log_metrics(trainer, self._evaluate(trainer, module), module.x_axis)

    def _evaluate(self, trainer: lightning.Trainer, module: IterationModule) -> dict[str, float]:
        started = time.perf_counter()
        metrics: dict[str, float] = {}
        for prefix, deterministic in (("eval", True), ("eval_stochastic", False)):
            if deterministic or self.stochastic:
                rollouts = environments(self, trainer).rollouts
                results = rollouts.evaluate(
                    module.evaluated().actor, self.num_episodes, seed=self.seed, deterministic=deterministic
                )
                found = summarize(results, rollouts.spec.behaviour)
                metrics |= {f"{prefix}/{name}": value for name, value in found.items()}
                self._keep(trainer, module, f"{prefix}/success_rate", results)
        return metrics | {"time/eval": time.perf_counter() - started}

    def _keep(self, trainer: lightning.Trainer, module: IterationModule, metric: str, results: EpisodeResults) -> None:
        """Notes which episodes succeeded, and what the task tells of each."""
        if folder := directory.of_trainer(trainer):
            source = environments(self, trainer)
            states = f"{source.env.starts()}, seed {self.seed}"
            success = tuple(results.success_once.tolist())
            columns = results.behaviour.unbind(1)
            told = {
                name: tuple(column.tolist())
                for name, column in zip(source.rollouts.spec.behaviour.names, columns, strict=True)
            }
            outcomes.add(folder, outcomes.Episodes(metric, module.x_axis, states, success, told))
