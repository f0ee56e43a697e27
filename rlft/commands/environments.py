"""The environment in which a policy is played."""

from __future__ import annotations

from rlft.envs.maniskill import AS_RECORDED, EnvSettings, ManiSkill
from rlft.errors import UserError
from rlft.networks.policy_files import Policy


def environment_of(
    policy: Policy, task: str | None = None, control_mode: str | None = None, settings: EnvSettings = AS_RECORDED
) -> ManiSkill:
    """What the policy's file says, changed as asked for; see `ManiSkill.of_policy`.

    Raises:
        UserError: if there is no such environment, as when a module that registers its task is not here.
    """
    try:
        return ManiSkill.of_policy(policy.info, task, control_mode, settings)
    except UserError as error:
        raise UserError(f"The environment of policy {policy.name}: {error}") from error
