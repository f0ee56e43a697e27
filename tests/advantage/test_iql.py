import pytest
import torch

from rlft.advantage import GAE, IQL, SARSA
from rlft.advantage.iql import expectile_loss, n_step_transition
from rlft.errors import UserError
from rlft.networks import ActionValueCritic, ValueCritic
from rlft.types import BootstrappedBatch, Obs, Transition
from tests.support.hand_made import is_sentence, random_batch, random_rollout, rollout_of
from tests.support.tabular import batch_of_rollout, chain_of_mu, learn, values, walk


def minimiser(target, expectile):
    """Where the loss of a single prediction is least."""
    prediction = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([prediction], max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = expectile_loss(target - prediction, expectile)
        value.backward()
        return value

    optimizer.step(loss)
    return prediction.item()


def td_batch(estimator, size=64, obs_dim=3, action_dim=2):
    """A minibatch of noise with successors, and a critic for it."""
    torch.manual_seed(1)
    critic = estimator.adapt(ValueCritic(obs_dim, 16, 2), obs_dim, action_dim)
    reward, next_obs = torch.randn(size), Obs(torch.randn(size, obs_dim))
    ahead = Transition(reward=reward, next_obs=next_obs, discount=0.8 * (torch.rand(size) > 0.2))
    return BootstrappedBatch(**vars(random_batch(size, obs_dim, action_dim)), transition=ahead), critic


# ---- expectiles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.1), (0.7, 0.2059), (0.9, 0.5)])
def test_expectile_of_a_coin_that_shows_1_in_a_tenth_of_all_cases(expectile, expected):
    # tau p / (tau p + (1 - tau) (1 - p))
    assert minimiser(torch.tensor([1.0] + [0.0] * 9), expectile) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.5), (0.7, 0.6044), (0.9, 0.75)])
def test_expectile_of_the_uniform_distribution(expectile, expected):
    # sqrt(tau) / (sqrt(tau) + sqrt(1 - tau))
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    assert minimiser(uniform, expectile) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("expectile", [0.5, 0.7, 0.9])
def test_too_low_a_value_is_pulled_up_harder_than_one_too_high_down(expectile):
    error = torch.tensor([0.3, -0.3], requires_grad=True)
    expectile_loss(error, expectile).backward()
    up, down = error.grad.tolist()
    assert up / -down == pytest.approx(expectile / (1 - expectile))


# ---- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expectile", "expected"),
    [
        # V(1) = f, V(n) = f (0.8 f)^(n-1) with f = tau p / (tau p + (1 - tau) (1 - p) (1 - gamma))
        (0.5, (0.8333, 0.5556, 0.3704)),  # V^mu
        (0.7, (0.9211, 0.6787, 0.5001)),
        (0.9, (0.9783, 0.7656, 0.5992)),
        (0.999, (1.0, 0.8, 0.64)),  # of the better action in every state
    ],
)
def test_values_of_the_chain(expectile, expected):
    critic = learn(IQL(expectile=expectile, polyak=0.1), chain_of_mu(), steps=1000)
    assert values(critic) == pytest.approx(expected, abs=1e-3)


def test_q_of_the_chain_is_one_step_ahead_of_v():
    rollout = chain_of_mu()
    critic = learn(IQL(expectile=0.7, polyak=0.1), rollout)
    # moving: 1, 0.8 V(1), 0.8 V(2); staying: 0.8 V(n)
    expected = [1.0, 0.7368, 0.7368, 0.5430, 0.5430, 0.4001]
    for q in critic.action_values(rollout.obs, rollout.action)[:, 0].tolist():
        assert q == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n_step", [1, 2, 3, 10])
def test_without_choice_any_number_of_steps_ahead_leads_to_the_same_values(n_step):
    rollout = walk([0.0, 0.5, 0.0, 1.0], True, "terminated")
    critic = learn(IQL(n_step=n_step, polyak=0.1), rollout)
    # V(3) = 1, V(2) = 0.8, V(1) = 0.5 + 0.64, V(0) = 0.8 * 1.14
    assert values(critic)[:4] == pytest.approx([0.912, 1.14, 0.8, 1.0], abs=1e-3)


