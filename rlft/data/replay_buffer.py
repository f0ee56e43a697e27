"""What has been collected so far, and batches of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rlft.data.hindsight import Stretches
from rlft.errors import UserError
from rlft.types import CalibratedBatch, Experience, Goals, ReplayBatch, ReturnBatch, Transition

Outcome = Callable[[Tensor], tuple[Tensor, Tensor]]  # of the steps of rows `[M]`: rewards, and whether they terminate


class ReplayBuffer:
    """The last steps of `N` environments, each an unbroken series: episodes follow one another in it.

    Args:
        capacity: steps to keep of each environment; the oldest ones go.
        counting: what rewards count as in batches; here they are kept as they are. It changes with additions alone.
    """

    def __init__(self, capacity: int, counting: Callable[[Tensor], Tensor] = lambda reward: reward) -> None:
        self.capacity, self._counting = capacity, counting
        self._store: Experience | None = None  # [rows, N], with room for more
        self._begin = self._end = 0  # rows that are kept
        # Of what is kept, [S, N], if somebody has asked since the last addition.
        self._returned: Tensor | None = None
        self._stretches: Stretches | None = None

    def add(self, experience: Experience) -> None:
        """Adds the next `[T, N]` steps."""
        end = self._end + len(experience)
        if self._store is None or end > len(self._store):
            self._store = self._with_room(experience)
            end = self._end + len(experience)
        self._store[self._end : end] = experience
        self._returned = self._stretches = None
        self._begin, self._end = max(self._begin, end - self.capacity), end

    def _with_room(self, experience: Experience) -> Experience:
        """What is kept, at the beginning of twice the rows that it takes with `experience`: few additions copy it."""
        kept = experience[:0] if self._store is None else self.whole
        rows = 2 * (len(kept) + len(experience))
        store = experience.map(lambda tensor: tensor.new_empty(rows, *tensor.shape[1:]))
        store[: len(kept)] = kept
        self._begin, self._end = 0, len(kept)
        return store

    @property
    def steps(self) -> int:
        """Kept of each environment."""
        return self._end - self._begin

    @property
    def whole(self) -> Experience:
        """All of it, `[S, N]`; shares memory."""
        assert self._store is not None  # something has been added
        return self._store[self._begin : self._end]

    def transitions(
        self, count: int, size: int, n_step: int, gamma: float, generator: torch.Generator, *, returns: bool = False
    ) -> list[ReplayBatch]:
        """Batches of transitions, drawn uniformly with replacement from the usable steps.

        Args:
            count: how many batches.
            size: transitions of each.
            n_step: rewards of each, fewer where the episode, the usable data or the buffer end before.
            gamma: discount per env step.
            generator: decides which.
            returns: make them `CalibratedBatch`, with the returns of their episodes.
        """
        kept = self.whole
        start, env = _drawn(kept.usable, count * size, generator)

        def recorded(row: Tensor) -> tuple[Tensor, Tensor]:
            return self._counting(kept.reward[row, env]), kept.terminated[row, env]

        ahead = _ahead(kept, start, env, n_step, gamma, recorded)
        batch = ReplayBatch(kept.obs[start, env], kept.action[start, env], ahead)
        return _split(batch, self._returns(gamma)[start, env] if returns else None, size)

    def has_moved(self, goals: Goals) -> bool:
        """Whether there is a step that `relabelled` can draw."""
        return bool(self._reached(goals).useful.any())

    def relabelled(
        self,
        count: int,
        size: int,
        n_step: int,
        gamma: float,
        generator: torch.Generator,
        goals: Goals,
        *,
        returns: bool = False,
    ) -> list[ReplayBatch]:
        """Batches of transitions with goals that were reached later, drawn uniformly with replacement.

        Arguments as of `transitions`; there has to be something to draw, as `has_moved` says. What would have come of
        the episodes with these goals is not known.
        """
        kept, stretches = self.whole, self._reached(goals)
        start, env = _drawn(stretches.useful, count * size, generator)
        goal = goals.reached(kept.next_obs[stretches.later(start, env, generator), env])

        def with_goal(row: Tensor) -> tuple[Tensor, Tensor]:
            reward, terminated = goals.outcome(kept.next_obs[row, env], goal)
            return self._counting(reward), terminated

        ahead = _ahead(kept, start, env, n_step, gamma, with_goal)
        ahead = replace(ahead, next_obs=goals.put(ahead.next_obs, goal))
        batch = ReplayBatch(goals.put(kept.obs[start, env], goal), kept.action[start, env], ahead)
        return _split(batch, torch.full((len(start),), -torch.inf) if returns else None, size)

    def _reached(self, goals: Goals) -> Stretches:
        """Of every step that is kept; looked up once between two additions."""
        if self._stretches is None:
            self._stretches = Stretches.of(self.whole, goals)
        return self._stretches

    def _returns(self, gamma: float) -> Tensor:
        """Of every step that is kept, `[S, N]`; looked up once between two additions."""
        if self._returned is None:
            self._returned = returns_of(self.counted(self.whole), gamma)
        return self._returned

    def returns(self, count: int, size: int, gamma: float, generator: torch.Generator) -> list[ReturnBatch]:
        """Batches of steps whose episode has ended, drawn uniformly with replacement, with their discounted returns.

        Raises:
            UserError: if there is none.
        """
        known = ended(self.counted(self.whole), gamma)
        if not len(known):
            raise UserError(
                f"No episode has ended in the {self.steps} steps of warm-up, so there are no returns to learn; raise "
                "data.num_steps or model.warmup_iterations."
            )
        drawn = torch.randint(len(known), (count * size,), generator=generator)
        return [known[drawn[i * size : (i + 1) * size]] for i in range(count)]

    def counted(self, experience: Experience) -> Experience:
        """The same steps, with what their rewards count as."""
        return replace(experience, reward=self._counting(experience.reward))


def ended(experience: Experience, gamma: float) -> ReturnBatch:
    """The usable steps of `[T, N]` whose episode has ended there, `[M]`, with their discounted returns."""
    returned = returns_of(experience, gamma)
    known = returned > -torch.inf
    return ReturnBatch(experience.obs[known], experience.action[known], returned[known])


def returns_of(experience: Experience, gamma: float) -> Tensor:
    """Discounted returns `[T, N]` from every step to the end of its episode, after a truncation without what follows.

    Minus infinity where the episode has not ended in `[T, N]`, or has a bad step on the way.
    """
    done = experience.terminated | experience.truncated
    following = torch.zeros_like(experience.reward[0])
    known = torch.zeros_like(done[0])
    values = []
    for t in reversed(range(len(experience))):
        following = experience.reward[t] + gamma * torch.where(done[t], 0.0, following)
        known = (known | done[t]) & experience.usable[t]
        values.append(torch.where(known, following, -torch.inf))
    return torch.stack(values[::-1])


def _drawn(among: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows and environments `[count]` of steps for which `among [S, N]` is true, uniformly with replacement."""
    steps = among.flatten().nonzero().squeeze(1)
    drawn = steps[torch.randint(len(steps), (count,), generator=generator)]
    return drawn // among.shape[1], drawn % among.shape[1]


