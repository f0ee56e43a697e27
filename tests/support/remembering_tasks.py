"""Tasks that remember something beside the physics, in the ways that people's own tasks do."""

import torch
from mani_skill.envs.tasks.tabletop.pick_cube import PickCubeEnv
from mani_skill.utils.registration import register_env


class _Counting(PickCubeEnv):
    """Counts the steps of an episode and pays them as reward."""

    def _initialize_episode(self, env_idx, options):
        super()._initialize_episode(env_idx, options)
        self.forget(env_idx)

    def _after_control_step(self):
        self.count()

    def compute_sparse_reward(self, obs, action, info):
        return self.counted().float()


@register_env("CountsInDict-v1", max_episode_steps=50)
class CountsInDict(_Counting):
    def forget(self, env_idx):
        self.memory = getattr(self, "memory", {"inner": {"steps": torch.zeros(self.num_envs)}})
        self.memory["inner"]["steps"][env_idx] = 0

    def count(self):
        self.memory["inner"]["steps"] += 1

    def counted(self):
        return self.memory["inner"]["steps"]


@register_env("CountsLazily-v1", max_episode_steps=50)
class CountsLazily(_Counting):
    """Has no counter before the first step."""

    def forget(self, env_idx):
        if hasattr(self, "steps_so_far"):
            self.steps_so_far[env_idx] = 0

    def count(self):
        if not hasattr(self, "steps_so_far"):
            self.steps_so_far = torch.zeros(self.num_envs)
        self.steps_so_far += 1

    def counted(self):
        return self.steps_so_far


@register_env("CountsAnew-v1", max_episode_steps=50)
class CountsAnew(CountsLazily):
    """Throws its counter away at every reset."""

    def forget(self, env_idx):
        self.__dict__.pop("steps_so_far", None)


@register_env("CountsInArray-v1", max_episode_steps=50)
class CountsInArray(_Counting):
    def forget(self, env_idx):
        self.array = torch.zeros(self.num_envs).numpy()

    def count(self):
        self.array += 1

    def counted(self):
        return torch.from_numpy(self.array)


@register_env("CountsInList-v1", max_episode_steps=50)
class CountsInList(_Counting):
    def forget(self, env_idx):
        self.counts = [0] * self.num_envs

    def count(self):
        self.counts = [count + 1 for count in self.counts]

    def counted(self):
        return torch.tensor(self.counts)


@register_env("CountsInObject-v1", max_episode_steps=50)
class CountsInObject(_Counting):
    class Tracker:
        def __init__(self, num_envs):
            self.steps = torch.zeros(num_envs)

    def forget(self, env_idx):
        self.tracker = self.Tracker(self.num_envs)

    def count(self):
        self.tracker.steps += 1

    def counted(self):
        return self.tracker.steps


@register_env("CountsForAll-v1", max_episode_steps=50)
class CountsForAll(_Counting):
    """One Python number for all scenes, which nothing shows in the first steps."""

    def forget(self, env_idx):
        self.clock = 0

    def count(self):
        self.clock += 1

    def counted(self):
        return torch.full((self.num_envs,), self.clock > 30)


@register_env("CountsFromTen-v1", max_episode_steps=50)
class CountsFromTen(CountsAnew):
    """Its counter appears in the first step and does not begin at zero."""

    def count(self):
        if not hasattr(self, "steps_so_far"):
            self.steps_so_far = torch.full((self.num_envs,), 10.0)
        self.steps_so_far += 1


@register_env("LogsForever-v1", max_episode_steps=50)
class LogsForever(_Counting):
    """Counts what no episode depends on."""

    total = 0

    def forget(self, env_idx):
        pass

    def count(self):
        self.total += 1

    def counted(self):
        return torch.ones(self.num_envs)


@register_env("Breaks-v1", max_episode_steps=50)
class Breaks(_Counting):
    """Its own code fails in the third step after a build."""

    def forget(self, env_idx):
        self.left = [1, 2]

    def count(self):
        self.left.pop()

    def counted(self):
        return torch.ones(self.num_envs)
