"""IQN: its targets by hand, returns that are known, and runs on pictures."""

import dataclasses
import json
from functools import partial

import pytest
import torch

from rlft.cli import main
from rlft.data import replay_files
from rlft.data.replay_buffer import ReplayBuffer
from rlft.errors import UserError
from rlft.modules import IQNModule
from rlft.networks import CategoricalActor, QuantileActor
from rlft.networks.action_values import follow
from rlft.networks.policy_files import load_policy, save_policy
from rlft.types import Experience, Obs, ReplayBatch, Transition
from tests.support.hand_made import REPO, is_sentence
from tests.support.training import made_by, same_policies, scalars

SMALL = {"float_dim": 16, "head_dim": 32, "cosines": 16, "act_quantiles": 32}


def module(choices=2, **options):
    return IQNModule(1, 1, lambda o, a: QuantileActor(o, a, choices, **SMALL), **options)


def constant(module, values):
    """Has target and actor say the same value of a choice at every level."""
    for network, numbers in ((module.actor, values[0]), (module.target, values[1])):
        for name, tensor in network.state_dict().items():
            if name.startswith(("advantage.2", "value.2")):
                tensor.zero_()
        network.state_dict()["advantage.2.bias"].copy_(torch.tensor(numbers))
        network.state_dict()["value.2.bias"].fill_(sum(numbers) / len(numbers))


@pytest.mark.parametrize(("double_q", "following"), [(True, 5.0), (False, 7.0)])
def test_a_target_worked_out_by_hand(double_q, following):
    """The actor prefers choice 0, which the copy values at 5, less than choice 1."""
    iqn = module(double_q=double_q, reward_scale=0.5)
    constant(iqn, ([2.0, 1.0], [5.0, 7.0]))
    iqn.noise = torch.Generator()
    ahead = Transition(torch.tensor([4.0, 6.0]), Obs(torch.zeros(2, 1)), torch.tensor([0.9, 0.0]))
    target = iqn._target(ahead)
    assert target.shape == (2, 8)
    expected = torch.tensor([0.5 * 4 + 0.9 * following, 0.5 * 6])
    assert torch.allclose(target, expected[:, None].expand(2, 8), atol=1e-6)


def test_a_bandit_with_known_returns_is_recovered():
    """Choice 0 returns 1 + 2 u and choice 1 returns 10 u^2 for u uniform in (0, 1), 2 and 3.33 on average."""
    torch.manual_seed(2)
    iqn, generator = module(kappa=0.01, reward_scale=0.1), torch.Generator().manual_seed(1)
    iqn.noise = torch.Generator().manual_seed(2)
    optimizer, steps = torch.optim.RAdam(iqn.actor.parameters(), lr=1e-2, eps=1e-4), 400
    obs = Obs(torch.zeros(256, 1))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        uniform, action = torch.rand(256, generator=generator), torch.arange(256) % 2
        reward = torch.where(action == 0, 1 + 2 * uniform, 10 * uniform**2)
        batch = ReplayBatch(obs, action[:, None], Transition(reward, obs, torch.zeros(256)))
        optimizer.zero_grad()
        iqn.training_step(batch, step).backward()
        optimizer.step()
    tau = torch.tensor([0.25, 0.5, 0.75, 0.9])
    found = iqn.actor.quantiles(obs[:1], tau)[0] / 0.1
    assert torch.allclose(found[:, 0], 1 + 2 * tau, atol=0.2)
    assert torch.allclose(found[:, 1], 10 * tau**2, atol=0.6)
    assert iqn.actor.mode(obs[:1]).item() == 1
    assert iqn.mean_value(obs[:2], torch.tensor([[0], [1]])).tolist() == pytest.approx([2, 3.33], abs=0.3)


def test_with_a_horizon_values_are_those_of_what_is_left():
    """Every step pays 1 and nothing ends: with k steps left a value is k, and the actor is told of all four."""
    torch.manual_seed(0)
    iqn = IQNModule(1, 1, lambda o, a: QuantileActor(o, a, 2, **SMALL, timed=True), gamma=1.0, horizon=4, kappa=0.1)
    iqn.noise, buffer = torch.Generator().manual_seed(2), ReplayBuffer(100)
    zeros, no = torch.zeros(100, 1, 1), torch.zeros(100, 1, dtype=torch.bool)
    buffer.add(Experience(Obs(zeros), zeros.long(), torch.ones(100, 1), Obs(zeros), no, no, ~no))
    batches = buffer.transitions(500, 32, 3, 1.0, torch.Generator().manual_seed(1), horizon=4)
    optimizer = torch.optim.RAdam(iqn.actor.parameters(), lr=3e-3, eps=1e-4)
    for step, batch in enumerate(batches):
        optimizer.zero_grad()
        iqn.training_step(batch, step).backward()
        optimizer.step()
        follow(iqn.target, iqn.actor, 0.05)
    told = Obs(torch.tensor([[0, 0.25], [0, 0.5], [0, 0.75], [0, 1.0]]))
    assert iqn.actor.values(told)[:, 0].tolist() == pytest.approx([1, 2, 3, 4], abs=0.25)
    assert torch.equal(iqn.actor.values(Obs(torch.zeros(1, 1))), iqn.actor.values(told[3:]))
    for horizon, timed, right in ((4, False, "true"), (0, True, "false")):
        actor = partial(QuantileActor, choices=2, **SMALL, timed=timed)
        with pytest.raises(UserError, match=rf"model\.actor\.timed has to be {right}") as refused:
            IQNModule(1, 1, actor, horizon=horizon)
        assert is_sentence(str(refused.value))