@pytest.mark.parametrize(
    ("how", "n_step", "expected"),
    [
        ("truncated", 1, 5.0),  # 1 / (1 - 0.8)
        ("truncated", 4, 5.0),
        # What masking the truncation would lead to: V = 1 + 0.9 * 0.8 V. Four steps ahead, seven of ten windows have
        # the reward 2.952, the others 2.44, 1.8 and 1, and six are followed by 0.4096 V.
        ("terminated", 1, 3.5714),
        ("terminated", 4, 3.4344),
    ],
)
def test_an_endless_loop_that_the_time_limit_cuts(how, n_step, expected):
    ends = [False] * 9 + [True]
    rollout = rollout_of([1.0] * 10, [1.0] * 10, [1.0] * 10, **{how: ends})
    critic = learn(IQL(expectile=0.5, n_step=n_step, polyak=0.2), rollout)
    assert critic(Obs(torch.ones(1))).item() == pytest.approx(expected, abs=5e-3)


# ---- several steps ahead -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_step", [1, 2, 5, 100])
def test_steps_ahead_against_a_loop(n_step):
    rollout = random_rollout()
    got = n_step_transition(rollout, n_step, 0.9, 2.0)
    for t in range(len(rollout)):
        for e in range(rollout.reward.shape[1]):
            reward, last = 0.0, t - 1
            while last - t + 1 < n_step and last + 1 < len(rollout) and not (last >= t and rollout.done[last, e]):
                last += 1
                reward += 0.9 ** (last - t) * 2.0 * rollout.reward[last, e].item()
            discount = 0.0 if rollout.terminated[last, e] else 0.9 ** (last - t + 1)
            assert got.reward[t, e].item() == pytest.approx(reward, abs=1e-5)
            assert got.discount[t, e].item() == pytest.approx(discount)
            assert torch.equal(got.next_obs.state[t, e], rollout.next_obs.state[last, e])


def test_a_batch_has_the_successors_that_the_loss_needs():
    rollout, estimator = random_rollout(), IQL(n_step=2)
    critic = estimator.adapt(ValueCritic(1, 8, 1), 1, 1)
    batch = batch_of_rollout(estimator, rollout, critic)
    expected = n_step_transition(rollout, 2, 0.8, 1.0).next_obs.state.flatten(0, 1)
    assert torch.equal(batch.transition.next_obs.state, expected)


# ---- one gradient step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("single_q", [False, True])
def test_losses_against_a_loop(single_q):
    estimator = IQL(expectile=0.7, single_q=single_q)
    batch, critic = td_batch(estimator)
    for target in critic.target_q.buffers():
        target.normal_()
    value_loss, q_loss = 0.0, 0.0
    for row in range(len(batch)):
        x = torch.cat([batch.obs.state[row], batch.action[row]])
        v, ahead = critic(batch.obs[row]).item(), batch.transition
        u = min(target(x).item() for target in critic.target_q) - v
        value_loss += (0.7 if u > 0 else 0.3) * u**2 / len(batch)
        y = (ahead.reward[row] + ahead.discount[row] * critic(ahead.next_obs[row])).item()
        q_loss += sum((q(x).item() - y) ** 2 for q in critic.q) / len(batch)
    loss, metrics = estimator.critic_loss(critic, batch)
    assert len(critic.q) == (1 if single_q else 2)
    assert metrics["losses/value_loss"].item() == pytest.approx(value_loss, rel=1e-4)
    assert metrics["losses/q_loss"].item() == pytest.approx(q_loss, rel=1e-4)
    assert loss.item() == pytest.approx(value_loss + q_loss, rel=1e-4)


