"""Lightning modules: what learns."""

from rlft.modules.bc import BCModule
from rlft.modules.finetune import FinetuneModule

__all__ = ["BCModule", "FinetuneModule"]
