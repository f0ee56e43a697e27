"""Lightning modules: what learns."""

from rlft.modules.autoencoder import AutoencoderModule
from rlft.modules.bc import BCModule
from rlft.modules.finetune import FinetuneModule
from rlft.modules.iqn import IQNModule
from rlft.modules.off_policy import OffPolicyModule

__all__ = ["AutoencoderModule", "BCModule", "FinetuneModule", "IQNModule", "OffPolicyModule"]
