"""Complete episodes out of rollouts, without a preference for short ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlft.types import Actor, EnvStates, Rollout, Rollouts, TensorRows


@dataclass(frozen=True)
class Episode:
    """One episode from its initial state to its end."""

    steps: Rollout  # [L]
    states: EnvStates  # [L+1], the last one is that after the last step

    @property
    def number(self) -> int:
        """In the bank of initial states."""
        return int(self.states.episode[0])


@dataclass(frozen=True)
class _Steps(TensorRows):
    """Consecutive steps of one environment, `[L]`."""

    rollout: Rollout
    before: EnvStates
    after: EnvStates

    def episodes(self) -> Iterator[Episode]:
        """The complete ones, if these steps begin with an episode."""
        first = 0
        for end in (self.rollout.done.nonzero().flatten() + 1).tolist():
            states = EnvStates.cat([self.before[first:end], self.after[end - 1 : end]])
            yield Episode(steps=self.rollout[first:end], states=states)
            first = end

    def unfinished(self) -> _Steps:
        """What follows the last complete episode."""
        ends = (self.rollout.done.nonzero().flatten() + 1).tolist()
        return self[ends[-1] :] if ends else self


def play_episodes(
    rollouts: Rollouts, actor: Actor, starts: EnvStates, count: int, seed: int, iterations: Iterator[int]
) -> Iterator[list[Episode]]:
    """Plays rollouts of the time limit's length until there are enough episodes.

    How many episodes of an environment count is fixed beforehand: stopping at the first `count` that end would prefer
    short ones. Episode `k` of environment `n` of `N` is number `n + k N` after the first, so those that count are
    `count` consecutive ones of the bank.

    Args:
        rollouts: the environments.
        actor: the policy; it explores.
        starts: the first episode of every environment, `[N]`.
        count: episodes to play.
        seed: of the bank of episodes and of the noise.
        iterations: addresses of the noise, one per rollout.

    Yields:
        The episodes that were completed in each rollout and count.
    """
    num_envs = rollouts.num_envs
    left = [count // num_envs + (env < count % num_envs) for env in range(num_envs)]
    states, unfinished = starts, dict[int, _Steps]()
    while any(left):
        rollout, states, visited = rollouts.collect(
            actor, states, rollouts.spec.max_episode_steps, seed, next(iterations), keep_visited=True
        )
        completed: list[Episode] = []
        for env in (env for env in range(num_envs) if left[env]):
            steps = _Steps(
                rollout=rollout[:, env],
                before=visited.states[visited.before[:, env]],
                after=visited.states[visited.after[:, env]],
            )
            steps = _Steps.cat([unfinished[env], steps]) if env in unfinished else steps
            wanted = list(steps.episodes())[: left[env]]
            left[env] -= len(wanted)
            completed += wanted
            unfinished[env] = steps.unfinished()
        yield completed
