import copy
import json
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import load_file, save_file

from rlft.advantage import GAE, IQL, MonteCarlo, MonteCarloRerollout
from rlft.callbacks import DeterministicEval, RunReport, SuccessCheckpoint
from rlft.cli import main
from rlft.data import OfflineDataModule
from rlft.data.dataset_file import read_dataset, write_dataset
from rlft.data.held_out import episode_numbers, held_out_steps
from rlft.envs import ManiSkill, PointReach
from rlft.errors import UserError
from rlft.files.rows import entries_of
from rlft.files.tensors import read_tensors, write_tensors
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts
from rlft.types import Steps
from rlft.update import AWR, PPO
from tests.support.cloning import cloner, demonstrator
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.training import MemoryLogger, fit, module, run, scalars, smoke

STEPS = 80  # env steps of the whole dataset
MONITOR = "losses/validation_policy_loss"


def offline(env=None, **options):
    """8 environments x 10 steps in 2 minibatches and 3 epochs."""
    sizes = {"num_envs": 8, "num_steps": 10, "num_minibatches": 2, "update_epochs": 3, "num_workers": 0}
    return OfflineDataModule(env or PointReach(), **{**sizes, **options})


class Batches(lightning.Callback):
    """Keeps every minibatch of every iteration."""

    def __init__(self):
        self.served = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.served.setdefault(trainer.current_epoch, []).append(batch)


@pytest.fixture
def collected(monkeypatch):
    """One entry per rollout that is collected, in this process."""
    calls = []
    collect = LocalRollouts.collect

    def spy(self, *arguments, **options):
        calls.append(arguments)
        return collect(self, *arguments, **options)

    monkeypatch.setattr(LocalRollouts, "collect", spy)
    return calls


def sorted_rows(*batches):
    """Everything that is known of the transitions of some minibatches, in an order of its own."""
    joined = entries_of(type(batches[0]).cat(batches))
    table = torch.cat([tensor.reshape(len(tensor), -1) for tensor in joined.values()], 1)
    return table.unique(dim=0)


def train(tmp_path, iterations=1, model=None, callbacks=(), **options):
    """Trains with a run directory and returns the module and the directory's dataset."""
    torch.manual_seed(0)
    model = model or module()
    trainer = fit(model, offline(**options), iterations, callbacks, TensorBoardLogger(tmp_path, "name"), tmp_path)
    return model, Path(trainer.log_dir) / "dataset.safetensors"


# ---- fixed data --------------------------------------------------------------------------------------------------


def test_every_iteration_trains_on_the_same_rollout_once_per_epoch(collected):
    batches = Batches()
    fit(module(critic_learning_rate=0.0), offline(), 3, [batches])
    assert len(collected) == 1
    assert list(batches.served) == [0, 1, 2]
    first = sorted_rows(*batches.served[0][:2])
    assert len(first) == STEPS
    for served in batches.served.values():
        assert [len(b) for b in served] == [40] * 6
        for epoch in (0, 2, 4):
            assert torch.equal(sorted_rows(*served[epoch : epoch + 2]), first)
    assert not torch.equal(batches.served[0][0].obs.state, batches.served[1][0].obs.state)  # in another order


def test_rerollouts_are_played_once():
    class Counted(MonteCarloRerollout):
        calls = 0

        def estimate(self, *arguments):
            Counted.calls += 1
            return super().estimate(*arguments)

    model = module(advantage=Counted(num_samples=2, critic=True))
    before = weights_of(model)
    fit(model, offline(), 3)
    assert Counted.calls == 1
    assert not same(before, weights_of(model), "critic")


