"""Re-rollouts: what a job returns depends on its own row alone, and on nothing that a worker happens to do."""

import dataclasses
import math

import pytest
import torch

from rlft.envs import ManiSkill, PointReach
from rlft.envs.initial_states import REROLLOUT
from rlft.files.rows import entries_of
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, ProcessRollouts
from rlft.rollout.noise import standard_normal
from rlft.rollout.worker import RolloutWorker
from rlft.types import Jobs, Visited
from tests.support.chain import GAMMA, LOST, Chain, Spy, mu, states_at
from tests.support.hand_made import ConstantActor
from tests.support.rollouts import assert_equal, policy

ENV, ENVS, STEPS, SEED = PointReach(horizon=12, radius=0.5), 7, 40, 7
NAN = float("nan")


@pytest.fixture(scope="module")
def local():
    return LocalRollouts(ENV, ENVS)


@pytest.fixture(scope="module")
def collected(local):
    rollout, _, visited = local.collect(policy(), local.initial_states(SEED), STEPS, SEED, 0, keep_visited=True)
    return rollout, visited


@pytest.fixture(scope="module")
def states(collected):
    return collected[1].states


@pytest.fixture(scope="module")
def played(local, states):
    """200 jobs of all kinds and what came of them."""
    jobs = random_jobs(200, len(states))
    return jobs, *play(local, states, jobs)


def jobs_at(state, horizon, noise, start=0, sign=1.0, first=(NAN, NAN)):
    """Jobs from lists of equal length; whatever is one number for all is repeated. At NaN the policy chooses."""
    state = torch.as_tensor(state)
    columns = {"horizon": horizon, "noise": noise, "noise_start": start, "noise_sign": sign}
    columns = {name: torch.as_tensor(column).expand(len(state)).clone() for name, column in columns.items()}
    first = torch.as_tensor(first, dtype=torch.float32)
    first = first.expand(len(state), first.shape[-1])
    return Jobs(
        state=state, **columns, has_first_action=~first.isnan().any(1), first_action=first.nan_to_num(nan=12345.0)
    )


def random_jobs(count, num_states):
    random = torch.Generator().manual_seed(0)

    def integers(low, high):
        return torch.randint(low, high, (count,), generator=random)

    first = 2 * torch.randn(count, 2, generator=random)  # some need clipping
    first[integers(0, 3) > 0] = NAN
    sign = 1.0 - 2 * integers(0, 2)
    return jobs_at(integers(0, num_states), integers(1, 13), integers(0, 2**33), integers(0, 9), sign, first)


def play(rollouts, states, jobs, *, actor=None, gamma=0.9, seed=SEED, iteration=0):
    return rollouts.play(
        actor or policy(), states, jobs, gamma=gamma, seed=seed, iteration=iteration, progress=lambda begun: None
    )


# ---- scheduling changes nothing ----------------------------------------------------------------------------------


def test_the_jobs_end_in_all_ways(played):
    jobs, branches, _ = played
    assert 10 < branches.terminated.sum() < 190
    assert (branches.steps[~branches.terminated] == jobs.horizon[~branches.terminated]).all()
    assert (branches.steps[branches.terminated] < jobs.horizon[branches.terminated]).any()
    assert branches.valid.all()


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_branches_are_bit_identical_with_any_number_of_workers(states, played, num_workers):
    jobs, branches, simulated = played
    rollouts = ProcessRollouts(ENV, ENVS, num_workers)
    try:
        for _ in range(2):  # the queue begins anew with every call
            ours, our_steps = play(rollouts, states, jobs)
            assert_equal(ours, branches)
            assert our_steps == simulated
        nothing, no_steps = play(rollouts, states, jobs[:0])
        assert (len(nothing), no_steps) == (0, 0)
    finally:
        rollouts.close()


