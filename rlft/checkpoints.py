"""How checkpoints get to the disk."""

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from rlft.files import replacing


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that appear complete or not at all: Lightning overwrites the one before in place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes beside `path` and renames."""
        with replacing(Path(path)) as temporary:
            super().save_checkpoint(checkpoint, temporary, storage_options)
