import lightning
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from rlft.advantage import MonteCarlo, MonteCarloRerollout
from rlft.update import PPO
from tests.support.hand_made import same, weights_of
from tests.support.training import UPDATES, MemoryLogger, data, fit, module


class StopAt(PPO):
    """Asks to stop when it sees its `stop`-th minibatch of an iteration."""

    def __init__(self, stop, scope):
        super().__init__(kl_stop_scope=scope)
        self.stop, self.seen = stop, 0

    def signal(self, estimate):
        self.seen = 0
        return super().signal(estimate)

    def exceeds_target_kl(self, metrics):
        self.seen += 1
        return self.seen == self.stop


def updates(trainer, network):
    """How many gradient steps Adam has taken for a network."""
    optimizer = trainer.optimizers[0]
    (taken,) = {int(optimizer.state[p]["step"]) if p in optimizer.state else 0 for p in network.parameters()}
    return taken


@pytest.mark.parametrize(("scope", "critic_updates"), [("actor", UPDATES), ("both", 2)])
def test_kl_stop_comes_before_the_gradient_step_and_lasts_for_the_iteration(scope, critic_updates):
    model = module(update=StopAt(3, scope))
    trainer = fit(model, data(), 2)
    assert updates(trainer, model.actor) == 2 * 2  # two minibatches in each of two iterations
    assert updates(trainer, model.critic) == 2 * critic_updates


@pytest.mark.parametrize("scope", ["actor", "both"])
def test_an_actor_stopped_at_once_stays_bit_identical(scope):
    update = PPO(kl_stop_scope=scope)
    update.target_kl = -1.0  # the first minibatch has a KL of 0
    model = module(update=update)
    before = weights_of(model)
    fit(model, data(), 2)
    assert same(before, weights_of(model), "actor")
    assert same(before, weights_of(model), "critic") == (scope == "both")


def test_no_target_kl_never_stops():
    model = module(update=PPO(target_kl=None), learning_rate=0.1)
    trainer = fit(model, data(), 2)
    assert updates(trainer, model.actor) == updates(trainer, model.critic) == 2 * UPDATES


def test_iterations_are_logged_against_env_steps_also_when_a_stop_ends_them():
    logger = MemoryLogger()
    fit(module(update=StopAt(1, "both")), data(), 2, logger=logger)
    assert logger.series("steps/env") == [(80, 80.0), (160, 160.0)]
    assert [step for step, _ in logger.series("losses/value_loss")] == [80, 160]


class AfterEveryMinibatch(lightning.Callback):
    """Keeps what `read(module, outputs)` says after every gradient step."""

    def __init__(self, read):
        self.read, self.values = read, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(self.read(pl_module, outputs))


def test_the_first_minibatch_is_on_policy():
    metrics = AfterEveryMinibatch(lambda model, _: model.metrics.compute())
    fit(module(learning_rate=0.01), data(), 3, [metrics])
    firsts = metrics.values[::UPDATES]
    assert len(firsts) == 3
    for first in firsts:
        assert first["losses/approx_kl"] == pytest.approx(0, abs=1e-6)
        assert first["losses/clipfrac"] == 0


def test_metrics_are_averages_over_the_iteration():
    losses, logger = AfterEveryMinibatch(lambda _, outputs: float(outputs["loss"])), MemoryLogger()
    fit(module(update=PPO(target_kl=None)), data(), 1, [losses], logger)
    ((_, metrics),) = logger.logged
    mean = sum(losses.values) / UPDATES
    assert metrics["losses/policy_loss"] + 0.5 * metrics["losses/value_loss"] == pytest.approx(mean, abs=1e-5)


def test_warmup_teaches_the_critic_only():
    model = module(warmup_iterations=2)
    before = weights_of(model)
    fit(model, data(), 2)
    assert same(before, weights_of(model), "actor")
    assert not same(before, weights_of(model), "critic")
    model = module(warmup_iterations=1)
    before = weights_of(model)
    fit(model, data(), 2)
    assert not same(before, weights_of(model), "actor")


def test_gradients_are_clipped_jointly():
    norms = AfterEveryMinibatch(
        lambda model, _: parameters_to_vector([p.grad for p in model.parameters()]).norm().item()
    )
    fit(module(max_grad_norm=1e-3), data(), 1, [norms])
    assert norms.values == pytest.approx([1e-3] * UPDATES, rel=1e-3)


def test_a_diagnostic_critic_learns_and_does_not_touch_the_actor():
    def trained(*, critic):
        torch.manual_seed(0)
        model = module(advantage=MonteCarloRerollout(num_samples=2, critic=critic), max_grad_norm=1e-3)
        before = weights_of(model)
        fit(model, data(), 2)
        return before, weights_of(model)

    (before, watched), (_, alone) = trained(critic=True), trained(critic=False)
    assert not same(before, watched, "critic")
    assert same({k: v for k, v in watched.items() if k in alone}, alone, "actor")


@pytest.mark.parametrize(
    ("options", "actor", "critic"),
    [
        ({}, [1e-3, 1e-3], [1e-3, 1e-3]),
        ({"critic_learning_rate": 4e-3}, [1e-3, 1e-3], [4e-3, 4e-3]),
        ({"critic_learning_rate": 4e-3, "anneal_lr": True}, [1e-3, 5e-4], [4e-3, 2e-3]),
    ],
)
def test_learning_rates(options, actor, critic):
    logger, model = MemoryLogger(), module(learning_rate=1e-3, **options)
    trainer = fit(model, data(), 2, logger=logger)
    groups = trainer.optimizers[0].param_groups
    for name, network, rates, group in zip(
        ("actor", "critic"), (model.actor, model.critic), (actor, critic), groups, strict=True
    ):
        assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
        assert group["lr"] == pytest.approx(rates[-1])
        assert logger.series(f"charts/learning_rate/{name}") == [
            (80, pytest.approx(rates[0])),
            (160, pytest.approx(rates[1])),
        ]


def test_an_iteration_without_a_finished_episode_does_not_break_the_weights():
    model = module(advantage=MonteCarlo(tail="drop"))
    fit(model, data(num_steps=2), 2)  # 2 of 20 steps: nearly every episode is still running
    assert all(weight.isfinite().all() for weight in weights_of(model).values())
