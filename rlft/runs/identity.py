"""What a run is: its resolved configuration, all of it but the seed and what cannot change results.

Two runs are seeds of one method if their digests are equal, whatever they are called.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SHORT = 8  # characters of a digest that stand in the name of a run


@dataclass(frozen=True)
class Identity:
    """What a run is.

    Attributes:
        settings: the configuration by dotted key, as in `model.advantage: GAE` and `model.advantage.gamma: 0.8`,
            without the seed, and without workers, log directory, evaluation, progress and the like. A file counts by
            its content.
        seed: of training.
        continues: the digest of the run whose checkpoint this one goes on from, if that one had other settings.
    """

    settings: Mapping[str, Any]
    seed: int
    continues: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the settings, and of what the run goes on from."""
        content = json.dumps([dict(self.settings), self.continues], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def short(self) -> str:
        """The beginning of the digest, for names."""
        return self.digest[:SHORT]
