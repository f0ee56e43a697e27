"""The one exception that is meant for the person at the keyboard."""


class UserError(Exception):
    """Something in the configuration or the files is wrong: one sentence saying what, where, and what would be right.

    The command line prints the sentence alone, without a traceback, and exits with status 1.
    """


def one_line(error: BaseException) -> str:
    """What an exception says, without line breaks; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def require(right: bool, key: str, value: object, allowed: str) -> None:
    """Refuses a value of `key` that is not `right`, and says what is `allowed`.

    Raises:
        UserError: if it is not.
    """
    if not right:
        raise UserError(f"{key} is {value}; it must be {allowed}.")
