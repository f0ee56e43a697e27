"""What learners from demonstrations share: who plays them, and that nothing is asked of rewards."""

from __future__ import annotations

from typing import Any

from rlft.modules.iteration import IterationModule
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy
from rlft.networks.privileged import demonstrating, is_privileged
from rlft.types import Actor


class DemonstratedModule(IterationModule):
    """Learns from what a demonstrator does, or from what has been recorded; there is no critic."""

    demonstrator: str | None  # who plays for the data module; `None` has the actor do it

    needs_visited = False
    fewest_envs = 1
    relabels = False

    def _begin_with(
        self, demonstrator: str | None, data_policy: str | None, seen: tuple[int, int], action_dim: int
    ) -> None:
        """Takes a demonstrator, who is of no meaning where data of a `data_policy` come from a file.

        Args:
            demonstrator: by name.
            data_policy: who played the data of a file, if they come from one.
            seen: numbers of an observation's state, and those that only a demonstrator may see.
            action_dim: numbers per action.

        Raises:
            UserError: if it is a policy of another task.
        """
        if data_policy is not None:
            self.unused = frozenset({"demonstrator"})
        elif demonstrator is not None:
            policy = load_policy(demonstrator)
            check_shapes(policy, seen[is_privileged(policy.actor, *seen)], action_dim)
        self.demonstrator = demonstrator
        self._seen = seen

    def critic_info(self) -> dict[str, Any] | None:
        """There is no critic."""
        return None

    @property
    def needs_rewards(self) -> bool:
        """What was demonstrated counts, whatever it was worth."""
        return False

    @property
    def collector(self) -> Actor:
        """The policy that acts in rollouts."""
        if self.demonstrator is None:
            return self.actor
        return demonstrating(load_policy(self.demonstrator).actor, *self._seen)
