"""Racing is the stock car on the stock track, seen from a raster, and put back by driving there again."""

import sys
from contextlib import closing
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from rlft.commands.environments import environment_of
from rlft.envs import Racing
from rlft.envs.maniskill import EnvSettings
from rlft.envs.racing import PurePursuitDriver
from rlft.envs.racing.scene import TABLES, Drive
from rlft.errors import UserError
from rlft.networks.policy_checks import check_fits
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, make_rollouts
from rlft.types import EnvStates
from tests.support.hand_made import is_sentence
from tests.support.rollouts import assert_equal

SHORT = Racing(waypoints=20, actions="discrete12", max_frames=80)  # 20 decisions
SIGHTED = Racing(image=False, waypoints=20, actions="discrete12", max_frames=1500)


def drives(env, decisions, seed=3):
    """A scene that the driver has driven, one state after the other."""
    scene, driver = Drive(replace(env, waypoints=20, actions="discrete12")), PurePursuitDriver()
    scene.reset(seed)
    for _ in range(decisions):
        state, image = scene.look()
        yield scene, image
        obs = env.spec().blank_obs(1)
        obs = replace(obs, state=torch.from_numpy(state)[None])
        scene.act(driver.act(obs, torch.zeros(1, 0)).action[0].numpy())


def states_of(batch, obs):
    physics, task = batch.save(range(batch.num_envs))
    zeros = torch.zeros(batch.num_envs, dtype=torch.int64)
    return EnvStates(physics=physics, task=task, obs=obs, elapsed=zeros, episode=zeros)