def test_the_values_of_the_start_are_scaled():
    torch.manual_seed(0)
    plain, obs = module(), Obs(torch.randn(5, 1))
    torch.manual_seed(0)
    scaled = module(start_scale=0.1)
    for before, after in ((plain.actor, scaled.actor), (plain.target, scaled.target)):
        assert torch.allclose(after.values(obs), 0.1 * before.values(obs), atol=1e-6)


def test_exploration_falls_from_point_to_point():
    iqn = module(epsilon=((0, 1.0), (100, 0.5), (200, 0.1)))
    assert [iqn.epsilon.at(step) for step in (0, 50, 100, 150, 1000)] == pytest.approx([1, 0.75, 0.5, 0.3, 0.1])
    with pytest.raises(UserError, match=r"model\.epsilon at step 3 is 1\.5"):
        module(epsilon=((3, 1.5),))


def test_the_moments_of_a_start_policy_stay(tmp_path):
    """What it has learned is of numbers as it knows them."""
    first = torch.tensor([[1.0], [3.0], [5.0]])
    nothing = torch.zeros(3, 1)
    rows = Experience(Obs(first), nothing, nothing, Obs(first), nothing, nothing, torch.ones(3).bool())
    iqn = module()
    iqn.begin(rows)
    assert [float(network.encoder.floats.mean) for network in (iqn.actor, iqn.target)] == [3, 3]
    path = tmp_path / "start.safetensors"
    save_policy(path, iqn.actor, None, {})
    start = module(policy=str(path))
    start.begin(dataclasses.replace(rows, obs=Obs(first + 10)))
    assert [float(network.encoder.floats.mean) for network in (start.actor, start.target)] == [3, 3]


def test_parts_of_a_policy_that_was_cloned_are_injected(tmp_path):
    path, sizes = tmp_path / "cloned.safetensors", {"image": (1, 16, 16), "convolutions": ((4, 4, 2),), "head_dim": 8}
    cloned = CategoricalActor(1, 1, 3, **sizes)
    save_policy(path, cloned, None, {})

    def injected(inject, **options):
        return IQNModule(
            1, 1, lambda o, a: QuantileActor(o, a, 3, **{**sizes, **options}), inject_from=str(path), inject=inject
        ).actor

    def took(actor, part):
        theirs = cloned.get_submodule(part).parameters()
        return all(torch.equal(*pair) for pair in zip(actor.get_submodule(part).parameters(), theirs, strict=True))

    assert [took(injected("encoder"), part) for part in ("encoder", "advantage")] == [True, False]
    assert [took(injected("encoder+advantage"), part) for part in ("encoder", "advantage")] == [True, True]
    with pytest.raises(UserError, match=r"has no tensor mixer\.layer") as refused:
        injected("full")
    with pytest.raises(UserError, match=r"was trained with pixels \[128\.0, 128\.0\] and this actor has") as refused:
        injected("encoder", pixels=(0.0, 255.0))
    assert is_sentence(str(refused.value))


# ---- runs --------------------------------------------------------------------------------------------------------


def arguments(log_dir, *options):
    config = REPO / "tests/support/pictured_iqn.yaml"
    return ["fit", f"--config={config}", f"--log_dir={log_dir}", *map(str, options)]


def run(log_dir, *options):
    return made_by(arguments(log_dir, *options), log_dir)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three iterations, of which the first only collects; the buffer holds one and a half of them."""
    return run(tmp_path_factory.mktemp("three"))


def test_an_iteration_has_its_steps_and_its_updates(three):
    found = scalars(three)
    assert [value for _, value in found["steps/env"]] == [160, 320, 480]
    assert [value for _, value in found["charts/actor_updates"]] == [16, 16]
    assert [value for _, value in found["charts/epsilon"]] == pytest.approx([1, 0.7, 0.4])
    policy = load_policy(str(three / "policies/last.safetensors"))
    assert isinstance(policy.actor, QuantileActor)
    assert bool(policy.actor.encoder.floats.fitted)
    assert json.loads((three / "policies/last.json").read_text())["choices"] == 5


def test_the_number_of_workers_changes_nothing(three, tmp_path):
    assert same_policies(run(tmp_path, "--data.num_workers=2"), three)


def test_a_run_goes_on_to_the_same_weights_with_its_pictures(three, tmp_path):
    first = run(tmp_path, "--trainer.max_epochs=2")
    assert not same_policies(first, three)
    assert same_policies(run(tmp_path, "--ckpt_path=last"), three)
    kept, _ = replay_files.read_segment(first, 1)
    assert kept.obs.image.shape == (40, 4, 1, 16, 16)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model.actor.choices=4",), "An action of PicturedReach is one of 5 choices, but model.actor QuantileActor"),
        (("--model.actor.image=[1, 20, 20]",), "model.actor looks at pictures of [1, 20, 20], but PicturedReach has"),
        (("--data.env=PointReach",), "the numbers per action of a network that chooses is 2"),
        (("--data.her=0.5",), "pictures of PicturedReach show the goal as it was"),
        (("--model.kappa=0",), "model.kappa is 0.0; it must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(options, said, tmp_path, capsys):
    assert main(arguments(tmp_path, *options)) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert said in error