@pytest.mark.parametrize("estimator", [GAE, MonteCarlo, IQL])
def test_advantages_of_a_critic_that_learns_follow_it(estimator, collected):
    class Remembered(estimator):
        critics, estimates = [], []

        def estimate(self, rollout, critic, rerollouts):
            Remembered.critics.append(copy.deepcopy(critic))
            Remembered.estimates.append((rollout, super().estimate(rollout, critic, rerollouts)))
            return Remembered.estimates[-1][1]

    batches = Batches()
    model = module(advantage=Remembered(), update=AWR(norm_adv=False, beta=1.0))
    fit(model, offline(), 3, [batches])
    assert len(collected) == 1
    assert len(Remembered.critics) == 3
    for iteration, (rollout, found) in enumerate(Remembered.estimates):
        value = Remembered.critics[iteration](rollout.obs)
        assert torch.equal(value, found.value)
        signal = torch.cat([b.signal for b in batches.served[iteration][:2]])  # one epoch
        assert torch.allclose(signal.sort().values, found.advantage.exp().flatten().sort().values)
    assert not torch.equal(Remembered.estimates[0][1].advantage, Remembered.estimates[2][1].advantage)


def test_steps_are_counted_once_and_metrics_logged_against_iterations():
    logger, model = MemoryLogger(), module()
    fit(model, offline(), 3, [DeterministicEval(num_episodes=4, every_n_iterations=2)], logger)
    assert model.source.steps == Steps(STEPS, STEPS)
    for name in ("steps/env", "steps/sim"):
        assert logger.series(name) == [(1, STEPS), (2, STEPS), (3, STEPS)]
    assert [x for x, _ in logger.series("losses/value_loss")] == [1, 2, 3]
    assert [x for x, _ in logger.series("eval/success_rate")] == [0, 2, 3]
    assert [x for x, _ in logger.series("train/reward")] == [1]  # said once


@pytest.mark.parametrize(
    "options",
    [
        {"validation_fraction": -0.1},
        {"validation_fraction": 1.0},
        {"total_timesteps": 5},
    ],
    ids=str,
)
def test_impossible_options_are_refused(options):
    (name,) = options
    with pytest.raises(UserError, match=f"data.{name} ") as refused:
        offline(**options)
    assert is_sentence(str(refused.value))


# ---- held-out episodes -------------------------------------------------------------------------------------------


def test_episodes_are_numbered_within_an_environment_and_then_across():
    done = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 0]]).bool()
    assert episode_numbers(done).tolist() == [[0, 2, 3], [0, 2, 4], [1, 2, 4], [1, 2, 5]]


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, []), (0.01, [9]), (0.2, [4, 9]), (0.3, [3, 6, 9]), (0.5, [1, 3, 5, 7, 9])]
)
def test_held_out_episodes_are_spread_evenly(fraction, expected):
    done = torch.ones(5, 2, dtype=torch.bool)  # ten episodes of one step
    held_out = held_out_steps(done, fraction)
    assert held_out.T.flatten().nonzero().flatten().tolist() == expected


@pytest.mark.parametrize("fraction", [0.25, 0.01, 0.5])
def test_held_out_transitions_are_whole_episodes_and_never_train(fraction, tmp_path):
    batches = Batches()
    env = PointReach(horizon=4)  # several episodes in every environment
    model, dataset = train(tmp_path, 2, callbacks=[batches], validation_fraction=fraction, env=env)
    rollout = read_dataset(dataset).rollout
    held_out = held_out_steps(rollout.done, fraction)
    numbers = episode_numbers(rollout.done)
    assert not set(numbers[held_out].tolist()) & set(numbers[~held_out].tolist())
    trained = torch.cat([served.obs.state for part in batches.served.values() for served in part])
    assert torch.equal(trained.unique(dim=0), rollout.obs.state[~held_out].unique(dim=0))
    assert torch.equal(model.source.held_out.obs.state, rollout.obs.state[held_out])
    assert len(torch.cat([trained.unique(dim=0), model.source.held_out.obs.state]).unique(dim=0)) == STEPS


def test_holding_out_every_episode_is_refused():
    with pytest.raises(UserError, match="no episode is left to train") as refused:
        fit(module(), offline(validation_fraction=0.99), 1)
    assert is_sentence(str(refused.value))


