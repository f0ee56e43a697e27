"""Reading episodes: our own, and ManiSkill's demonstrations with state observations."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import torch
from torch import Tensor

from rlft.errors import UserError, one_line, require
from rlft.types import EnvSpec, Obs, Rollout

# Control modes between which ManiSkill's replay translates actions; `pd_ee` stands for all that begin so.
CONVERTS = {
    "pd_joint_pos": ("pd_joint_delta_pos", "pd_joint_target_delta_pos", "pd_joint_vel", "pd_ee"),
    "pd_joint_delta_pos": ("pd_joint_pos",),
}
KINDS = {"float": "f", "bool": "b", "int": "i", "picture": "u"}  # as numpy abbreviates them
DTYPES = {"float": torch.float32, "bool": torch.bool, "int": torch.int64, "picture": torch.uint8}


def read_header(path: Path) -> dict[str, Any]:
    """The json beside an `.h5` file of trajectories: where they come from.

    Raises:
        UserError: if one of the two files is missing, or the json is not what ManiSkill writes.
    """
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise UserError(f"Trajectories {path} need both the .h5 and the .json file, but {file} is no file.")
    try:
        header = json.loads(beside.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{beside}, which describes trajectories, is not valid json.") from error
    info = header.get("env_info") if isinstance(header, dict) else None
    known = (
        isinstance(info, dict)
        and isinstance(info.get("env_kwargs"), dict)
        and isinstance(header.get("episodes"), list)
        and all(isinstance(episode, dict) and _is_episode(episode) for episode in header["episodes"])
    )
    if not known:
        raise UserError(f"{beside} does not describe trajectories as ManiSkill does: env_info and a list of episodes.")
    if not header["episodes"]:
        raise UserError(f"{beside} lists no episodes, so there is nothing to learn from.")
    return dict(header)


def _is_episode(episode: Mapping[str, Any]) -> bool:
    return all(type(episode.get(name)) is int and episode[name] >= 0 for name in ("episode_id", "elapsed_steps"))


def _replay_command(path: Path, options: str) -> str:
    """A command line that makes another file of these trajectories with ManiSkill's replay."""
    names = " ".join(shlex.quote(str(file)) for file in (path, path.with_name(f"{path.stem}-replayed.h5")))
    return f"`python -m rlft.envs.maniskill.replay {names} {options}`"


def read_trajectories(
    path: Path,
    spec: EnvSpec,
    control_mode: str | None = None,
    reward_mode: str | None = None,
    *,
    task_options: Mapping[str, Any] | None = None,
    max_episodes: int | None = None,
    needs_rewards: bool = True,
) -> Rollout:
    """Episodes of a file, as one environment would have played them one after another.

    An episode ends where it first terminated: what some recordings append to that, no environment that resets plays.
    It is truncated if it ends otherwise, whatever time limit the recording had: demonstrations may be longer than it.
    Actions are the unclipped ones where the file has them. Sparse rewards are success minus failure, whatever rewards
    were recorded. Rewards of a recording that does not say of which mode they are have the task's default mode. Where
    the density of the actions is not known, as of all demonstrations and of deterministic policies, `log_prob_known`
    is False.

    Args:
        path: the `.h5` file; its `.json` lies beside it.
        spec: the environment that the trajectories must be of.
        control_mode: that they must have been recorded with; `None` accepts any.
        reward_mode: that their rewards must be of; `None` for an environment that has no choice of rewards.
        task_options: of `EnvFactory.describe`, that they must have been collected with if their file says so; `None`
            accepts any.
        max_episodes: read at most so many, the first ones that the `.json` lists; `None` reads all.
        needs_rewards: whether rewards are learned from. Where not, those that the file happens to have are as good as
            any, and zeros where it has none.

    Returns:
        A rollout `[M, 1]` of all `M` transitions.

    Raises:
        UserError: if the files are missing, damaged, contradict each other, or are of something else.
    """
    require(max_episodes is None or max_episodes >= 1, "max_episodes", max_episodes, "at least 1, or null for all")
    header = read_header(path)
    _check_header(path, header, spec, control_mode)
    _check_options(path, header, task_options)
    recorded_mode = header["env_info"]["env_kwargs"].get("reward_mode") or spec.default_reward_mode
    modes = _RewardModes(recorded_mode, reward_mode, needed=needs_rewards)
    try:
        with h5py.File(path, "r") as file:
            _check_names(path, list(file), [f"traj_{episode['episode_id']}" for episode in header["episodes"]])
            episodes = [
                _Episode(path, file, episode, spec).read(modes) for episode in header["episodes"][:max_episodes]
            ]
    except UserError:
        raise
    except Exception as error:  # h5py raises whatever the damaged part of a file happens to trigger
        reason = one_line(error)[:200]
        raise UserError(f"Trajectories {path} cannot be read, the file is damaged or no HDF5: {reason}.") from error
    return Rollout.cat(episodes)[:, None]


