"""ManiSkill tasks: the only door to the `mani_skill` package."""

from __future__ import annotations

import difflib
import importlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from rlft.envs.headless import allow_no_renderer
from rlft.errors import UserError, one_line
from rlft.types import BatchEnv, EnvFactory, EnvSpec, EnvStates, Step


@dataclass(frozen=True)
class ManiSkill(EnvFactory):
    """A ManiSkill task with state observations.

    Runs on ManiSkill's own `physx_cuda` where there is a CUDA device, else on rlft's batched CPU scenes.

    Args:
        task: the task's registered name.
        control_mode: how actions drive the robot; `null` takes the task's default.
        reward_mode: `sparse` is 1 on success (and -1 on a task's failure flag).
        robot: the robot's name; `null` takes the task's default.
        device: where to simulate: `cpu`, `cuda`, or `auto` for CUDA where there is one.
    """

    task: str = "PickCube-v1"
    control_mode: str | None = "pd_joint_delta_pos"
    reward_mode: Literal["sparse", "dense", "normalized_dense"] = "sparse"
    robot: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @classmethod
    def of_policy(cls, info: Mapping[str, Any], task: str | None = None, control_mode: str | None = None) -> ManiSkill:
        """With these settings, or else those that a policy's file names in its `info`, or else the defaults."""
        return cls(
            task=task or info.get("task", cls.task),
            control_mode=control_mode or info.get("control_mode", cls.control_mode),
        )

    def make(self, num_envs: int) -> BatchEnv:
        """Builds `num_envs` scenes of the task; see `EnvFactory.make`."""
        batch = ManiSkillBatch(self, num_envs, cuda=self._cuda)
        if not self._cuda and len({_geometry(system) for system in batch.env.scene.px.systems}) > 1:
            raise UserError(
                f"Task {self.task} builds different objects in every scene, so its states cannot be moved between "
                "scenes, as rollouts do; choose a task whose scenes are alike."
            )
        return batch

    def starts(self) -> str:
        """See `EnvFactory.starts`: a device draws random numbers of its own."""
        return f"{self.task}, robot {self.robot}, {'cuda' if self._cuda else 'cpu'}"

    @property
    def _cuda(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())


class ManiSkillBatch:
    """`N` scenes of one task; implements `rlft.types.BatchEnv`.

    Raises:
        UserError: if the task, robot, control mode or assets are not there, or the task cannot run state-only.
    """

    def __init__(self, config: ManiSkill, num_envs: int, *, cuda: bool = False) -> None:
        if num_envs < 1:
            raise UserError(f"num_envs is {num_envs}: at least one environment is needed.")
        self.num_envs = num_envs
        env, horizon = _build(config, num_envs, cuda=cuda)
        self.env: Any = env
        if not hasattr(env.single_action_space, "low"):
            raise UserError(f"Task {config.task} has several robots; rlft controls one.")
        low, high = (torch.as_tensor(bound) for bound in (env.single_action_space.low, env.single_action_space.high))
        (obs_dim,) = env.single_observation_space.shape
        self.spec = EnvSpec(config.task, obs_dim, len(low), low, high, horizon)
        self._physics: _CpuPhysics | _CudaPhysics = _CudaPhysics(env) if cuda else _CpuPhysics(env)
        self._task_state = _TaskState(env, _task_state_names(config))

    def step(self, action: Tensor) -> Step:
        """Steps the active scenes with clipped actions `[N, A]`; see `BatchEnv.step`."""
        obs, reward, terminated, _, info = self.env.step(action.to(self.env.device))
        success = info.get("success", torch.zeros_like(terminated))
        return Step(obs.cpu(), reward.float().cpu(), terminated.cpu(), success.bool().cpu())

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
        return self._physics.activate(rows)

    def initial_states(self, seed: int) -> EnvStates:
        """Resets all scenes with one seed, as ManiSkill's users do."""
        obs, _ = self.env.reset(seed=seed)
        physics, task = self.save(range(self.num_envs))
        zeros = torch.zeros(self.num_envs, dtype=torch.int64)
        return EnvStates(physics, task, obs.cpu(), zeros, zeros)

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
            "obs_mode": "state",
            "control_mode": self.env.control_mode,
            "reward_mode": self.env.reward_mode,
            "robot_uids": self.env.robot_uids,
            "sim_backend": f"physx_{self.env.device.type}",
        }


