"""What films and the policies in them are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rlft.videos.choice import Which

LONGEST = 120  # letters of a file's name


def label(policy: str) -> str:
    """A policy as captions say it: of a file in a run `<run>/version_<k>/best`, else the last parts of the path."""
    path = Path(policy)
    if not path.is_file():  # a name of the zoo
        return policy
    parts = [part for part in path.with_suffix("").parts if part not in ("policies", "checkpoints", "/")]
    return "/".join(parts[-3:] if len(parts) > 1 and parts[-2].startswith("version_") else parts[-2:])


def stem(policies: Sequence[str], which: Which, *, deterministic: bool) -> str:
    """The name of a film without its ending."""
    parts = [" beside ".join(map(label, policies))]
    if which != "first":
        parts.append(which if isinstance(which, str) else " ".join(map(str, which)))
    if not deterministic:
        parts.append("sampled")
    return re.sub(r"[^\w.=-]+", "-", "-".join(parts))[-LONGEST:].lstrip("-.")
