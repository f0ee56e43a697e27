"""Writing episodes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from rlft.errors import UserError
from rlft.types import EnvSpec, Rollout


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuses a place that trajectories cannot be written to.

    Raises:
        UserError: if something is there and not to be overwritten, or `path` is no `.h5` in a directory we may write.
    """
    if path.suffix != ".h5":
        raise UserError(f"The output {path} must end in .h5, as ManiSkill's tools expect.")
    existing = [file for file in (path, path.with_suffix(".json")) if file.exists()]
    if existing and not overwrite:
        raise UserError(f"{existing[0]} exists already; choose another output or set --overwrite true.")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"The output {path} cannot be written; choose another place.")


class TrajectoryWriter:
    """Writes episodes; used in a `with` block, at the end of which the two files appear, unless an error ended it.

    Args:
        path: the `.h5` file.
        spec: the environment's sizes, bounds and time limit.
        env_kwargs: the other arguments that the environment was built with.
        header: further entries of the json file.
    """

    def __init__(self, path: Path, spec: EnvSpec, env_kwargs: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        self.path = path
        self.spec = spec
        self.header = {
            "env_info": {
                "env_id": spec.task,
                "env_kwargs": dict(env_kwargs),
                "max_episode_steps": spec.max_episode_steps,
            },
            "commit_info": None,  # of a ManiSkill that is run from its repository
            **header,
        }
        self.episodes: dict[int, dict[str, Any]] = {}
        self._h5, self._json = path.with_suffix(".h5.tmp"), path.with_suffix(".json.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._h5, "w")

    def add(
        self, number: int, episode: Rollout, env_states: Mapping[str, Any], info: Mapping[str, Any], *, sampled: bool
    ) -> None:
        """Writes one complete episode.

        Args:
            number: its id in the file.
            episode: its steps, `[L]`.
            env_states: nested dictionary of arrays `[L+1, ...]`; may be empty.
            info: further entries of the episode in the json file.
            sampled: whether `episode.log_prob` is the logarithm of the density that its actions were drawn from.

        Raises:
            UserError: if the simulator returned numbers that are not finite.
        """
        obs = np.concatenate([episode.obs.numpy(), episode.next_obs[-1:].numpy()])  # [L+1, O]
        if not (np.isfinite(obs).all() and episode.reward.isfinite().all()):
            raise UserError(f"The simulator returned numbers that are not finite in episode {number}; nothing is kept.")
        group = self._file.create_group(f"traj_{number}", track_order=True)
        group["obs"] = obs
        group["actions"] = episode.action.clamp(self.spec.action_low, self.spec.action_high).numpy()
        group["terminated"] = episode.terminated.numpy()
        group["truncated"] = episode.truncated.numpy()
        group["success"] = episode.success.numpy()
        if env_states:
            _write_nested(group, "env_states", env_states)
        group["rewards"] = episode.reward.numpy()
        group["unclipped_actions"] = episode.action.numpy()
        if sampled:
            group["log_prob"] = episode.log_prob.numpy()
        self.episodes[number] = {
            "episode_id": number,
            "elapsed_steps": len(episode),
            "reset_kwargs": {},
            "success": bool(episode.success[-1]),
            **info,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()
        try:
            if error is None:
                self._publish()
        finally:
            self._h5.unlink(missing_ok=True)
            self._json.unlink(missing_ok=True)

    def _publish(self) -> None:
        episodes = [self.episodes[number] for number in sorted(self.episodes)]
        self._json.write_text(json.dumps({**self.header, "episodes": episodes}, indent=2) + "\n")
        self.path.unlink(missing_ok=True)
        os.replace(self._json, self.path.with_suffix(".json"))
        os.replace(self._h5, self.path)  # last: where there is an h5 file, its json is there and is its own


def _write_nested(group: h5py.Group, name: str, content: Any) -> None:
    if not isinstance(content, Mapping):
        group[name] = content
        return
    below = group.create_group(name, track_order=True)
    for key, value in content.items():
        _write_nested(below, key, value)
