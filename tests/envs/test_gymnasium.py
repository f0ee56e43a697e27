"""Any environment of Gymnasium: its observations, actions, ends and success."""

from contextlib import closing

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from rlft.commands.environments import environment_of
from rlft.envs import Gymnasium
from rlft.envs.gymnasium.spaces import Observations
from rlft.errors import UserError
from rlft.networks import GaussianActor
from rlft.networks.policy_files import load_policy, save_policy
from rlft.rollout import LocalRollouts, make_rollouts
from rlft.types import Acted, Actor
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal

PENDULUM = Gymnasium("Pendulum-v1", max_episode_steps=20, success_return=-100.0)


class Counting(gymnasium.Env):
    """A picture that is as bright as the number of steps; truncates itself after `limit` of them."""

    observation_space = Box(0, 255, (6, 4, 3), np.uint8)
    action_space = Discrete(3, start=-1)

    def __init__(self, limit=9, forgets=True):
        self.limit, self.forgets, self.resets = limit, forgets, 0

    def reset(self, *, seed=None, options=None):
        self.steps, self.resets = 0, self.resets + 1
        return self._picture(), {}

    def step(self, action):
        self.steps += 1
        self.last = action
        return self._picture(), float(action), False, self.steps >= self.limit, {"is_success": self.steps == 4}

    def _picture(self):
        picture = np.zeros((6, 4, 3), np.uint8)
        picture[1, 2, 0] = self.steps
        return picture + np.uint8(0 if self.forgets else 9 * self.resets)


class Unknowable(gymnasium.Env):
    """Observes and acts as rlft does not."""

    def __init__(self, observations=None, actions=None):
        self.observation_space = observations or Box(-1, 1, (2,), np.float32)
        self.action_space = actions or Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        return np.zeros(2, np.float32), 0.0, False, False, {}


class TellsAtTheEnd(Counting):
    """Only the last step says whether it is a success."""

    def step(self, action):
        *step, _ = super().step(action)
        step[2] = self.steps == 3
        return (*step, {"success": action > 0} if step[2] else {})


gymnasium.register("rlft/Counting-v0", Counting, max_episode_steps=5)
gymnasium.register("rlft/TellsAtTheEnd-v0", TellsAtTheEnd, max_episode_steps=5, reward_threshold=0.0)
gymnasium.register("rlft/Unknowable-v0", Unknowable, max_episode_steps=5, reward_threshold=1.0)


class Left(Actor):
    """Always the first choice."""

    obs_dim, action_dim, noise_dim, choices = 4, 1, 0, 2

    def act(self, obs, noise, *, explore=True):
        return Acted(torch.zeros(*obs.shape, 1, dtype=torch.int64), torch.zeros(*obs.shape, 0))


def refusal(**arguments):
    with pytest.raises(UserError) as refused:
        Gymnasium(**arguments).make(1)
    assert is_sentence(str(refused.value))
    return str(refused.value)


def test_cart_pole_goes_as_gymnasium_plays_it():
    batch = Gymnasium("CartPole-v1").make(2)
    assert (batch.spec.obs_dim, batch.spec.choices, batch.spec.max_episode_steps) == (4, 2, 500)
    starts = batch.initial_states(3)
    batch.restore(range(2), starts)
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=int(starts.physics[1].numpy()[:8].view(np.int64)[0]))
    assert np.array_equal(starts.obs.state[1].numpy(), obs)
    ended = False
    while not ended:
        step = batch.step(torch.tensor([[1], [0]]))
        obs, reward, ended, _, _ = env.step(0)
        assert np.array_equal(step.obs.state[1].numpy(), obs)
        assert (step.reward[1].item(), step.terminated[1].item()) == (reward, ended)
    assert not step.success.any()  # far below its reward threshold of 475
    still = batch.step(torch.tensor([[1], [0]]))
    assert torch.equal(still.obs.state[1], step.obs.state[1])
    assert (still.reward[1], still.terminated[1]) == (0, True)


def test_the_return_decides_on_success_when_the_episode_ends():
    """A pole that is pushed to one side falls after 8 to 10 steps, of which each pays 1."""
    for wanted, success in ((5.0, True), (50.0, False)):
        rollouts = LocalRollouts(Gymnasium("CartPole-v1", success_return=wanted), 8)
        results = rollouts.evaluate(Left(), 8, seed=1, deterministic=True)
        assert ((results.length >= 8) & (results.length <= 10)).all()
        assert (results.success_once == success).all()
    batch = Gymnasium("CartPole-v1", max_episode_steps=6, success_return=5.0).make(1)
    batch.restore([0], batch.initial_states(1))
    assert [batch.step(torch.tensor([[0]])).success.item() for _ in range(6)] == [False] * 5 + [True]


