"""Rollouts in this process."""

from rlft.rollout.worker import RolloutWorker
from rlft.types import Actor, EnvFactory, EnvStates, EpisodeResults, Rollout


class LocalRollouts:
    """All environments of a run in this process; implements `rlft.types.Rollouts`.

    Args:
        factory: how to build the environments.
        num_envs: how many.
    """

    def __init__(self, factory: EnvFactory, num_envs: int) -> None:
        self.worker = RolloutWorker(factory, range(num_envs))
        self.num_envs = num_envs
        self.spec = self.worker.env.spec

    def initial_states(self, seed: int) -> EnvStates:
        """The first episode of every environment."""
        return self.worker.initial_states(seed)

    def collect(
        self, actor: Actor, states: EnvStates, num_steps: int, seed: int, iteration: int
    ) -> tuple[Rollout, EnvStates]:
        """Acts for `num_steps`; see `RolloutWorker.collect`."""
        return self.worker.collect(actor, states, num_steps, seed, iteration, self.num_envs)

    def evaluate(self, actor: Actor, num_episodes: int, *, seed: int, deterministic: bool) -> EpisodeResults:
        """Plays evaluation episodes; see `RolloutWorker.evaluate`."""
        return self.worker.evaluate(actor, range(num_episodes), seed=seed, deterministic=deterministic)

    def close(self) -> None:
        """Nothing to end."""
