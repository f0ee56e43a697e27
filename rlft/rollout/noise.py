"""Action noise that depends on nothing but its address.

Every environment of every iteration has its own generator, so rollouts are the same with any number of workers, and a
resumed run continues with the numbers it would have seen.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def standard_normal(address: Sequence[int], num_steps: int, noise_dim: int) -> Tensor:
    """`[T, Z]` standard normal numbers of the generator at `address` (non-negative integers)."""
    generator = np.random.default_rng(list(address))
    return torch.from_numpy(generator.standard_normal((num_steps, noise_dim), dtype=np.float32))