def _check_header(path: Path, header: Mapping[str, Any], spec: EnvSpec, control_mode: str | None) -> None:
    info = header["env_info"]
    robot = info["env_kwargs"].get("robot_uids")
    robot = robot[0] if isinstance(robot, list) and len(robot) == 1 else robot
    pairs = {"env_id": (info.get("env_id"), spec.task)}
    pairs |= {"robot": (robot, spec.robot)} if robot is not None and spec.robot is not None else {}
    for name, (recorded, here) in pairs.items():
        if recorded != here:
            raise UserError(f"Trajectories {path} are of {name} {recorded}, but this environment has {here}.")
    modes = {str(episode.get("control_mode")) for episode in header["episodes"]}
    if control_mode is not None and modes != {control_mode}:
        raise UserError(
            f"Trajectories {path} are of control mode {' and '.join(sorted(modes))}, but this environment has "
            f"{control_mode}; {_conversion(path, modes, control_mode)}."
        )


def _check_options(path: Path, header: Mapping[str, Any], task_options: Mapping[str, Any] | None) -> None:
    ours = header.get("rlft")
    recorded = ours.get("task_options") if isinstance(ours, Mapping) else None
    if recorded is not None and task_options is not None and recorded != json.loads(json.dumps(dict(task_options))):
        raise UserError(
            f"Trajectories {path} were collected with task_options {recorded}, but this environment has "
            f"{dict(task_options)}; give it theirs."
        )


def _conversion(path: Path, recorded: set[str], wanted: str) -> str:
    """How actions of one control mode become those of another, if there is a way."""
    if all(wanted.startswith(CONVERTS.get(mode, ())) for mode in recorded):
        return f"{_replay_command(path, f'-o state -c {wanted}')} may convert them"
    return "ManiSkill cannot convert them, so give the environment theirs"


def _check_names(path: Path, found: list[str], listed: list[str]) -> None:
    if sorted(found) != sorted(listed):
        examples = ", ".join(sorted(set(found) ^ set(listed))[:3]) or "one is listed twice"
        raise UserError(f"Trajectories {path} and the .json beside it disagree about which episodes exist: {examples}.")


@dataclass(frozen=True)
class _RewardModes:
    """Of which mode the recorded rewards are, and which are asked for."""

    recorded: str | None
    wanted: str | None
    needed: bool


