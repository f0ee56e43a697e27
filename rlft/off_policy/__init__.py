"""What an actor learns from action values, and what else critics learn: each plug-in is one file."""

from rlft.off_policy.anchored import Anchored
from rlft.off_policy.conservative import Conservative
from rlft.off_policy.entropy import EntropyRegularised
from rlft.off_policy.objective import ActorObjective, Values

__all__ = ["ActorObjective", "Anchored", "Conservative", "EntropyRegularised", "Values"]
