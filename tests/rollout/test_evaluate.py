import pytest

from rlft.envs import ManiSkill, PointReach
from rlft.envs.initial_states import EVALUATION, InitialStates
from rlft.rollout import LocalRollouts
from tests.support.hand_made import ConstantActor
from tests.support.rollouts import assert_equal, policy

ENV = PointReach(horizon=25, radius=0.3)
EPISODES, SEED = 40, 3


@pytest.fixture(scope="module")
def rollouts():
    return LocalRollouts(ENV, 16)


def by_hand(actor, number):
    """One deterministic episode to the time limit: success once, success at the end, return, length."""
    env = ENV.make(1)
    state = InitialStates(ENV).get(EVALUATION, SEED, [number])
    env.restore([0], state)
    obs, successes = state.obs, []
    for _ in range(25):
        step = env.step(actor(obs).detach().clamp(-1, 1))
        obs = step.obs
        successes.append(bool(step.success))
    first = successes.index(True) + 1 if any(successes) else None
    return any(successes), successes[-1], float(first is not None), first or 25


@pytest.mark.parametrize("actor", [ConstantActor([0.5, 0.2]), policy()], ids=["passes_by", "network"])
def test_every_episode_equals_a_hand_loop(rollouts, actor):
    results = rollouts.evaluate(actor, EPISODES, seed=SEED, deterministic=True)
    expected = [by_hand(actor, number) for number in range(EPISODES)]
    columns = (results.success_once, results.success_at_end, results.episode_return, results.length)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def test_passing_by_is_success_once_but_not_at_the_end(rollouts):
    results = rollouts.evaluate(ConstantActor([0.5, 0.2]), EPISODES, seed=SEED, deterministic=True)
    assert 0 < results.success_at_end.sum() < results.success_once.sum() < EPISODES


def test_an_episode_depends_on_its_number_alone(rollouts):
    results = rollouts.evaluate(policy(), EPISODES, seed=SEED, deterministic=False)
    assert len(results) == EPISODES  # 16 environments: two full waves and a half
    for other in (rollouts, LocalRollouts(ENV, 5), LocalRollouts(ENV, 64)):
        assert_equal(other.evaluate(policy(), 21, seed=SEED, deterministic=False), results[:21])


def test_seeds_choose_other_initial_states_and_sampling_changes_episodes(rollouts):
    def lengths(seed=SEED, deterministic=True):
        return rollouts.evaluate(policy(), EPISODES, seed=seed, deterministic=deterministic).length.tolist()

    assert lengths() == lengths()
    assert lengths() != lengths(seed=SEED + 1)
    assert lengths() != lengths(deterministic=False)


def test_evaluation_does_not_disturb_a_later_rollout(rollouts):
    def collect(evaluating):
        states = rollouts.initial_states(1)
        _, states, _ = rollouts.collect(policy(), states, 10, 1, 0)
        if evaluating:
            rollouts.evaluate(policy(), 3, seed=SEED, deterministic=True)  # leaves 13 environments inactive
        return rollouts.collect(policy(), states, 10, 1, 1)

    for undisturbed, disturbed in zip(collect(False), collect(True), strict=True):
        assert_equal(undisturbed, disturbed)


def test_a_policy_is_measured_where_its_file_says_unless_told_otherwise():
    info = {"task": "PushCube-v1", "control_mode": "pd_joint_pos"}
    assert ManiSkill.of_policy(info) == ManiSkill("PushCube-v1", "pd_joint_pos")
    assert ManiSkill.of_policy(info, "PickCube-v1") == ManiSkill("PickCube-v1", "pd_joint_pos")
    assert ManiSkill.of_policy(info, control_mode="pd_ee_pose") == ManiSkill("PushCube-v1", "pd_ee_pose")
    assert ManiSkill.of_policy({}) == ManiSkill()
