"""What the server of `warm.py` imports."""

import mani_skill.envs  # noqa: F401
import torch

import rlft.training.cli  # noqa: F401
from rlft.rollout import worker_process

torch.set_num_threads(1)
worker_process.end_with_parent = lambda _parent, by: True  # that of a fork is the server, and it ends with pytest
