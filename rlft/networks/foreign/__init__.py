"""Policies that other libraries wrote, in rlft's words: what a file holds, whose it is, and what to build of it."""

from rlft.networks.foreign.contents import Contents, contents_of
from rlft.networks.foreign.hints import KEYS as HINT_KEYS
from rlft.networks.foreign.hints import Hints, hints_of
from rlft.networks.foreign.translate import Translation, translate

__all__ = ["HINT_KEYS", "Contents", "Hints", "Translation", "contents_of", "hints_of", "translate"]