class _CpuPhysics:
    """Physical states as the bytes of `PhysxCpuSystem.pack`: exact, and restoring drops contact caches."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self, rows: Sequence[int]) -> Tensor:
        states = [np.frombuffer(self.env.scene.px.pack(row), dtype=np.uint8) for row in rows]
        return torch.from_numpy(np.stack(states)) if states else torch.zeros(0, 0, dtype=torch.uint8)

    def restore(self, rows: Sequence[int], physics: Tensor) -> None:
        for row, state in zip(rows, physics.numpy(), strict=True):
            self.env.scene.px.unpack(row, state.tobytes())

    def activate(self, rows: Sequence[int]) -> int:
        self.env.scene.px.activate(rows)
        return len(rows)


class _CudaPhysics:
    """Physical states through ManiSkill's own state vector: poses and velocities, for GPU simulation."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def save(self, rows: Sequence[int]) -> Tensor:
        state = self.env.get_state()[torch.as_tensor(rows, device=self.env.device)]  # [M, D] float32
        packed: Tensor = state.contiguous().cpu().view(torch.uint8)
        return packed

    def restore(self, rows: Sequence[int], physics: Tensor) -> None:
        index, order = torch.as_tensor(rows, device=self.env.device).sort()  # ManiSkill writes rows in ascending order
        self.env.set_state(physics[order.cpu()].contiguous().view(torch.float32).to(self.env.device), index)
        self.env.scene._gpu_apply_all()
        self.env.scene.px.gpu_update_articulation_kinematics()
        self.env.scene._gpu_fetch_all()

    def activate(self, rows: Sequence[int]) -> int:
        """The GPU steps all scenes at once."""
        return int(self.env.num_envs)


def _geometry(system: Any) -> tuple[Any, ...]:
    """What distinguishes one scene's bodies from another's: masses, collision shapes and where they sit."""
    bodies = [*system.rigid_dynamic_components, *system.rigid_static_components, *system.articulation_link_components]
    measures = ("half_size", "radius", "half_length", "scale")
    return tuple(
        (
            getattr(body, "mass", None),
            *(
                (
                    type(shape).__name__,
                    tuple(shape.local_pose.__getstate__()),
                    *(np.asarray(getattr(shape, m)).tobytes() for m in measures if hasattr(shape, m)),
                    len(shape.vertices) if hasattr(shape, "vertices") else 0,
                )
                for shape in body.collision_shapes
            ),
        )
        for body in bodies
    )


def _owners(env: Any) -> dict[str, Any]:
    """The objects that keep state beside the physics: the task and its controllers, by name."""
    controller = env.agent.controller if env.agent is not None else None
    parts = {f"controller.{name}": part for name, part in getattr(controller, "controllers", {}).items()}
    return {"task": env, **({"controller": controller} if controller is not None else {}), **parts}


def _tensor(owner: Any, name: str) -> Any:
    """Attribute `name`, or the numbers inside it if it is a `Pose`."""
    value = vars(owner).get(name)
    return getattr(value, "raw_pose", value) if type(value).__name__ == "Pose" else value


def _batched_names(env: Any) -> frozenset[tuple[str, str]]:
    """(owner, attribute) of the tensors whose first dimension is the number of environments."""
    return frozenset(
        (where, name)
        for where, owner in _owners(env).items()
        for name in vars(owner)
        if isinstance(tensor := _tensor(owner, name), Tensor) and tensor.ndim and len(tensor) == env.num_envs
    )


@lru_cache
def _task_state_names(config: ManiSkill) -> frozenset[tuple[str, str]]:
    """Those that follow the number of environments; a constant of some length does so for one number only."""
    names = [_batched_names(_build(config, num_envs, cuda=False)[0]) for num_envs in (3, 5)]
    return names[0] & names[1]