def test_the_gradients_of_v_and_q_do_not_mix():
    estimator = IQL()
    batch, critic = td_batch(estimator)
    value_loss = expectile_loss(
        critic.target_action_value(batch.obs, batch.action) - critic(batch.obs), estimator.expectile
    )
    alone = torch.autograd.grad(value_loss, list(critic.value.parameters()))
    estimator.critic_loss(critic, batch)[0].backward()
    for parameter, gradient in zip(critic.value.parameters(), alone, strict=True):
        assert torch.allclose(parameter.grad, gradient)


# ---- advantages --------------------------------------------------------------------------------------------------


def test_gae_with_the_critics_v_is_the_default_advantage():
    rollout = random_rollout()
    _, critic = td_batch(IQL(), obs_dim=1, action_dim=1)
    with torch.no_grad():
        got = IQL(gamma=0.9, reward_scale=2.0).estimate(rollout, critic, None)
        expected = GAE(gamma=0.9, gae_lambda=0.95, reward_scale=2.0).estimate(rollout, critic, None)
    assert torch.equal(got.advantage, expected.advantage)
    assert torch.equal(got.value_target, expected.value_target)
    assert got.mask.all()


@torch.no_grad()
def test_q_minus_v_is_that_of_the_smaller_target():
    rollout = random_rollout()
    _, critic = td_batch(IQL(), obs_dim=1, action_dim=1)
    estimate = IQL(advantage="q_minus_v").estimate(rollout, critic, None)
    for t, e in ((0, 0), (7, 3)):
        x = torch.cat([rollout.obs.state[t, e], rollout.action[t, e]])
        smaller = min(target(x).item() for target in critic.target_q)
        assert estimate.advantage[t, e].item() == pytest.approx(smaller - estimate.value[t, e].item(), abs=1e-5)
    assert estimate.metrics["charts/q_minus_v_std"] == pytest.approx(estimate.advantage.std().item())


def test_the_learned_q_ranks_the_actions_of_the_chain():
    rollout, estimator = chain_of_mu(), IQL(expectile=0.5, polyak=0.1, advantage="q_minus_v")
    critic = learn(estimator, rollout)
    with torch.no_grad():
        advantage = estimator.estimate(rollout, critic, None).advantage[0]
    # +-(1 - 0.8333) with one step to go, +-0.1111 with two: section 4's values of mu
    assert advantage[:4].tolist() == pytest.approx([0.1667, -0.1667, 0.1111, -0.1111], abs=1e-3)


# ---- which critic ------------------------------------------------------------------------------------------------


def test_new_q_networks_join_a_given_v():
    value = ValueCritic(3, 16, 2)
    critic = IQL().adapt(value, 3, 2)
    obs = Obs(torch.randn(5, 3))
    assert torch.equal(critic(obs), value(obs))
    assert critic.action_values(obs, torch.randn(5, 2)).shape == (2, 5)


def test_a_critic_with_q_networks_is_taken_as_it_is():
    critic = IQL().adapt(ValueCritic(3, 16, 2), 3, 2)
    assert SARSA().adapt(critic, 3, 2) is critic


@pytest.mark.parametrize(
    ("estimator", "critic"),
    [
        (IQL(single_q=True), ActionValueCritic(ValueCritic(3, 8, 1), 2)),
        (IQL(), ActionValueCritic(ValueCritic(3, 8, 1), 4)),
    ],
    ids=["number of Q", "action dimensions"],
)
def test_q_networks_that_do_not_fit_are_refused(estimator, critic):
    with pytest.raises(UserError, match="Q of") as refused:
        estimator.adapt(critic, 3, 2)
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    "options",
    [{"gamma": 1.1}, {"gae_lambda": -1}, {"expectile": 0}, {"expectile": 1}, {"n_step": 0}, {"polyak": 0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(UserError, match=f"model.advantage.{next(iter(options))}") as refused:
        IQL(**options)
    assert is_sentence(str(refused.value))