def test_nothing_is_held_out_unless_asked_for():
    logger, model = MemoryLogger(), module()
    fit(model, offline(), 1, logger=logger)
    assert model.source.held_out is None
    assert not logger.series(MONITOR)


def test_the_loss_of_held_out_transitions_is_that_of_the_iterations_last_weights():
    logger, model = MemoryLogger(), module(update=PPO(target_kl=None))
    fit(model, offline(validation_fraction=0.25), 3, logger=logger)
    expected = model.update.actor_loss(model.actor, model.source.held_out)[0].item()
    series = logger.series(MONITOR)
    assert [x for x, _ in series] == [1, 2, 3]
    assert series[-1][1] == expected
    assert len({value for _, value in series}) == 3


def test_early_stopping_on_the_held_out_loss_ends_with_an_evaluation(tmp_path):
    stop = EarlyStopping(MONITOR, patience=2)
    callbacks = [stop, DeterministicEval(num_episodes=4, every_n_iterations=50), RunReport(), SuccessCheckpoint()]
    train(tmp_path, 20, module(learning_rate=0.0), callbacks, validation_fraction=0.25)
    run_dir = tmp_path / "name/version_0"
    metrics = scalars(run_dir)
    assert [x for x, _ in metrics[MONITOR]] == [1, 2, 3]  # the first is the best, then two without progress
    assert [x for x, _ in metrics["eval/success_rate"]] == [0, 3]
    last = load_policy(str(run_dir / "policies/last.safetensors")).info
    assert last["iteration"] == 3
    assert last["metrics"]["eval/success_rate"] == pytest.approx(metrics["eval/success_rate"][-1][1])
    assert "| 3 | 80 | " in (run_dir / "report.md").read_text()


def test_early_stopping_from_the_command_line(tmp_path):
    stop = "--trainer.callbacks.init_args"
    run_dir = run(
        tmp_path,
        "--data=OfflineDataModule",
        "--data.validation_fraction=0.25",
        "--model.learning_rate=0.0",
        "--trainer.max_epochs=9",
        "--trainer.callbacks+=EarlyStopping",
        f"{stop}.monitor={MONITOR}",
        f"{stop}.patience=1",
    )
    assert [x for x, _ in scalars(run_dir)[MONITOR]] == [1, 2]


def test_early_stopping_without_held_out_data_is_refused_before_anything_is_simulated(collected):
    with pytest.raises(UserError, match="needs data") as refused:
        fit(module(), offline(), 1, [EarlyStopping(MONITOR)])
    assert is_sentence(str(refused.value))
    assert not collected


# ---- the file ----------------------------------------------------------------------------------------------------


def test_the_file_holds_the_rollout_its_advantages_and_where_they_come_from(tmp_path):
    batches = Batches()
    _, path = train(tmp_path, callbacks=[batches], model=module(advantage=GAE(gamma=0.7)), seed=3)
    data = read_dataset(path)
    served = sorted_rows(*batches.served[0][:2])
    flat = type(batches.served[0][0])(
        data.rollout.obs.map(lambda part: part.flatten(0, 1)),
        *(getattr(data.rollout, name).flatten(0, 1) for name in ("action", "log_prob")),
        *(getattr(data.labels, name).flatten() for name in ("advantage", "value", "value_target")),  # PPO's signal
    )
    assert torch.equal(sorted_rows(flat), served)
    metrics = data.info.pop("metrics")
    assert metrics.keys() == {"losses/explained_variance"}
    assert data.info == {
        **{
            "task": "PointReach",
            "policy": "scratch",
            "num_envs": 8,
            "num_steps": 10,
            "obs_dim": 6,
            "action_dim": 2,
            "seed": 3,
        },
        **{"env.class": "PointReach", "env.horizon": 20, "env.radius": 0.2, "env.speed": 0.1},
        **{"advantage.class": "GAE", "advantage.gamma": 0.7, "advantage.gae_lambda": 0.9},
        **{"advantage.finite_horizon_gae": False, "advantage.bootstrap_at_done": "truncation"},
        **{"advantage.reward_scale": 1.0, "env_steps": STEPS, "sim_steps": STEPS},
    }


