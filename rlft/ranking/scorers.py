"""Everything that scores states or actions without seeing a trajectory: critics from files, networks trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from rlft.errors import UserError
from rlft.networks import ActionValueCritic
from rlft.networks.policy_checks import check_shapes
from rlft.networks.policy_files import load_policy
from rlft.networks.q_ensemble import QEnsemble
from rlft.ranking.estimators import USUAL_LAMBDA, Value
from rlft.ranking.experiment import Simulated
from rlft.ranking.learned import Regressions, dueling, for_each_action, pairwise
from rlft.ranking.simulation import Simulator
from rlft.types import Critic, EnvSpec, Obs

ActionValue = Callable[[Obs, Tensor], Tensor]


@dataclass(frozen=True)
class Critics:
    """Files with critics that were trained elsewhere, by what they are used for; see `rank`."""

    critic: str | None = None
    iql: str | None = None
    sarsa: str | None = None
    off_policy: str | None = None


KINDS: dict[str, type[Critic]] = {"iql": ActionValueCritic, "sarsa": ActionValueCritic, "off_policy": QEnsemble}
LEARNERS = {"iql": "IQL", "sarsa": "SARSA", "off_policy": "an OffPolicyModule"}


def load_critics(critics: Critics, spec: EnvSpec, gamma: float, reward_mode: str | None) -> dict[str, Critic]:
    """The critics that are asked for.

    Raises:
        UserError: if a file holds none, or none of the right kind, shape, discount or reward.
    """
    found: dict[str, Critic] = {}
    for name, file in asdict(critics).items():
        if file is None:
            continue
        policy = load_policy(file)
        check_shapes(policy, spec.obs_dim, spec.action_dim)
        if policy.critic is None:
            raise UserError(f"{name} {file} holds no critic.")
        if name in KINDS and not isinstance(policy.critic, KINDS[name]):
            kind = type(policy.critic).__name__
            raise UserError(f"{name} {file} holds {kind}; name a file with a critic that {LEARNERS[name]} has trained.")
        if name == "critic" and isinstance(policy.critic, QEnsemble):
            raise UserError(f"critic {file} holds values of actions only, not of states; it can be the off_policy one.")
        made_with = policy.info.get("critic") or {}  # not every file says
        for setting, value in (("gamma", gamma), ("reward_mode", reward_mode), ("reward_scale", 1.0)):
            if made_with.get(setting, value) != value:
                found_value = made_with[setting]
                raise UserError(
                    f"{name} {file} holds values at {setting} {found_value}, but this study has {setting} {value}."
                )
        found[name] = policy.critic
    return found


def scorers(
    simulated: Simulated, simulator: Simulator, given: Mapping[str, Critic]
) -> tuple[dict[str, Value], dict[str, Tensor]]:
    """State values by name, the one for GAE and TD first, and scores `[N, J]` of networks that see no trajectory."""
    actions, others, seed = simulated.actions, simulated.training_actions, simulator.seed
    regressions = Regressions(simulated.training, simulator.gamma, simulator.farthest + 1, seed)
    values: dict[str, Value] = {"V given": given["critic"]} if "critic" in given else {"V on MC": regressions.value()}
    labels = simulated.training_truth.mean(2)
    networks: dict[str, ActionValue] = {
        "Q on MC": regressions.action_value(),
        "A on GAE": regressions.advantage(next(iter(values.values())), USUAL_LAMBDA),
        "dueling Q": dueling(others.obs, others.action, labels, seed),
        "pairwise": pairwise(others.obs, others.action, labels, seed),
    }
    for name, critic in given.items():
        if isinstance(critic, ActionValueCritic) and name != "critic":
            values[f"V of {name.upper()}"] = critic
            networks[f"Q of {name.upper()}"] = critic.target_action_value  # what their advantages are made of
    if "off_policy" in given:
        ensemble = given["off_policy"]
        assert isinstance(ensemble, QEnsemble)
        low, high = simulator.rollouts.spec.action_low, simulator.rollouts.spec.action_high
        networks["Q off-policy"] = lambda obs, action: ensemble.mean_value(obs, action.clamp(low, high))
    obs = for_each_action(actions.obs, actions.action)  # [N, J]
    with torch.no_grad():
        return values, {name: network(obs, actions.action) for name, network in networks.items()}