def _split(batch: ReplayBatch, returned: Tensor | None, size: int) -> list[ReplayBatch]:
    """Batches of `size` transitions, with the returns `[M]` if there are any."""
    if returned is not None:
        batch = CalibratedBatch(batch.obs, batch.action, batch.transition, returned)
    return [batch[first : first + size] for first in range(0, len(batch), size)]


def _ahead(kept: Experience, start: Tensor, env: Tensor, n_step: int, gamma: float, outcome: Outcome) -> Transition:
    """Up to `n_step` steps on from `start [M]` in environments `env [M]`; they cross neither ends nor bad steps."""
    reward, steps, last = torch.zeros(len(start)), torch.zeros(len(start), dtype=torch.int64), start
    alive, ended = torch.ones_like(start, dtype=torch.bool), torch.zeros_like(start, dtype=torch.bool)
    for ahead in range(n_step):
        now = (start + ahead).clamp(max=len(kept) - 1)
        alive = alive & (start + ahead < len(kept)) & kept.usable[now, env]
        paid, terminated = outcome(now)
        reward += torch.where(alive, gamma**ahead * paid, 0.0)
        last, steps, ended = torch.where(alive, now, last), steps + alive, torch.where(alive, terminated, ended)
        alive = alive & ~(terminated | kept.terminated[now, env] | kept.truncated[now, env])
    discount = torch.where(ended, 0.0, torch.tensor(gamma) ** steps)
    return Transition(reward, kept.next_obs[last, env], discount)


def shares(total: int, parts: int) -> Sequence[int]:
    """`total` in `parts` that differ by at most one."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]
