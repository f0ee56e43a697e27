"""What the server of `warm.py` imports: not the simulator, which would look for a device to draw with, in threads."""

import torch

import rlft.training.cli  # noqa: F401
from rlft.rollout import worker_process
from rlft.training import several_learners

torch.set_num_threads(1)
for module in (worker_process, several_learners):
    module.end_with_parent = lambda _parent, by: True  # that of a fork is the server, and it ends with pytest
