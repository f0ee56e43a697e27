"""Whether a policy fits the environment that it is to act in: refused in a sentence where it does not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from rlft.errors import UserError
from rlft.networks.policy_files import Policy
from rlft.networks.privileged import is_privileged
from rlft.types import LOOKS, Actor, Critic, EnvFactory, EnvSpec, mismatches, unrecorded

MEANING = ("task", "robot", "control_mode", "task_options", *LOOKS)  # of an environment: what numbers mean to a policy
Mismatch = Literal["task", "robot", "control_mode", "task_options", "zoom", "meshes"]  # those that a user may accept


def check_shapes(policy: Policy, obs_dim: int, action_dim: int, remedy: str = "choose a policy of this task") -> None:
    """Refuses a policy that was made for another task.

    Args:
        policy: that is to be used.
        obs_dim: numbers per observation of the task.
        action_dim: numbers per action.
        remedy: what to do, as the end of the sentence.

    Raises:
        UserError: if the observation or action dimensions differ.
    """
    shape = (policy.actor.obs_dim, policy.actor.action_dim)
    if shape != (obs_dim, action_dim):
        raise UserError(
            f"Policy {policy.name} maps {shape[0]} observations to {shape[1]} actions, "
            f"but the task has {obs_dim} observations and {action_dim} actions; {remedy}."
        )


def check_fits(
    policy: Policy, env: EnvFactory, spec: EnvSpec, accepted: Collection[str] = (), *, demonstrates: bool = False
) -> list[str]:
    """Refuses a policy of other sizes, or made for another environment, than the one that has been built.

    Args:
        policy: that is to act.
        env: where.
        spec: of the environments that were built.
        accepted: names of what may differ.
        demonstrates: whether it may act on what is privileged, see `demonstrating`.

    Returns:
        What has to be said all the same, as of `check_made_for`.

    Raises:
        UserError: if it does not fit.
    """
    on_states = demonstrates and is_privileged(policy.actor, spec.obs_dim, spec.privileged_dim)
    check_shapes(policy, spec.privileged_dim if on_states else spec.obs_dim, spec.action_dim)
    if policy.actor.choices != spec.choices:
        found, wanted = (
            "vectors" if choices is None else f"one of {choices} choices"
            for choices in (policy.actor.choices, spec.choices)
        )
        raise UserError(
            f"Policy {policy.name} acts by {found}, but {spec.task} by {wanted}; choose a policy of this task."
        )
    check_pictures(policy.actor, spec, f"Policy {policy.name}")
    return check_made_for(policy, env.describe(spec), accepted)


def check_pictures(network: Actor | Critic, spec: EnvSpec, name: str) -> None:
    """Refuses a network that looks at other pictures than an environment has; it need not look at any.

    Raises:
        UserError: if it does.
    """
    if network.image is not None and network.image != spec.image:
        has = "no pictures" if spec.image is None else f"pictures of {list(spec.image)}"
        raise UserError(f"{name} looks at pictures of {list(network.image)}, but {spec.task} has {has}.")


def check_made_for(policy: Policy, described: Mapping[str, Any], accepted: Collection[str] = ()) -> list[str]:
    """Refuses a policy that was made for another environment than the one it is to act in; see also `check_shapes`.

    Args:
        policy: with what its file records of its environment.
        described: the environment, as `EnvFactory.describe` says it.
        accepted: names of what may differ.

    Returns:
        What has to be said all the same: what was assumed in reading it, which differences were accepted, and what the
        file does not record.

    Raises:
        UserError: if something else differs.
    """
    meaning = [name for name in MEANING if name not in LOOKS or policy.actor.image is not None]
    if found := mismatches(described, policy.info, accepted=accepted, names=meaning):
        names = [*accepted, *(one.partition(" ")[0] for one in found)]
        raise UserError(
            f"Policy {policy.name} was made for {', '.join(found)}; to use it all the same give --accept_mismatch "
            f"'[{', '.join(names)}]'."
        )
    notes = [f"Policy {policy.name}: {note}" for note in policy.notes]
    if differences := mismatches(described, policy.info, names=meaning):
        notes.append(f"Policy {policy.name} was made for {', '.join(differences)}, which was accepted.")
    if unknown := unrecorded(described, policy.info, names=meaning):
        notes.append(f"The file of policy {policy.name} does not record {', '.join(unknown)}; they are taken to fit.")
    return notes
