"""The callbacks of `rlft.callbacks`, by the name that a config may use; rlft itself never imports this package."""

from rlft.callbacks import *  # noqa: F403
from rlft.callbacks import __all__ as __all__