def test_writing_and_reading_again_changes_no_bit(tmp_path):
    _, path = train(tmp_path)
    data = read_dataset(path)
    data.labels.advantage[0, 0] = torch.nan  # is legal where the mask is False
    data.labels.mask[0, 0] = False
    write_dataset(tmp_path / "new/again.safetensors", data)
    again = read_dataset(tmp_path / "new/again.safetensors")
    first, second = data.tensors(), again.tensors()
    assert first.pop("estimate.advantage").view(torch.int32).equal(second.pop("estimate.advantage").view(torch.int32))
    assert same(first, second)
    assert data.info == again.info
    assert data.labels.metrics == again.labels.metrics
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["again.safetensors"]


def test_a_file_in_which_nan_stands_for_an_unknown_density_is_read(tmp_path):
    _, path = train(tmp_path)
    tensors, header = read_tensors(path, "")
    del tensors["rollout.log_prob_known"]
    tensors["rollout.log_prob"][2, 3] = torch.nan
    write_tensors(path, tensors, header)
    rollout = read_dataset(path).rollout
    assert (~rollout.log_prob_known).nonzero().tolist() == [[2, 3]]
    assert rollout.log_prob[2, 3] == 0
    with pytest.raises(UserError, match="do not say how likely") as refused:
        train(tmp_path, dataset=str(path))
    assert is_sentence(str(refused.value))


def test_a_run_on_the_file_equals_the_run_that_wrote_it_and_collects_nothing(tmp_path, collected):
    first, path = train(tmp_path, 3)
    assert len(collected) == 1
    again, _ = train(tmp_path, 3, dataset=str(path))
    assert len(collected) == 1
    assert same(weights_of(first), weights_of(again))
    assert again.source.steps == Steps(STEPS, STEPS)


def change(path, **fields):
    """Rewrites entries of a dataset: `{name: function of the tensor}`."""
    tensors, header = read_tensors(path, "")
    for name, function in fields.items():
        key = next(key for key in tensors if key.endswith(f".{name}"))
        tensors[key] = function(tensors[key])
    write_tensors(path, tensors, header)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def foreign(path):
    save_file(load_file(path), path)


def headless(path):
    save_file(load_file(path), path, {"format": "rlft-dataset-1", "info": json.dumps({"task": "PointReach"})})


def without_reward(path):
    tensors, header = read_tensors(path, "")
    write_tensors(path, {name: tensor for name, tensor in tensors.items() if name != "rollout.reward"}, header)


BROKEN = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"\xff" * 1000),
    "truncated": truncate,
    "foreign": foreign,
    "headless": headless,
    "without reward": without_reward,
    "nan in obs": lambda path: change(path, obs=lambda x: x.index_fill(0, torch.tensor([3]), torch.nan)),
    "infinite advantage": lambda path: change(path, advantage=lambda x: x / 0),
    "nothing known": lambda path: change(path, mask=torch.zeros_like),
    "mask of numbers": lambda path: change(path, mask=lambda x: x.float()),
    "shorter": lambda path: change(path, reward=lambda x: x[:-1]),
    "narrower": lambda path: change(path, action=lambda x: x[..., :1]),
    "nan in log_prob": lambda path: change(path, log_prob=lambda x: x.index_fill(0, torch.tensor([3]), torch.nan)),
    "rounded": lambda path: change(path, obs=lambda x: x.int()),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_broken_files_are_refused_before_anything_is_simulated(damage, tmp_path, collected):
    _, path = train(tmp_path)
    collected.clear()
    target = tmp_path / "damaged.safetensors"
    target.write_bytes(path.read_bytes())
    BROKEN[damage](target)
    with pytest.raises(UserError, match="dataset") as refused:
        train(tmp_path, dataset=str(target))
    assert is_sentence(str(refused.value))
    assert str(target) in str(refused.value)
    assert not collected