@pytest.mark.parametrize("scenes", [1, 3, 64, 300])  # of 300, 100 have nothing to do
def test_branches_are_bit_identical_with_any_number_of_scenes(states, played, scenes):
    jobs, branches, simulated = played
    ours, our_steps = play(LocalRollouts(ENV, scenes), states, jobs)
    assert_equal(ours, branches)
    assert our_steps == simulated == branches.steps.sum()  # scenes without a job are not simulated


def test_a_branch_depends_neither_on_the_order_nor_on_what_else_is_played(local, states, played):
    jobs, branches, _ = played
    order = torch.randperm(len(jobs), generator=torch.Generator().manual_seed(1))
    assert_equal(play(local, states, jobs[order])[0], branches[order])
    assert_equal(play(local, states, jobs[order[:17]])[0], branches[order[:17]])


def test_no_jobs(local, states, played):
    branches, simulated = play(local, states, played[0][:0])
    assert len(branches) == simulated == 0
    for name, tensor in entries_of(branches).items():
        assert tensor.dtype == entries_of(played[1])[name].dtype


def test_progress_counts_up_to_all_jobs(local, states, played):
    begun = []
    local.play(policy(), states, played[0], gamma=0.9, seed=SEED, iteration=0, progress=begun.append)
    assert begun == sorted(begun)
    assert (begun[0], begun[-1]) == (ENVS, 200)


# ---- one branch --------------------------------------------------------------------------------------------------


def test_a_first_action_is_clipped_and_used_once(local, states):
    """A branch that begins with a is that step, then the branch from where it led, with the noise one row further."""
    rows, first = torch.arange(60), 2 * torch.randn(60, 2, generator=torch.Generator().manual_seed(2))
    env = ENV.make(60)
    env.restore(range(60), states[rows])
    step = env.step(first.clamp(-1, 1))
    led_to = dataclasses.replace(states[rows], physics=env.save(range(60))[0], obs=step.obs)

    whole, _ = play(local, states, jobs_at(rows, 8, rows, 2, first=first))
    rest, _ = play(local, led_to, jobs_at(rows, 7, rows, 3))
    goes_on = ~step.terminated
    assert 0 < goes_on.sum() < 60
    assert torch.equal(whole.end_obs.state[goes_on], rest.end_obs.state[goes_on])
    assert torch.equal(whole.steps[goes_on], rest.steps[goes_on] + 1)
    assert torch.allclose(whole.discounted_return[goes_on], 0.9 * rest.discounted_return[goes_on])
    assert whole.steps[~goes_on].tolist() == whole.discounted_return[~goes_on].tolist() == [1] * int((~goes_on).sum())


def test_noise_is_that_of_the_address(local, states):
    jobs = jobs_at([0, 0, 0, 0], 1, [5, 2**40, 2**40, 5], [0, 3, 3, 0], [1.0, 1.0, -1.0, 1.0])
    actor = ConstantActor([0.1, -0.2], log_std=-1.0)
    branches, _ = play(local, states, jobs, actor=actor, iteration=4)

    def moved(address, start, sign):
        noise = standard_normal([REROLLOUT, SEED, 4, address], 9, 2)[start]
        return 0.1 * (torch.tensor([0.1, -0.2]) + sign * math.exp(-1) * noise).clamp(-1, 1)

    expected = torch.stack([moved(5, 0, 1), moved(2**40, 3, 1), moved(2**40, 3, -1), moved(5, 0, 1)])
    assert torch.allclose(branches.end_obs.state[:, 2:4], expected, atol=1e-6)
    assert torch.equal(branches.end_obs.state[0], branches.end_obs.state[3])


def test_noise_differs_between_seeds_and_iterations(local, states, played):
    jobs, branches, _ = played
    chosen = ~jobs.has_first_action
    for other in ({"seed": SEED + 1}, {"iteration": 1}):
        ends = play(local, states, jobs, **other)[0].end_obs.state
        assert not (ends == branches.end_obs.state).all(1)[chosen].any()