def test_a_time_limit_truncates_and_any_number_of_workers_plays_alike():
    torch.manual_seed(0)
    actor = GaussianActor(3, 1, 8, 1)
    local = LocalRollouts(PENDULUM, 3)
    _, middle, _ = local.collect(actor, local.initial_states(1), 15, 1, 0)
    rollout, ends, _ = local.collect(actor, middle, 15, 1, 1)
    assert rollout.truncated.nonzero()[:, 0].tolist() == [4, 4, 4]  # the 20th step
    assert not rollout.terminated.any()
    with closing(make_rollouts(PENDULUM, 3, 2)) as spread:
        again, ends_again, _ = spread.collect(actor, middle, 15, 1, 1)
    assert_equal(again, rollout)
    assert_equal(ends_again, ends)


def test_pictures_choices_and_success_that_the_steps_tell():
    batch = Gymnasium("rlft/Counting-v0").make(1)
    assert (batch.spec.image, batch.spec.obs_dim, batch.spec.choices) == ((3, 6, 4), 0, 3)
    batch.restore([0], batch.initial_states(0))
    steps = [batch.step(torch.tensor([[choice]])) for choice in (0, 1, 2, 2, 0)]
    assert [step.reward.item() for step in steps] == [-1, 0, 1, 1, -1]
    assert [step.success.item() for step in steps] == [False, False, False, True, False]
    assert steps[-1].obs.image[0, 0, 1, 2] == 5
    assert steps[-1].obs.image.sum() == 5


@pytest.mark.parametrize(
    ("shape", "image", "obs_dim"),
    [((84, 80, 8), (8, 84, 80), 0), ((8, 84, 80), (8, 84, 80), 0), ((7, 7, 7), (7, 7, 7), 0), ((84, 80), None, 6720)],
)
def test_channels_are_the_shorter_axis(shape, image, obs_dim):
    observations = Observations("Any", Box(0, 255, shape, np.uint8))
    assert (observations.image, observations.obs_dim) == (image, obs_dim)
    state, picture = observations.split(np.zeros(shape, np.uint8))
    assert (state.shape, picture.shape) == ((obs_dim,), image or (0,))


@pytest.mark.parametrize(("success_return", "last", "success"), [(None, 2, True), (None, 0, False), (-9.0, 0, True)])
def test_success_that_only_the_last_step_tells_is_believed(success_return, last, success):
    batch = Gymnasium("rlft/TellsAtTheEnd-v0", success_return=success_return).make(1)
    batch.restore([0], batch.initial_states(0))
    steps = [batch.step(torch.tensor([[choice]])) for choice in (2, 1, last)]
    assert [step.success.item() for step in steps] == [False, False, success]


def test_what_does_not_forget_or_ends_itself_is_refused_when_it_shows():
    batch = Gymnasium("rlft/Counting-v0", options={"forgets": False}).make(1)
    starts = batch.initial_states(0)
    batch.step(torch.tensor([[1]]))
    with pytest.raises(UserError, match="cannot be put back"):
        batch.restore([0], starts)
    batch = Gymnasium("rlft/Counting-v0", options={"limit": 3}).make(1)
    batch.restore([0], batch.initial_states(0))
    with pytest.raises(UserError, match="truncated an episode itself, after 3 steps") as refused:
        [batch.step(torch.tensor([[0]])) for _ in range(3)]
    assert is_sentence(str(refused.value))


def test_refusals():
    assert "set data.env.success_return" in refusal(task="Pendulum-v1")
    assert "cannot make data.env.task Nope-v0" in refusal(task="Nope-v0")
    assert "unexpected keyword argument" in refusal(task="CartPole-v1", options={"gravity": 3})
    assert "observes a Discrete" in refusal(task="rlft/Unknowable-v0", options={"observations": Discrete(3)})
    boundless = Box(-np.inf, np.inf, (2,), np.float32)
    assert "have no bounds" in refusal(task="rlft/Unknowable-v0", options={"actions": boundless})
    assert "acts by a MultiDiscrete" in refusal(
        task="rlft/Unknowable-v0", options={"actions": gymnasium.spaces.MultiDiscrete([2, 3])}
    )
    assert "max_episode_steps is 0" in refusal(max_episode_steps=0)
    gymnasium.register("rlft/Endless-v0", Unknowable, reward_threshold=1.0)
    assert "set data.env.max_episode_steps" in refusal(task="rlft/Endless-v0")


def test_a_policy_file_brings_its_environment_back(tmp_path):
    env = Gymnasium("Pendulum-v1", options={"g": 5.0}, max_episode_steps=20, success_return=-100.0)
    save_policy(tmp_path / "p.safetensors", GaussianActor(3, 1, 8, 1), None, env.describe(env.make(1).spec))
    assert environment_of(load_policy(str(tmp_path / "p.safetensors"))) == env
