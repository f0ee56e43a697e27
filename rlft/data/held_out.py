"""Setting data aside by whole episodes: neighbouring transitions are too alike to test one on the other."""

from torch import Tensor


def episode_numbers(done: Tensor) -> Tensor:
    """Which episode each step belongs to, `[T, N]` int64: numbered within an environment, then across environments.

    An episode that the data begin or end in the middle of counts as one.
    """
    before = done.long().cumsum(0) - done.long()  # [T, N], episodes that ended earlier in this environment
    count = before[-1] + 1  # [N]
    return before + count.cumsum(0) - count


def held_out_steps(done: Tensor, fraction: float) -> Tensor:
    """`[T, N]` bool: the steps of `fraction` of the episodes, at least one, evenly spread over their numbers.

    Evenly, because a file may have the episodes of one policy after those of another.
    """
    number = episode_numbers(done)  # [T, N]
    episodes = int(number.max()) + 1
    held_out = max(1, round(fraction * episodes)) if fraction else 0
    return (number + 1) * held_out // episodes > number * held_out // episodes
