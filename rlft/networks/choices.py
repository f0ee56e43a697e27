"""Networks whose actions are numbers of choices."""

from rlft.errors import require


def check_choices(choices: int, action_dim: int) -> None:
    """Refuses to choose where there is no choice, or where actions are numbers.

    Raises:
        UserError: if it is so.
    """
    require(choices >= 2, "choices of a network", choices, "at least 2")
    require(action_dim == 1, "the numbers per action of a network that chooses", action_dim, "1: the task has others")
