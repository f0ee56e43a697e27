"""Writing episodes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rlft.errors import UserError
from rlft.files.atomic import replacing
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


@contextmanager
def writing_trajectories(
    path: Path, spec: EnvSpec, env_kwargs: Mapping[str, Any], header: Mapping[str, Any]
) -> Iterator[TrajectoryWriter]:
    """Yields a writer of episodes; at the end of the block the two files appear, unless an error ended it.

    Args:
        path: the `.h5` file.
        spec: the environment's sizes, bounds and time limit.
        env_kwargs: the other arguments that the environment was built with.
        header: further entries of the json file.
    """
    env_info = {"env_id": spec.task, "env_kwargs": dict(env_kwargs), "max_episode_steps": spec.max_episode_steps}
    with replacing(path) as h5, replacing(path.with_suffix(".json")) as beside:  # the json appears first
        with h5py.File(h5, "w") as file:
            writer = TrajectoryWriter(file, spec)
            yield writer
        episodes = [writer.episodes[number] for number in sorted(writer.episodes)]
        # The commit is that of a ManiSkill that is run from its repository.
        content = {"env_info": env_info, "commit_info": None, **header, "episodes": episodes}
        beside.write_text(json.dumps(content, indent=2) + "\n")
        path.unlink(missing_ok=True)  # where there is an h5 file, its json is there and is its own


class TrajectoryWriter:
    """Adds episodes to an open h5 file and remembers what the json file is to say of them."""

    def __init__(self, file: h5py.File, spec: EnvSpec) -> None:
        self.spec = spec
        self.episodes: dict[int, dict[str, Any]] = {}
        self._file = file

    def add(self, number: int, episode: Rollout, env_states: Mapping[str, Any], info: Mapping[str, Any]) -> None:
        """Writes one complete episode.

        Args:
            number: its id in the file.
            episode: its steps, `[L]`.
            env_states: nested dictionary of arrays `[L+1, ...]`; may be empty.
            info: further entries of the episode in the json file.

        Raises:
            UserError: if the simulator returned numbers that are not finite.
        """
        obs = np.concatenate([episode.obs.state.numpy(), episode.next_obs.state[-1:].numpy()])  # [L+1, O]
        if not (np.isfinite(obs).all() and episode.reward.isfinite().all()):
            raise UserError(f"The simulator returned numbers that are not finite in episode {number}; nothing is kept.")
        group = self._file.create_group(f"traj_{number}", track_order=True)
        group["obs"] = obs
        if self.spec.image is not None:
            pictures = np.concatenate(
                [episode.obs.image.numpy(), episode.next_obs.image[-1:].numpy()]
            )  # [L+1, C, H, W]
            group.create_dataset("images", data=pictures, compression="gzip", chunks=(1, *self.spec.image))
        group["actions"] = episode.action.clamp(self.spec.action_low, self.spec.action_high).numpy()
        group["terminated"] = episode.terminated.numpy()
        group["truncated"] = episode.truncated.numpy()
        group["success"] = episode.success.numpy()
        if env_states:
            _write_nested(group, "env_states", env_states)
        group["rewards"] = episode.reward.numpy()
        group["unclipped_actions"] = episode.action.numpy()
        if episode.log_prob_known.all():  # of an episode it is, or it is not
            group["log_prob"] = episode.log_prob.numpy()
        self.episodes[number] = {
            "episode_id": number,
            "elapsed_steps": len(episode),
            "reset_kwargs": {},
            "success": bool(episode.success[-1]),
            **info,
        }


def _write_nested(group: h5py.Group, name: str, content: Any) -> None:
    if not isinstance(content, Mapping):
        group[name] = content
        return
    below = group.create_group(name, track_order=True)
    for key, value in content.items():
        _write_nested(below, key, value)
