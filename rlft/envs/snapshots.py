"""What to say where something goes back to states of an environment that has none."""

from rlft.errors import UserError
from rlft.types import EnvSpec


def require_snapshots(spec: EnvSpec, who: str) -> None:
    """Refuses what goes back to states many times over.

    Args:
        spec: of the environment.
        who: does so, as the subject of a sentence.

    Raises:
        UserError: if a state of this task is everything since a reset, played again.
    """
    if not spec.snapshots:
        raise UserError(
            f"{who} goes back to simulator states, and {spec.task} has none: it can only play an episode again "
            "from its reset."
        )
