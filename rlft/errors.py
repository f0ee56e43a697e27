"""The one exception that is meant for the person at the keyboard, and what its sentences are made of."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something in the configuration or the files is wrong: one sentence saying what, where, and what would be right.

    The command line prints the sentence alone, without a traceback, and exits with status 1.
    """


def one_line(error: BaseException) -> str:
    """What an exception says, without line breaks; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def did_you_mean(given: str, names: Iterable[str], most: int = 2, before: str = "") -> str:
    """The end of a sentence about a name that is not there: `; did you mean a or b?`; nothing if none is like it.

    Args:
        given: what was typed.
        names: what there is.
        most: how many of them to name.
        before: what is to stand before each.
    """
    known = [name for name in names if name != given]  # a folder may be there and be something else
    begun = [name for name in known if given and name.startswith(given)]
    near = list(dict.fromkeys([*begun, *get_close_matches(given, known, n=most)]))[:most]
    return f"; did you mean {' or '.join(before + name for name in near)}?" if near else ""


def require(right: bool, key: str, value: object, allowed: str) -> None:
    """Refuses a value of `key` that is not `right`, and says what is `allowed`.

    Raises:
        UserError: if it is not.
    """
    if not right:
        raise UserError(f"{key} is {value}; it must be {allowed}.")