def test_every_step_has_its_own_noise(states):
    jobs, hardly_a_goal = jobs_at([0] * 6, range(1, 7), 0), PointReach(horizon=12, radius=0.01)
    branches, _ = play(LocalRollouts(hardly_a_goal, 2), states, jobs, actor=ConstantActor([0.0, 0.0], log_std=-1.0))
    assert len(branches.end_obs.state[:, 2:4].unique(dim=0)) == 6


def play_chain(jobs, distances, actor=None, scenes=2):
    return play(LocalRollouts(Chain(), scenes), states_at(distances), jobs, actor=actor or mu(), gamma=GAMMA)[0]


def test_a_branch_is_paid_up_to_its_end_and_no_more():
    # always right, from 3: rewards 0, 0, 1 -> 0.8^2; from 1: 1 at once; cut after two steps: nothing
    jobs = jobs_at([0, 1, 0], [50, 50, 2], 0, first=[NAN])
    branches = play_chain(jobs, [3, 1], ConstantActor([50.0]))
    assert branches.discounted_return.tolist() == pytest.approx([0.64, 1.0, 0.0])
    assert branches.steps.tolist() == [3, 1, 2]
    assert branches.terminated.tolist() == [True, True, False]
    assert branches.end_obs.state.flatten().tolist() == [0.0, 0.0, 1.0]


def test_a_first_action_against_the_policy_costs_one_step():
    branches = play_chain(jobs_at([0, 0], 50, 0, first=[[-1.0], [9.0]]), [3], ConstantActor([50.0]))
    assert branches.discounted_return.tolist() == pytest.approx([0.8**3, 0.8**2])


def test_nan_spoils_its_own_job_alone():
    distances = [3, LOST, 1, LOST, 2]
    jobs = jobs_at(range(5), 30, range(5), first=[NAN])
    branches = play_chain(jobs, distances)  # two scenes: those that saw NaN are used again
    assert branches.valid.tolist() == [True, False, True, False, True]
    assert branches.steps[[1, 3]].tolist() == [1, 1]
    good = torch.tensor([0, 2, 4])
    assert_equal(branches[good], play_chain(jobs[good], distances))


def test_the_accounts_of_an_iteration():
    visited = Visited(states_at([3, LOST]), before=torch.tensor([[0]]), after=torch.tensor([[0]]))
    rerollouts = Spy(LocalRollouts(Chain(), 2), visited)
    assert rerollouts.metrics() == {}
    for _ in range(2):
        rerollouts.play(ConstantActor([50.0]), jobs_at([0, 1, 0], 30, 0, first=[NAN]), GAMMA)
    metrics = rerollouts.metrics()
    assert rerollouts.sim_steps == 2 * (3 + 1 + 3)
    assert metrics["charts/rerollouts_invalid"] == 2
    assert metrics["charts/rerollout_useful_share"] == pytest.approx(12 / 14)


# ---- the states on the way ---------------------------------------------------------------------------------------


def test_each_step_leads_from_the_state_before_to_the_state_after(collected):
    rollout, visited = collected
    assert rollout.terminated.any()
    assert rollout.truncated.any()
    assert torch.equal(visited.states.obs.state[visited.before], rollout.obs.state)
    assert torch.equal(visited.states.obs.state[visited.after], rollout.next_obs.state)
    assert torch.equal(visited.states.elapsed[visited.before], rollout.elapsed)
    assert torch.equal(visited.states.elapsed[visited.after], rollout.elapsed + 1)  # also where the episode ended
    episodes = torch.arange(ENVS) + ENVS * (rollout.done.int().cumsum(0) - rollout.done.int())
    assert episodes.max() >= 3 * ENVS  # several in one environment
    assert torch.equal(visited.states.episode[visited.before], episodes)
    assert torch.equal(visited.states.episode[visited.after], episodes)


def test_successive_steps_share_their_state_within_an_episode(collected):
    rollout, visited = collected
    goes_on = ~rollout.done[:-1]
    assert torch.equal(visited.before[1:] == visited.after[:-1], goes_on)
    assert len(visited.before.unique()) == len(visited.after.unique()) == STEPS * ENVS
    unused = len(visited.states) - len(torch.cat([visited.before, visited.after]).unique())
    assert unused == rollout.done[-1].sum()  # where the next rollout begins


