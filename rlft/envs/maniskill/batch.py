"""Scenes of one ManiSkill task, stepped together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlft.envs.maniskill.building import build
from rlft.envs.maniskill.explaining import explained
from rlft.envs.maniskill.goals import goals_of
from rlft.envs.maniskill.headless import without_looks
from rlft.envs.maniskill.physics import CpuPhysics, CudaPhysics
from rlft.envs.maniskill.sensor import Sight, drawing_of
from rlft.envs.maniskill.task_state import TaskState, first_step
from rlft.envs.maniskill.telling import behaviour_of, reward_definition
from rlft.errors import UserError
from rlft.types import NOTHING, EnvSpec, EnvStates, Obs, Step

if TYPE_CHECKING:
    from rlft.envs.maniskill.task import ManiSkill


class ManiSkillBatch:
    """`N` scenes of one task; implements `rlft.types.BatchEnv`, and `StagedEnv` if the task has stages.

    Raises:
        UserError: if the task, robot, control mode, reward or assets are not there, the task cannot run state-only, or
            its own code fails.
        NoDevice: if there are to be pictures, and nothing here can draw.
    """

    def __init__(self, config: ManiSkill, num_envs: int, *, cuda: bool = False) -> None:
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: at least one environment is needed.")
        self.num_envs = num_envs
        self.config = config
        drawing = drawing_of(config) if config.obs == "rgb" else None  # builds its scene while ours are built
        env, horizon = build(config, num_envs, cuda=cuda)
        self.env: Any = env
        spec = _spec(config, env, horizon)
        self._physics: CpuPhysics | CudaPhysics = CudaPhysics(env) if cuda else CpuPhysics(env)
        tried = first_step(config.without_pictures())
        self._task_state = TaskState(env, tried.slots)
        self._sight = None if drawing is None else Sight(env, drawing, config.image_size)
        self._active: Sequence[int] = range(num_envs)
        self.spec = replace(spec, info=tried.info, **self._seen(spec))

    def step(self, action: Tensor) -> Step:
        """Steps the active scenes with clipped actions `[N, A]`; see `BatchEnv.step`."""
        with explained(self.config, "make a step"):
            obs, reward, terminated, _, info = self.env.step(action.to(self.env.device))
            told = [info[name].float() for name in self.spec.info]
            seen = self._observed(obs, info, self._active)
        success = info.get("success", torch.zeros_like(terminated))
        # Copies: a task may hand out tensors that it goes on writing into.
        return Step(
            obs=seen,
            reward=reward.float().cpu().clone(),
            terminated=terminated.cpu(),
            success=success.bool().cpu().clone(),
            info=torch.stack(told, 1).cpu() if told else NOTHING,
        )

    def save(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Physics `[M, P]` uint8 and task state `[M, Q]` of scenes `rows`."""
        return self._physics.save(rows), self._task_state.save(rows)

    def restore(self, rows: Sequence[int], states: EnvStates) -> None:
        """Puts scene `rows[i]` into `states[i]`, a state of any scene of the same task."""
        self._physics.restore(rows, states.physics)
        self._task_state.restore(rows, states.task)
        self.env._elapsed_steps[torch.as_tensor(rows)] = states.elapsed.int().to(self.env.device)

    def activate(self, rows: Sequence[int]) -> int:
        """Simulates only scenes `rows` from now on, if it can; see `BatchEnv.activate`."""
        self._active = rows
        return self._physics.activate(rows)

    def initial_states(self, seed: int) -> EnvStates:
        """Resets all scenes with one seed, as ManiSkill's users do."""
        with without_looks(), explained(self.config, "be reset"):
            obs, info = self.env.reset(seed=seed)
            seen = self._observed(obs, info, range(self.num_envs))
        physics, task = self.save(range(self.num_envs))
        zeros = torch.zeros(self.num_envs, dtype=torch.int64)
        return EnvStates(physics=physics, task=task, obs=seen, elapsed=zeros, episode=zeros)

    def prelude(self, stage: str) -> Iterator[Tensor]:
        """What the task plays to get into a stage; see `StagedEnv.prelude`."""
        for action in self.env.prelude(stage):
            yield action.cpu()

    def begin(self, stage: str) -> tuple[Obs, Tensor]:
        """Has episodes begin here; see `StagedEnv.begin`."""
        arrived = self.env.begin_in(stage)
        self.env._elapsed_steps[:] = 0
        info = self.env.get_info()
        return self._observed(self.env.get_obs(info).clone(), info, range(self.num_envs)), arrived.cpu()

    def _observed(self, state: Tensor, info: Any, rows: Sequence[int]) -> Obs:
        """What is seen of all scenes, with pictures of `rows` where there are any."""
        if self._sight is None:
            return Obs(state=state.cpu())
        return self._sight.observe(state, info, rows, self._physics.save(rows))

    def _seen(self, spec: EnvSpec) -> dict[str, Any]:
        """In what the fields of `spec`, which is of states, are others where there are pictures."""
        if self._sight is None:
            return {}
        numbers = self._sight.numbers(self.env.get_info())
        return {"obs_dim": numbers.shape[1], "privileged_dim": spec.obs_dim, "image": self._sight.image, "goals": None}

    def state_dicts(self, rows: Sequence[int]) -> dict[str, Any]:
        """ManiSkill's own state dictionary of scenes `rows`: nested, with arrays `[M, ...]`."""

        def select(content: Any) -> Any:
            if isinstance(content, dict):
                return {name: select(value) for name, value in content.items()}
            return content[torch.as_tensor(rows, device=content.device)].cpu().numpy()

        selected: dict[str, Any] = select(self.env.get_state_dict())
        return selected

    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments with which `gymnasium.make` builds one such environment."""
        return {
            **self.config.task_options,
            "obs_mode": self.config.obs,
            "control_mode": self.env.control_mode,
            "reward_mode": self.env.reward_mode,
            "robot_uids": self.env.robot_uids,
            "sim_backend": f"physx_{self.env.device.type}",
        }


def _spec(config: ManiSkill, env: Any, horizon: int) -> EnvSpec:
    space: Any = getattr(env, "single_action_space", None)
    if not hasattr(space, "low"):
        robots = "has no robot" if space is None else "has several robots"
        raise UserError(f"Task {config.task} {robots}; rlft controls one.")
    low, high = (torch.as_tensor(bound) for bound in (space.low, space.high))
    (obs_dim,) = env.single_observation_space.shape
    return EnvSpec(
        config.task,
        obs_dim,
        len(low),
        low,
        high,
        horizon,
        robot=env.agent.uid,
        control_mode=env.control_mode,
        default_reward_mode=env.SUPPORTED_REWARD_MODES[0],
        goals=goals_of(env),
        stages=tuple(getattr(env, "start_stages", ())),
        behaviour=behaviour_of(config.task, env),
        reward_definition=reward_definition(env),
    )
