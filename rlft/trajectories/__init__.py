"""Episodes as files, in ManiSkill's trajectory format: an `.h5` file, and a `.json` of the same name beside it.

As `mani_skill.utils.wrappers.RecordEpisode` writes them, so that ManiSkill's tools read ours and we read theirs. The
h5 file has a group `traj_<episode_id>` per episode of `L` env steps:

    obs                [L+1, O] float32, the last one is the true successor of the last action
    actions            [L, A] float32, as the environment got them: clipped to its bounds
    rewards            [L] float32
    terminated, truncated, success    [L] bool
    env_states         ManiSkill's state dictionary, nested groups of [L+1, ...] float32
    unclipped_actions  [L, A] float32, as the policy sampled them; not part of ManiSkill's format
    log_prob           [L] float32, of the unclipped sample; only where it is known; not part of ManiSkill's format

The json file has `env_info` (env_id, max_episode_steps, env_kwargs), `source_type`, `source_desc` and `episodes`, each
with episode_id, elapsed_steps, control_mode and what else is known of it.
"""

from rlft.trajectories.reader import read_header, read_trajectories
from rlft.trajectories.writer import TrajectoryWriter, check_output, writing_trajectories

__all__ = ["TrajectoryWriter", "check_output", "read_header", "read_trajectories", "writing_trajectories"]
