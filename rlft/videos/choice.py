"""Which evaluation episodes are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlft.errors import UserError, require
from rlft.types import RecordedEpisodes

Which = Literal["first", "failed"] | tuple[int, ...]
EPISODES, AMONG = 4, 128  # unless told otherwise


@dataclass(frozen=True)
class Choice:
    """What was asked for; see `rlft.commands.record`.

    Raises:
        UserError: if it means nothing.
    """

    which: Which = "first"
    episodes: int | None = None
    among: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("episodes", self.count), ("among", self.searched)):
            require(value >= 1, f"--{name}", value, "at least 1")
        if self.among is not None and self.which != "failed":
            raise UserError("--among is how many are searched for failures; it is of use only with --which failed.")
        if isinstance(self.which, str):
            return
        if not self.which or min(self.which) < 0 or len(set(self.which)) < len(self.which):
            raise UserError(
                f"--which is {list(self.which)}; it must be first, failed, or different numbers of episodes from 0 on."
            )
        if self.episodes is not None:
            raise UserError("--which names the episodes, so there is no number of --episodes to choose.")

    @property
    def count(self) -> int:
        """How many at most, where they are not named."""
        return EPISODES if self.episodes is None else self.episodes

    @property
    def searched(self) -> int:
        """Among how many those that failed are looked for."""
        return AMONG if self.among is None else self.among

    @property
    def to_play(self) -> Sequence[int]:
        """The evaluation episodes that have to be played."""
        if self.which == "failed":
            return range(self.searched)
        return range(self.count) if isinstance(self.which, str) else self.which

    def of(self, played: RecordedEpisodes, policy: str) -> RecordedEpisodes:
        """Those of the episodes `to_play` of a policy that are chosen.

        Raises:
            UserError: if it is to be those that failed, and none has.
        """
        if self.which != "failed":
            return played
        failed: list[int] = (~played.results.success_once).nonzero().flatten().tolist()
        if not failed:
            raise UserError(
                f"None of the {len(played)} evaluation episodes of {policy} failed; --among plays more of them, and "
                "--which first records those that succeeded."
            )
        return played[failed[: self.count]]
