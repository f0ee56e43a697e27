"""Lightning modules: what learns."""

from rlft.modules.finetune import FinetuneModule

__all__ = ["FinetuneModule"]