@pytest.mark.parametrize(
    ("name", "options", "advantage"),
    [
        ("num_envs", {"num_envs": 4}, GAE()),
        ("num_steps", {"num_steps": 20}, GAE()),
        ("env.radius", {"env": PointReach(radius=0.3)}, GAE()),
        ("advantage.class", {}, MonteCarloRerollout(num_samples=2)),
        ("advantage.num_samples", {}, MonteCarloRerollout(num_samples=3)),
    ],
)
def test_data_of_something_else_are_refused(name, options, advantage, tmp_path):
    measured = name == "advantage.num_samples"
    _, path = train(tmp_path, model=module(advantage=MonteCarloRerollout(num_samples=2)) if measured else None)
    with pytest.raises(UserError, match=f"made with {name} ") as refused:
        train(tmp_path, dataset=str(path), model=module(advantage=advantage), **options)
    assert is_sentence(str(refused.value))


def test_labels_that_another_critic_finished_are_refused(tmp_path):
    tails = MonteCarloRerollout(num_samples=2, tail_steps=1, horizon="fresh")
    _, path = train(tmp_path, model=module(advantage=tails))
    train(tmp_path, dataset=str(path), model=module(advantage=tails))
    other = module(advantage=tails)
    other.critic_policy = "somewhere.safetensors"
    with pytest.raises(UserError, match=r"made with advantage\.critic_policy new, but .* somewhere") as refused:
        train(tmp_path, dataset=str(path), model=other)
    assert is_sentence(str(refused.value))


def test_what_is_estimated_anew_may_differ_from_the_files(tmp_path):
    _, path = train(tmp_path)
    train(tmp_path, dataset=str(path), model=module(advantage=MonteCarlo(gamma=0.9)))


def test_the_weight_of_the_value_loss_may_differ_from_the_files(tmp_path):
    _, path = train(tmp_path, model=module(advantage=MonteCarloRerollout(num_samples=2, critic=True)))
    train(tmp_path, dataset=str(path), model=module(advantage=MonteCarloRerollout(num_samples=2, vf_coef=0.1)))


# ---- data without labels -----------------------------------------------------------------------------------------


def clone(tmp_path, **options):
    """Clones a demonstrator and returns the module and the directory's dataset."""
    torch.manual_seed(0)
    model, logger = cloner(demonstrator(tmp_path)), TensorBoardLogger(tmp_path, "name")
    trainer = fit(model, offline(**options), 2, logger=logger, root=tmp_path)
    return model, Path(trainer.log_dir) / "dataset.safetensors"


def as_written_before(path):
    """What earlier versions wrote of demonstrations: advantages of 0, of an estimator that there was not."""
    tensors, header = read_tensors(path, "")
    zeros = torch.zeros_like(tensors["rollout.reward"])
    names = ("advantage", "value", "value_target")
    tensors |= {f"estimate.{name}": zeros.clone() for name in names} | {"estimate.mask": zeros == 0}
    info = json.loads(header["info"]) | {"advantage.class": "NoAdvantage"}
    write_tensors(path, tensors, {**header, "info": json.dumps(info)})


@pytest.mark.parametrize("before", [False, True])
def test_demonstrations_have_no_labels_whoever_wrote_them(before, tmp_path):
    first, path = clone(tmp_path)
    if before:
        as_written_before(path)
    assert read_dataset(path).labels is None
    again, _ = clone(tmp_path, dataset=str(path))
    assert same(weights_of(first), weights_of(again))
    policy = demonstrator(tmp_path)
    fit(module(policy=policy), offline(dataset=str(path)), 1)  # estimates anew
    with pytest.raises(UserError, match=r"made with advantage\.class none, but .* MonteCarloRerollout") as refused:
        fit(module(policy=policy, advantage=MonteCarloRerollout(num_samples=2)), offline(dataset=str(path)), 1)
    assert is_sentence(str(refused.value))


