"""How a policy fails in PickCube-v1: whether it never held the cube, lost it, or holds it outside of the goal.

    python -m tests.benchmarks.pick_cube_failures POLICY [--episodes 1000]

The episodes are those of `rlft evaluate`, with the mean action. The goal is a ball of 25 mm around a point.
"""

import argparse

import torch

from rlft.envs import ManiSkill
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts

SCENES = 100
GRASPED, GOAL_OFFSET = 18, slice(39, 42)  # of the 42 numbers of an observation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy")
    parser.add_argument("--episodes", type=int, default=1000)
    args = parser.parse_args()
    policy = load_policy(args.policy)
    rollouts = LocalRollouts(ManiSkill.of_policy(policy.info), SCENES)
    failed = []  # observations [E, T, O]
    for first in range(0, args.episodes, SCENES):
        numbers = range(first, min(first + SCENES, args.episodes))
        played = rollouts.record(policy.actor, numbers, seed=EVALUATION_SEED, deterministic=True)
        failed.append(played.states.obs.state[~played.results.success_once])
    describe(torch.cat(failed), args.episodes)


def describe(obs: torch.Tensor, episodes: int) -> None:
    """Prints how the failed episodes `[E, T, O]` end."""
    grasped, distance = obs[..., GRASPED] > 0.5, obs[:, -1, GOAL_OFFSET].norm(dim=-1) * 1000
    held = grasped[:, -1]
    lost = grasped.any(1) & ~held
    millimetres = ", ".join(f"{mm:.0f}" for mm in sorted(distance[held].tolist()))
    print(f"{len(obs)} of {episodes} episodes failed")
    print(f"{int(held.sum()):4d} hold the cube in the end, at mm from the goal: {millimetres or '-'}")
    print(f"{int(lost.sum()):4d} have lost it")
    print(f"{int((~grasped.any(1)).sum()):4d} never held it")


if __name__ == "__main__":
    main()
