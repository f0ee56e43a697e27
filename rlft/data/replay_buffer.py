"""What has been collected so far, and batches of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from rlft.data.frames import Frames
from rlft.data.hindsight import Stretches
from rlft.data.on_demand import OnDemand
from rlft.errors import UserError
from rlft.types import CalibratedBatch, Experience, Goals, Obs, ReplayBatch, ReplayBootstrap, ReturnBatch, Transition

Outcome = Callable[[Tensor], tuple[Tensor, Tensor]]  # of the steps of rows `[M]`: rewards, and whether they terminate
R = TypeVar("R", bound=ReplayBatch | ReturnBatch)
SLACK = 4  # a share of the capacity is kept as room for more, so that few additions copy everything


class ReplayBuffer:
    """The last steps of `N` environments, each an unbroken series: episodes follow one another in it.

    Pictures are kept apart, each once: `capacity` of every environment, and one for each episode that ended among them.
    What `whole` shares, and what is drawn with other goals, has none.

    Args:
        capacity: steps to keep of each environment; the oldest ones go.
        counting: what rewards count as in batches; here they are kept as they are. It changes with additions, or where
            `recount` is called.
    """

    def __init__(self, capacity: int, counting: Callable[[Tensor], Tensor] = lambda reward: reward) -> None:
        self.capacity, self._counting = capacity, counting
        self._store: Experience | None = None  # [rows, N], with room for more, without pictures
        self._frames: Frames | None = None  # the pictures, if observations have some
        self._begin = self._end = 0  # rows that are kept
        # Of what is kept, [S, N], if somebody has asked since it changed.
        self._returned: Tensor | None = None
        self._stretches: Stretches | None = None

    def add(self, experience: Experience) -> None:
        """Adds the next `[T, N]` steps.

        Raises:
            UserError: if there is no memory for so many pictures.
        """
        self._add_frames(experience)
        experience = without_pictures(experience)
        end = self._end + len(experience)
        if self._store is None or end > len(self._store):
            self._store = self._with_room(experience)
            end = self._end + len(experience)
        self._store[self._end : end] = experience
        self._returned = self._stretches = None
        self._begin, self._end = max(self._begin, end - self.capacity), end

    def recount(self) -> None:
        """Has returns added up again when they are next asked for: rewards count as something else now."""
        self._returned = None

    def _add_frames(self, experience: Experience) -> None:
        image, next_image = experience.obs.image, experience.next_obs.image
        if not image.shape[-1]:
            return
        if self._frames is None:
            self._frames = Frames(self.capacity, image)
        self._frames.add(image, next_image)

    def _with_room(self, experience: Experience) -> Experience:
        """What is kept, at the beginning of more rows than it takes with `experience`: few additions copy it."""
        kept = experience[:0] if self._store is None else self.whole
        needed = len(kept) + len(experience)
        rows = max(needed, min(2 * needed, self.capacity + self.capacity // SLACK + len(experience)))
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
        """All of it but the pictures, `[S, N]`; shares memory."""
        assert self._store is not None  # something has been added
        return self._store[self._begin : self._end]

    def transitions(
        self,
        count: int,
        size: int,
        n_step: int,
        gamma: float,
        generator: torch.Generator,
        *,
        returns: bool = False,
        horizon: int = 0,
        bootstrap_at_done: ReplayBootstrap = "truncation",
    ) -> Sequence[ReplayBatch]:
        """Batches of transitions, drawn uniformly with replacement from the usable steps.

        Pictures are looked up when a batch is taken, so take them before the next addition.

        Args:
            count: how many batches.
            size: transitions of each.
            n_step: rewards of each, fewer where the episode, the usable data or the buffer end before.
            gamma: discount per env step.
            generator: decides which.
            returns: make them `CalibratedBatch`, with the returns of their episodes.
            horizon: draw for each how many env steps are left, from 1 to this, after which nothing counts; the share of
                the horizon that is left is one more number of its observations. 0 has nothing of that.
            bootstrap_at_done: whether something follows a termination.
        """
        kept = self.whole
        start, env = _drawn(kept.usable, count * size, generator)
        left = torch.randint(1, horizon + 1, start.shape, generator=generator) if horizon else None

        def recorded(row: Tensor) -> tuple[Tensor, Tensor]:
            return self._counting(kept.reward[row, env]), kept.terminated[row, env]

        ahead, last = _ahead(kept, start, env, n_step, gamma, recorded, bootstrap_at_done, left)
        obs = kept.obs[start, env]
        if left is not None:
            after = left - (last - start + 1)
            obs, next_obs = _told(obs, left / horizon), _told(ahead.next_obs, after / horizon)
            ahead = replace(ahead, next_obs=next_obs, discount=torch.where(after > 0, ahead.discount, 0.0))
        batch = ReplayBatch(obs, kept.action[start, env], ahead)
        batches = _split(batch, self._returns(gamma)[start, env] if returns else None, size)
        return self._with_pictures(batches, start, last, env)

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
        bootstrap_at_done: ReplayBootstrap = "truncation",
    ) -> Sequence[ReplayBatch]:
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

        ahead, _ = _ahead(kept, start, env, n_step, gamma, with_goal, bootstrap_at_done)
        ahead = replace(ahead, next_obs=goals.put(ahead.next_obs, goal))
        batch = ReplayBatch(goals.put(kept.obs[start, env], goal), kept.action[start, env], ahead)
        return _split(batch, torch.full((len(start),), -torch.inf) if returns else None, size)

    def _reached(self, goals: Goals) -> Stretches:
        """Of every step that is kept; looked up once between two additions."""
        if self._stretches is None:
            self._stretches = Stretches.of(self.whole, goals)
        return self._stretches

    def _returns(self, gamma: float) -> Tensor:
        """Of every step that is kept, `[S, N]`; looked up once between two additions, or calls of `recount`."""
        if self._returned is None:
            self._returned = returns_of(self.counted(self.whole), gamma)
        return self._returned

    def returns(self, count: int, size: int, gamma: float, generator: torch.Generator) -> Sequence[ReturnBatch]:
        """Batches of steps whose episode has ended, drawn uniformly with replacement, with their discounted returns.

        Raises:
            UserError: if there is none.
        """
        returned, kept = self._returns(gamma), self.whole
        known = (returned > -torch.inf).nonzero()  # [M, 2]
        if not len(known):
            raise UserError(
                f"No episode has ended in the {self.steps} steps of warm-up, so there are no returns to learn; raise "
                "data.num_steps or model.warmup_iterations."
            )
        start, env = known[torch.randint(len(known), (count * size,), generator=generator)].unbind(1)
        batch = ReturnBatch(kept.obs[start, env], kept.action[start, env], returned[start, env])
        batches = [batch[first : first + size] for first in range(0, len(batch), size)]
        return self._with_pictures(batches, start, start, env)

    def _with_pictures(self, batches: Sequence[R], start: Tensor, last: Tensor, env: Tensor) -> Sequence[R]:
        """The same with pictures, if there are any, which take memory only batch by batch.

        Args:
            batches: without them, of `M` steps in all.
            start: rows of these steps, `[M]`.
            last: rows of the steps that lead to their next observations, `[M]`.
            env: environments, `[M]`.
        """
        frames = self._frames
        if frames is None:
            return batches
        first, size = frames.end - self.steps, len(batches[0])  # the number of row 0
        where = torch.stack([start + first, last + first, env])

        def pictured(place: int) -> R:
            return _pictured(batches[place], frames, *where[:, place * size : (place + 1) * size])

        return OnDemand(len(batches), pictured)

    def counted(self, experience: Experience) -> Experience:
        """The same steps, with what their rewards count as."""
        return replace(experience, reward=self._counting(experience.reward))


def without_pictures(experience: Experience) -> Experience:
    """The same steps with only the numbers of their observations."""
    obs, next_obs = Obs(state=experience.obs.state), Obs(state=experience.next_obs.state)
    return replace(experience, obs=obs, next_obs=next_obs)


def _pictured(batch: R, frames: Frames, start: Tensor, last: Tensor, env: Tensor) -> R:
    """A batch `[B]` of steps `start [B]` whose next observations come of steps `last [B]`."""
    pictured = replace(batch, obs=replace(batch.obs, image=frames.at(start, env)))
    if isinstance(pictured, ReturnBatch):
        return pictured
    ahead = pictured.transition
    return replace(pictured, transition=replace(ahead, next_obs=replace(ahead.next_obs, image=frames.after(last, env))))


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


def _ahead(
    kept: Experience,
    start: Tensor,
    env: Tensor,
    n_step: int,
    gamma: float,
    outcome: Outcome,
    bootstrap_at_done: ReplayBootstrap,
    left: Tensor | None = None,
) -> tuple[Transition, Tensor]:
    """Up to `n_step` steps on from `start [M]` in environments `env [M]`; they cross neither ends nor bad steps.

    With `left [M]`, at least 1, at most so many.

    Returns:
        Where they lead, and the row of the last of them, `[M]`.
    """
    reward, steps, last = torch.zeros(len(start)), torch.zeros(len(start), dtype=torch.int64), start
    alive, ended = torch.ones_like(start, dtype=torch.bool), torch.zeros_like(start, dtype=torch.bool)
    for ahead in range(n_step):
        now = (start + ahead).clamp(max=len(kept) - 1)
        alive = alive & (start + ahead < len(kept)) & kept.usable[now, env]
        if left is not None:
            alive = alive & (ahead < left)
        paid, terminated = outcome(now)
        reward += torch.where(alive, gamma**ahead * paid, 0.0)
        last, steps, ended = torch.where(alive, now, last), steps + alive, torch.where(alive, terminated, ended)
        alive = alive & ~(terminated | kept.terminated[now, env] | kept.truncated[now, env])
    discount = torch.tensor(gamma) ** steps
    if bootstrap_at_done == "truncation":
        discount = torch.where(ended, 0.0, discount)
    return Transition(reward, kept.next_obs[last, env], discount), last


def _told(obs: Obs, number: Tensor) -> Obs:
    """Observations `[M]` with one more number each, `[M]`."""
    return replace(obs, state=torch.cat([obs.state, number[:, None]], -1))


def shares(total: int, parts: int) -> Sequence[int]:
    """`total` in `parts` that differ by at most one."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]