def test_a_visited_state_and_the_recorded_actions_reproduce_the_rollout(local, collected):
    rollout, visited = collected
    for begin in range(0, STEPS, 9):
        for n in range(ENVS):
            env, t = ENV.make(1), begin
            env.restore([0], visited.states[visited.before[begin, n]][None])
            while True:
                step = env.step(rollout.action[t, n][None].clamp(-1, 1))
                assert torch.equal(step.obs.state[0], rollout.next_obs.state[t, n])
                assert step.reward == rollout.reward[t, n]
                t += 1
                if t == STEPS or rollout.done[t - 1, n]:
                    break


def test_a_branch_of_one_recorded_action_is_the_recorded_step(local, collected):
    rollout, visited = collected
    jobs = jobs_at(visited.before.flatten(), 1, 0, first=rollout.action.flatten(0, 1))
    branches, _ = play(local, visited.states, jobs)
    assert torch.equal(branches.end_obs.state, rollout.next_obs.state.flatten(0, 1))
    assert torch.equal(branches.discounted_return, rollout.reward.flatten())
    assert torch.equal(branches.terminated, rollout.terminated.flatten())


def test_keeping_states_changes_nothing_and_is_the_same_in_workers(local, collected):
    start = local.initial_states(SEED)
    rollout, _, nothing = local.collect(policy(), start, STEPS, SEED, 0)
    assert_equal(rollout, collected[0])
    assert len(nothing.states) == 0
    parts = [
        RolloutWorker(ENV, len(share)).collect(
            policy(), share, start[slice(share.start, share.stop)], STEPS, SEED, 0, ENVS, keep_visited=True
        )[2]
        for share in (range(3), range(3, 7))
    ]
    joined, whole = Visited.cat(parts), collected[1]
    for place in ("before", "after"):
        assert_equal(joined.states[getattr(joined, place).flatten()], whole.states[getattr(whole, place).flatten()])


def test_rerollouts_do_not_disturb_the_live_rollout(local, states, played):
    def collect(*, playing):
        _, now, _ = local.collect(policy(), local.initial_states(1), 10, 1, 0)
        if playing:
            play(local, states, played[0])
        return local.collect(policy(), now, 20, 1, 1, keep_visited=True)

    for undisturbed, disturbed in zip(collect(playing=False), collect(playing=True), strict=True):
        assert_equal(undisturbed, disturbed)


# ---- the real simulator ------------------------------------------------------------------------------------------


@pytest.mark.maniskill
def test_pick_cube_branches_are_bit_identical_wherever_they_are_played():
    expert, env = load_policy("pickcube/expert").actor, ManiSkill(device="cpu")
    four = LocalRollouts(env, 4)
    rollout, _, visited = four.collect(expert, four.initial_states(1), 25, 1, 0, keep_visited=True)
    assert rollout.obs.state[..., 18].any()  # the cube is grasped
    states = visited.states

    rows = torch.arange(60) * (len(states) // 60)
    jobs = jobs_at(rows, 8, rows, first=[NAN] * 8)
    branches, _ = play(four, states, jobs, actor=expert)
    assert branches.valid.all()
    assert branches.terminated.any()
    assert branches.end_obs.state[:, 18].any()
    assert_equal(play(LocalRollouts(env, 7), states, jobs, actor=expert)[0], branches)
    processes = ProcessRollouts(env, 4, 2)
    try:
        assert_equal(play(processes, states, jobs, actor=expert)[0], branches)
    finally:
        processes.close()

    repeat = jobs_at(visited.before[:3].flatten(), 1, 0, first=rollout.action[:3].flatten(0, 1))
    again, _ = play(four, states, repeat, actor=expert)  # before there is contact: a restore drops its history
    assert torch.allclose(again.end_obs.state, rollout.next_obs.state[:3].flatten(0, 1), atol=1e-4)