class _TaskState:
    """Tensors with one row per environment that a task or its controllers keep beside the physics.

    A goal that is no actor, a counter, the target of a `use_target` controller.
    """

    IGNORED = frozenset({"_elapsed_steps", "_init_raw_obs", "_last_obs"})

    def __init__(self, env: Any, names: frozenset[tuple[str, str]]) -> None:
        self.env = env
        self.names = sorted((where, name) for where, name in names if name not in self.IGNORED)

    def _tensors(self) -> Iterator[Tensor]:
        owners = _owners(self.env)
        for where, name in self.names:
            yield _tensor(owners[where], name)

    def save(self, rows: Sequence[int]) -> Tensor:
        index = torch.as_tensor(rows, dtype=torch.int64)
        columns = [tensor[index.to(tensor.device)].reshape(len(index), -1).double().cpu() for tensor in self._tensors()]
        return torch.cat(columns, 1) if columns else torch.zeros(len(index), 0, dtype=torch.float64)

    def restore(self, rows: Sequence[int], task: Tensor) -> None:
        index, column = torch.as_tensor(rows, dtype=torch.int64), 0
        for tensor in self._tensors():
            width = tensor[0].numel()
            values = task[:, column : column + width].reshape(len(index), *tensor.shape[1:])
            tensor[index.to(tensor.device)] = values.to(tensor.device, tensor.dtype)
            column += width


def _build(config: ManiSkill, num_envs: int, *, cuda: bool) -> tuple[Any, int]:
    """The environment and its time limit in env steps."""
    allow_no_renderer()  # before ManiSkill's modules copy the names they use
    _quiet_import("mani_skill.envs")
    backend = importlib.import_module("rlft.envs.physx_cpu_backend")
    registration = importlib.import_module("mani_skill.utils.registration")
    spec = registration.REGISTERED_ENVS.get(config.task)
    if spec is None:
        near = difflib.get_close_matches(config.task, registration.REGISTERED_ENVS, n=3) or ["PickCube-v1"]
        raise UserError(f"Task {config.task!r} is not registered with ManiSkill; did you mean {' or '.join(near)}?")
    if spec.max_episode_steps is None:
        raise UserError(f"Task {config.task} has no time limit, which rlft needs to cut episodes and to evaluate.")
    kwargs: dict[str, Any] = {
        **spec.default_kwargs,
        "num_envs": num_envs,
        "obs_mode": "state",
        "reward_mode": config.reward_mode,
        "control_mode": config.control_mode,
    }
    if config.robot is not None:
        kwargs["robot_uids"] = config.robot
    _check_assets(config.task, spec)
    with _no_questions(config.task):
        try:
            if cuda:
                env = spec.cls(**kwargs, sim_backend="physx_cuda", render_backend="none")
            else:
                with backend.cpu_batch_backend():
                    env = backend.batched(spec.cls)(**kwargs)
        except UserError:
            raise
        except Exception as error:
            raise UserError(_explain(config, error)) from error
    return env, spec.max_episode_steps


def _check_assets(task: str, spec: Any) -> None:
    """Refuses a task some of whose files are not on this machine."""
    assets = importlib.import_module("mani_skill.utils.assets")
    for asset in spec.asset_download_ids or []:
        sources = (
            assets.expand_data_group_into_individual_data_source_ids(asset) if asset in assets.DATA_GROUPS else [asset]
        )
        if not all(assets.is_data_source_downloaded(source) for source in sources):
            raise UserError(_missing_assets(task))


def _missing_assets(task: str) -> str:
    return (
        f"Task {task} needs assets that are not on this machine; fetch them with "
        f"`python -m mani_skill.utils.download_asset {task}`."
    )


def _explain(config: ManiSkill, error: Exception) -> str:
    reason = one_line(error)
    if isinstance(error, FileNotFoundError):
        return _missing_assets(config.task)
    if isinstance(error, KeyError) and config.control_mode and config.control_mode in reason:
        return f"Task {config.task} has no control mode {config.control_mode!r}: {reason}."
    if "render" in reason:
        return f"Task {config.task} cannot run here: its own code needs a renderer ({reason}), and rlft has none."
    settings = f"control {config.control_mode}, reward {config.reward_mode}"
    return f"Task {config.task} ({settings}) cannot run here: {reason[:300]}"


@contextmanager
def _no_questions(task: str) -> Iterator[None]:
    """ManiSkill asks on the terminal whether to download missing assets; a training run must not wait for that."""

    def refuse(question: str) -> bool:
        raise UserError(_missing_assets(task))

    download_asset = importlib.import_module("mani_skill.utils.download_asset")
    with patch.object(download_asset, "prompt_yes_no", refuse):
        yield


def _quiet_import(name: str) -> None:
    """ManiSkill and SAPIEN warn about Vulkan, torchvision and old robots on import; none of it concerns a run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(name)
    logging.getLogger("mani_skill").setLevel(logging.ERROR)