def random_choices(batch, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(batch.spec.choices, (steps, batch.num_envs, 1), generator=generator)


def test_the_raster_shows_what_the_stock_environment_draws():
    """Measured over 500 states: see the benchmark. Here also the far views of the first second."""
    apart = []
    for seed in (3, 4):
        for scene, image in drives(Racing(), 40, seed):
            stock = scene.car.stock_picture()
            apart.append(np.abs(image[0].astype(int) - stock).mean(1))  # [64]
    above, dashboard = np.stack(apart)[:, :56].mean(1), np.stack(apart)[:, 57:].mean(1)
    assert above.mean() < 1
    assert above.max() < 2
    assert dashboard.max() < 6  # its score is not drawn


@pytest.mark.parametrize("actions", ["discrete5", "continuous"])
def test_cars_and_rewards_are_those_of_the_stock_environment(actions):
    env = gymnasium.make("CarRacing-v3", continuous=actions == "continuous", max_episode_steps=-1)
    env.reset(seed=7)
    scene = Drive(Racing(actions=actions, frame_skip=2, max_frames=100))
    scene.reset(7)
    generator = np.random.default_rng(0)
    for _ in range(20):
        choice = int(generator.choice([0, 1, 2, 3, 3, 3, 4]))
        vector = generator.uniform([-1, 0, 0], [1, 1, 0.2]).astype(np.float32)
        native, ours = (vector, vector) if actions == "continuous" else (choice, np.array([choice]))
        outcome = scene.act(ours)
        rewards = [env.step(native)[1] for _ in range(2)]
        hull, stock = scene.car.car.hull, env.unwrapped.car.hull
        assert (tuple(hull.position), hull.angle) == (tuple(stock.position), stock.angle)
        assert outcome.reward == pytest.approx(sum(rewards), abs=1e-9)


def test_twelve_choices_are_three_of_steering_by_four_of_pedals():
    assert TABLES["discrete12"][6] == (-1, 0, 0.8)  # to the left, braking
    scene = Drive(SIGHTED)
    scene.reset(1)
    scene.act(np.array([6]))
    wheel = scene.car.car.wheels[0]
    assert (wheel.steer, wheel.brake) == (1, 0.8)  # the car itself counts to the left
    assert len(set(TABLES["discrete12"])) == 12


def test_tracks_depend_on_their_seeds_alone():
    other = Racing(image=False, waypoints=3, actions="continuous", frame_skip=2, max_frames=80)
    assert other.starts() == Racing().starts()
    ours, theirs = Drive(Racing()), Drive(other)
    for drive in (ours, theirs):
        drive.reset(3)
    assert ours.car.track == theirs.car.track


def test_a_state_is_driven_to_again_bit_for_bit_in_any_row():
    batch, other = SHORT.make(3), SHORT.make(3)
    starts = batch.initial_states(5)
    batch.restore(range(3), starts)
    *before, last = random_choices(batch, 12)
    for action in before:
        step = batch.step(action)
    other.restore([2, 0, 1], states_of(batch, step.obs))
    assert_equal(other.step(last[[1, 2, 0]])[[2, 0, 1]], batch.step(last))


def test_going_back_to_where_it_is_costs_nothing_and_further_on_only_the_rest(monkeypatch):
    batch = SHORT.make(2)
    batch.restore(range(2), batch.initial_states(5))
    actions = random_choices(batch, 6)
    steps = [batch.step(action) for action in actions[:3]]
    middle = states_of(batch, steps[-1].obs)
    ends = [batch.step(action) for action in actions[3:]][-1]
    end = states_of(batch, ends.obs)
    batch.restore(range(2), middle)
    driven, drive = [], Drive.act
    monkeypatch.setattr(Drive, "act", lambda self, action: driven.append(1) or drive(self, action))
    batch.restore(range(2), middle)
    assert not driven
    batch.restore(range(2), end)
    assert len(driven) == 6  # three decisions of two cars
    monkeypatch.setattr(Drive, "reset", lambda self, seed: None)
    with pytest.raises(UserError, match="Racing cannot be put back") as refused:
        batch.restore(range(2), middle)
    assert is_sentence(str(refused.value))


def test_any_number_of_workers_drives_alike_and_so_does_a_run_that_goes_on():
    driver = PurePursuitDriver()
    short = replace(SHORT, image=False)  # what pictures show is compared above
    local = LocalRollouts(short, 3)
    _, middle, _ = local.collect(driver, local.initial_states(1), 15, 1, 0)
    second, ends, _ = local.collect(driver, middle, 15, 1, 1)  # over the end of an episode
    assert second.truncated.sum() == 3
    with closing(make_rollouts(short, 3, 2)) as spread:
        again, ends_again, _ = spread.collect(driver, middle, 15, 1, 1)
    assert_equal(again, second)
    assert_equal(ends_again, ends)


def test_a_lap_is_a_success_and_its_time_is_told():
    rollouts = LocalRollouts(SIGHTED, 2)
    results = rollouts.evaluate(PurePursuitDriver(), 2, seed=2024, deterministic=True)
    assert results.success_once.all()
    assert results.success_at_end.all()  # the car stands still after the lap
    lap_time, tiles, off_road = results.behaviour.unbind(1)
    assert ((lap_time > 15) & (lap_time < 30)).all()
    assert torch.equal((lap_time / 0.08).ceil().long(), results.length)  # decisions of 4 frames
    assert (tiles > 0.95).all()
    assert (off_road < 0.01).all()
    frames = lap_time * 50
    paid = 1000 * tiles - 0.1 * frames
    assert torch.allclose(results.episode_return, paid, atol=0.01)  # the stock reward, as its documentation has it


def test_who_leaves_the_playfield_has_failed_and_stands_still():
    batch = Racing(image=False, actions="continuous", max_frames=1500).make(1)
    batch.restore([0], batch.initial_states(2))
    for _ in range(375):
        step = batch.step(torch.tensor([[0.0, 1.0, 0.0]]))
        if step.terminated:
            break
    assert step.terminated.all()
    assert not step.success.any()
    assert step.reward.item() == pytest.approx(-100, abs=1)
    assert step.info[0].tolist()[1:] == [1, 30]  # off the road; the time limit in place of a lap time
    after = batch.step(torch.tensor([[0.0, 1.0, 0.0]]))
    assert torch.equal(after.obs.state, step.obs.state)
    assert after.reward.item() == 0


def test_the_drivers_of_the_zoo_fit_where_they_were_made_for():
    for name, choices in (("racing/driver", 12), ("racing/driver5", 5)):
        policy = load_policy(name)
        env = environment_of(policy)
        assert env.spec().choices == choices
        assert check_fits(policy, env, env.spec()) == []
        stock = environment_of(policy, settings=EnvSettings(task_options={"view": "stock"}))
        with pytest.raises(UserError, match="--accept_mismatch"):
            check_fits(policy, stock, stock.spec())
    with pytest.raises(UserError, match="only task_options"):
        environment_of(policy, settings=EnvSettings(robot="panda"))
    with pytest.raises(UserError, match="cannot be built with"):
        environment_of(policy, settings=EnvSettings(task_options={"speed": 3}))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"view": "map"}, "data.env.view is map; it must be one of raster, stock."),
        ({"actions": "discrete7"}, "data.env.actions is discrete7"),
        ({"frame_skip": 3}, "a multiple of frame_skip, 3"),
        ({"frame_skip": 0}, "data.env.frame_skip is 0"),
        ({"floats": False, "waypoints": 20}, "true where there are waypoints"),
        ({"floats": False, "image": False}, "true where floats are false"),
    ],
)
def test_refusals(options, told):
    with pytest.raises(UserError) as refused:
        Racing(**options)
    assert told in str(refused.value)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize("missing", ["Box2D", "pygame"])
@pytest.mark.parametrize("ask", [lambda: Racing().make(1), Racing().drawing_device])
def test_missing_packages_are_a_sentence(missing, ask, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("gymnasium.envs.box2d", "rlft.envs.racing.car"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=rf'{missing}.*pip install "rlft\[racing\]"') as refused:
        ask()
    assert is_sentence(str(refused.value))


def test_a_film_shows_every_state_as_the_stock_environment_would():
    config = replace(SHORT, max_frames=16)
    seen = [(states_of(batch, obs), scene.shown((100, 80))) for batch, obs, scene in _driven(config)]
    renderer = config.renderer(100)
    for states, picture in [*seen, seen[1]]:  # also back in time
        assert np.array_equal(renderer.frames(states)[0], picture)


def _driven(config):
    """A batch of one car, what it observes, and its scene: at the start, and after each of four decisions."""
    batch = config.make(1)
    batch.restore([0], batch.initial_states(1))
    obs = batch.initial_states(1).obs
    yield batch, obs, batch.scene(0)
    for _ in range(4):
        step = batch.step(torch.tensor([[0]]))
        yield batch, step.obs, batch.scene(0)
