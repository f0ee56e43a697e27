"""Policies that other libraries wrote, in rlft's words: what a file holds, whose it is, and what to build of it."""

from rlft.networks.foreign.contents import Contents, contents_of
from rlft.networks.foreign.said import KEYS as SAID_KEYS
from rlft.networks.foreign.said import Said, said_of
from rlft.networks.foreign.translate import Translation, translate

__all__ = ["SAID_KEYS", "Contents", "Said", "Translation", "contents_of", "said_of", "translate"]
