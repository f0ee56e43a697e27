"""Evaluation episodes played once more with their states kept, and proof that they are the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlft.errors import UserError
from rlft.files.rows import entries_of
from rlft.types import Actor, EpisodeResults, RecordedEpisodes, Rollouts


def replay(
    rollouts: Rollouts,
    actor: Actor,
    episodes: Sequence[int],
    evaluated: EpisodeResults,
    *,
    seed: int,
    deterministic: bool,
) -> RecordedEpisodes:
    """Plays episodes of an evaluation again, and compares what comes of them bit for bit.

    Args:
        rollouts: the environments.
        actor: the policy.
        episodes: their numbers.
        evaluated: what came of all episodes `[E]` of the evaluation.
        seed: of the evaluation.
        deterministic: whether it took the mean action.

    Raises:
        UserError: if an episode went another way.
    """
    recorded = rollouts.record(actor, episodes, seed=seed, deterministic=deterministic)
    expected = entries_of(evaluated[torch.as_tensor(episodes)])
    for name, found in entries_of(recorded.results).items():
        if not torch.equal(found, expected[name]):
            wrong = [number for number, same in zip(episodes, found == expected[name], strict=True) if not same]
            raise UserError(
                f"Episode {wrong[0]} has another {name} in its replay than in the evaluation: this task does not "
                "replay exactly here, so a film would show another episode."
            )
    return recorded
