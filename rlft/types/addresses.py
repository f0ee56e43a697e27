"""Generators that depend on nothing but their address, so that a run that goes on sees the same numbers."""

from collections.abc import Sequence

import numpy as np
import torch


def generator_at(address: Sequence[int], device: torch.device | str = "cpu") -> torch.Generator:
    """The generator at `address` (non-negative integers), at its beginning."""
    seed = np.random.SeedSequence(list(address)).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(seed))