class _Episode:
    """One episode of an open file."""

    def __init__(self, path: Path, file: h5py.File, info: Mapping[str, Any], spec: EnvSpec) -> None:
        self.path = path
        self.where = f"Trajectories {path}, traj_{info['episode_id']}"
        self.group = file[f"traj_{info['episode_id']}"]
        self.length: int = info["elapsed_steps"]
        self.spec = spec
        if not isinstance(self.group, h5py.Group):
            raise UserError(f"{self.where} is no group of an episode's entries.")
        if not self.length:
            raise UserError(f"{self.where} is an episode without a step.")

    def read(self, modes: _RewardModes) -> Rollout:
        """Its steps `[L]`."""
        length = self.length
        obs = self._observations()  # [L+1]
        terminated = self._array("terminated", "bool", length)  # [L]
        self._array("truncated", "bool", length)
        no, known = torch.zeros(length, dtype=torch.bool), "log_prob" in self.group
        end = int(terminated.int().argmax()) if terminated.any() else length - 1
        rollout = Rollout(
            obs=obs[:-1],
            action=self._actions(),
            log_prob=self._array("log_prob", "float", length) if known else torch.zeros(length),
            log_prob_known=torch.full((length,), known),
            next_obs=obs[1:],
            reward=self._rewards(modes),
            terminated=terminated,
            truncated=~terminated & (torch.arange(length) == end),
            success=self._array("success", "bool", length) if "success" in self.group else no,
            elapsed=torch.arange(length),
        )
        return rollout[: end + 1]

    def _observations(self) -> Obs:
        replay = self._replay("")
        if "obs" not in self.group:
            raise UserError(f"{self.where} has no observations; {replay} adds them.")
        if isinstance(self.group["obs"], h5py.Group):
            raise UserError(f"{self.where} has observations in parts, not as one state vector; {replay} makes those.")
        state = self._array("obs", "float", self.length + 1, self.spec.obs_dim)
        if self.spec.image is None:
            return Obs(state)
        return Obs(state, self._array("images", "picture", self.length + 1, *self.spec.image))

    def _actions(self) -> Tensor:
        name, choices = "unclipped_actions" if "unclipped_actions" in self.group else "actions", self.spec.choices
        actions = self._array(name, "float" if choices is None else "int", self.length, self.spec.action_dim)
        if choices is not None and not bool(((actions >= 0) & (actions < choices)).all()):
            found = f"{int(actions.min())} to {int(actions.max())}"
            raise UserError(f"{self.where}: {name} are choices {found}, but {self.spec.task} has 0 to {choices - 1}.")
        return actions

    def _rewards(self, modes: _RewardModes) -> Tensor:
        recorded = "rewards" in self.group
        if recorded and (modes.recorded == modes.wanted or not modes.needed):
            return self._array("rewards", "float", self.length)
        if "success" in self.group and (modes.wanted == "sparse" or (modes.wanted is None and not recorded)):
            failure = self._array("fail", "bool", self.length).float() if "fail" in self.group else 0.0
            return self._array("success", "bool", self.length).float() - failure
        if not modes.needed:
            return torch.zeros(self.length)
        has = f"rewards of mode {modes.recorded}, but this environment has" if recorded else "no rewards of mode"
        if modes.wanted is None:
            raise UserError(f"{self.where} has {has} one of its own; they cannot be had from ManiSkill.")
        replay = self._replay(f" --record-rewards --reward-mode {modes.wanted}")
        raise UserError(f"{self.where} has {has} {modes.wanted}; {replay} may add them.")

    def _replay(self, options: str) -> str:
        """A command that records this file's episodes anew, from state to state where it has those."""
        states = " --use-env-states" if "env_states" in self.group else ""
        return _replay_command(self.path, f"-o state --allow-failure{states}{options}")

    def _array(self, name: str, kind: str, *shape: int) -> Tensor:
        """An entry as a tensor, after a look at its size: a damaged file may promise more than there is memory."""
        entry = self.group.get(name)
        if not isinstance(entry, h5py.Dataset):
            raise UserError(f"{self.where} has no {name}.")
        if entry.shape != shape or entry.dtype.kind != KINDS[kind]:
            found = f"{entry.dtype} {list(entry.shape or [])}"
            raise UserError(f"{self.where}: {name} is {found}, not {kind} {list(shape)}.")
        tensor = torch.from_numpy(entry[()]).to(DTYPES[kind])
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{self.where}: {name} holds numbers that are not finite.")
        return tensor
