"""Shared by the ManiSkill tests: stock environments to compare with, and ways to drive the batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlft.envs import ManiSkill
from rlft.envs.maniskill import ManiSkillBatch
from rlft.envs.maniskill.building import register_tasks
from rlft.types import EnvStates, Obs, Step

Policy = Callable[[Tensor, int], Tensor]  # observations [N, O] and the time step to actions [N, A]

# Columns of a PickCube-v1 observation.
IS_GRASPED, TCP, GOAL, CUBE = 18, slice(19, 22), slice(26, 29), slice(29, 32)


def make_batch(num_envs: int, **config) -> ManiSkillBatch:
    return ManiSkillBatch(ManiSkill(**{"control_mode": None, **config}), num_envs)


def make_stock(config: ManiSkill, seed: int):
    """One ordinary ManiSkill environment on the CPU."""
    register_tasks()
    import gymnasium

    robot = {} if config.robot is None else {"robot_uids": config.robot}
    env = gymnasium.make(
        config.task,
        sim_backend="physx_cpu",
        render_backend="none",
        obs_mode="state",
        reward_mode=config.reward_mode,
        control_mode=config.control_mode,
        **robot,
        **config.task_options,
    ).unwrapped
    env.reset(seed=seed, options={"reconfigure": True})  # the geometry of this scene of the batch
    return env


def stock_steps(config: ManiSkill, states: EnvStates, actions: torch.Tensor, seed: int) -> Step:
    """What a stock environment returns from each of `states` for `actions [T, N, A]`, stacked `[T, N, ...]`."""
    scenes = []
    for i, physics in enumerate(states.physics):
        env = make_stock(config, seed + i)
        env.scene.px.unpack(physics.numpy().tobytes())
        env.agent.controller.reset()
        steps = [env.step(action) for action in actions[:, i].numpy()]
        obs, reward, terminated, _, infos = zip(*steps, strict=True)
        success = [info.get("success", torch.zeros(1)).bool() for info in infos]
        reward = [r.float() for r in reward]  # a sparse reward is a bool
        columns = {"reward": reward, "terminated": terminated, "success": success}
        joined = {name: torch.cat(column) for name, column in columns.items()}
        scenes.append(Step(obs=Obs(torch.cat(obs)), **joined))
        env.close()
    return Step.stack(scenes, dim=1)


def assert_same_steps(ours: Step, theirs: Step) -> None:
    torch.testing.assert_close(ours.obs.state, theirs.obs.state, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.reward, theirs.reward, atol=1e-4, rtol=0)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert torch.equal(ours.success, theirs.success)


def reset_like_stock(batch: ManiSkillBatch, seed: int) -> EnvStates:
    """Scene `i` built and started as a stock environment is from seed `seed + i`."""
    seeds = [seed + i for i in range(batch.num_envs)]
    obs, _ = batch.env.reset(seed=seeds, options={"reconfigure": True})
    batch._physics = type(batch._physics)(batch.env)  # rebuilding the scenes replaced the systems
    return snapshot(batch, obs)


def snapshot(batch: ManiSkillBatch, obs: Tensor, elapsed: int = 0) -> EnvStates:
    """Where all scenes are; `obs` is what they were last seen to show."""
    physics, task = batch.save(range(batch.num_envs))
    count = torch.zeros(batch.num_envs, dtype=torch.int64)
    return EnvStates(physics=physics, task=task, obs=Obs(obs.clone()), elapsed=count + elapsed, episode=count)


def random_actions(batch: ManiSkillBatch, num_steps: int, seed: int = 0) -> Tensor:
    """`[T, N, A]`, uniform within the bounds."""
    generator = torch.Generator().manual_seed(seed)
    low, high = batch.spec.action_low, batch.spec.action_high
    return low + (high - low) * torch.rand(num_steps, batch.num_envs, len(low), generator=generator)


def play(batch: ManiSkillBatch, actions: Sequence[Tensor]) -> Step:
    """Steps through `actions` and stacks what came back, `[T, N, ...]`."""
    steps = [batch.step(action) for action in actions]
    return Step.stack(steps)


def grasp(obs: Tensor, t: int) -> Tensor:
    """A scripted PickCube policy for `pd_ee_delta_pos` (0.1 m per unit): reach, close at step 12, carry from 16."""
    target = obs[:, GOAL] - obs[:, CUBE] if t >= 16 else obs[:, CUBE] - obs[:, TCP]
    if t < 6:
        target = target + torch.tensor([0.0, 0.0, 0.05])
    gripper = torch.full((len(obs), 1), 1.0 if t < 12 else -1.0)
    return torch.cat([target / 0.1, gripper], 1).clamp(-1, 1)


def drive(batch: ManiSkillBatch, policy: Policy, obs: Tensor, start: int, num_steps: int) -> tuple[Step, Tensor]:
    """Lets `policy` act; returns the steps `[T, N, ...]` and the actions `[T, N, A]`."""
    steps, actions = [], []
    for t in range(start, start + num_steps):
        actions.append(policy(obs, t))
        steps.append(batch.step(actions[-1]))
        obs = steps[-1].obs.state
    return Step.stack(steps), torch.stack(actions)