def test_labels_that_nobody_reads_are_refused(tmp_path):
    model = module(policy=demonstrator(tmp_path))
    _, path = train(tmp_path, model=model)
    with pytest.raises(UserError, match=r"made with advantage\.class GAE, but this config has none") as refused:
        clone(tmp_path, dataset=str(path))
    assert is_sentence(str(refused.value))


# ---- what data depend on -----------------------------------------------------------------------------------------


def test_settings_of_labels_are_those_that_older_files_have():
    """Written down from a file of before: a name that comes or goes would refuse it, or take it for what it is not."""
    assert MonteCarloRerollout(num_samples=2, critic=True, vf_coef=0.1).label_settings() == {
        **{"class": "MonteCarloRerollout", "gamma": 0.8, "policy": None, "num_samples": 2, "estimator": "identity"},
        **{"horizon": "remaining", "tolerance": 1e-3, "tail_steps": None, "common_noise": False, "antithetic": False},
        **{"every_k": 1, "pilot_samples": None, "center": "none", "center_actions": 4},
    }
    assert MonteCarlo(tail="drop", clip_vloss=True).label_settings() == {
        **{"class": "MonteCarlo", "gamma": 0.8, "tail": "drop", "bootstrap_at_done": "truncation", "reward_scale": 1.0}
    }


def test_where_a_task_is_simulated_is_no_setting_of_the_data():
    assert ManiSkill(device="cpu").data_settings() == {
        **{"class": "ManiSkill", "task": "PickCube-v1", "control_mode": "pd_joint_delta_pos"},
        **{"reward_mode": "sparse", "robot": None, "max_episode_steps": None, "task_options": "{}"},
    }


# ---- from the command line ---------------------------------------------------------------------------------------


def test_a_resumed_run_neither_collects_nor_differs(tmp_path, collected):
    options = ("--data=OfflineDataModule", "--data.validation_fraction=0.25")
    whole = run(tmp_path / "whole", *options, "--trainer.max_epochs=4")
    first = run(tmp_path / "parts", *options, "--trainer.max_epochs=2")
    assert "-OfflineDataModule-" in first.parent.name
    collected.clear()
    (first / "dataset.safetensors").unlink()
    rest = run(tmp_path / "parts", *options, "--trainer.max_epochs=4", "--ckpt_path=last")
    assert not collected
    assert same(load_file(whole / "policies/last.safetensors"), load_file(rest / "policies/last.safetensors"))
    before, after = scalars(whole), scalars(rest)
    assert after["steps/env"] == [(3, 320), (4, 320)]
    for name in ("losses/policy_loss", "losses/value_loss", "eval/return", MONITOR):
        assert after[name] == [point for point in before[name] if point[0] > 2]


def test_resuming_with_other_settings_than_the_data_has_is_refused(tmp_path, capsys):
    measured = ("--data=OfflineDataModule", "--model.advantage=MonteCarloRerollout", "--model.advantage.num_samples=2")
    first = run(tmp_path, *measured)
    options = (*measured, "--model.advantage.gamma=0.9", "--trainer.max_epochs=4")
    assert main(smoke(tmp_path, *options, f"--ckpt_path={first / 'checkpoints/last.ckpt'}")) == 1
    assert "made with advantage.gamma 0.8" in capsys.readouterr().err


def test_validating_an_offline_checkpoint(tmp_path):
    first = run(tmp_path, "--data=OfflineDataModule")
    _, *arguments = smoke(tmp_path, "--data=OfflineDataModule", f"--ckpt_path={first / 'checkpoints/last.ckpt'}")
    assert main(["validate", *arguments]) == 0
