"""The founding documents' examples of each pitfall, and runs that are and are not in one."""

from dataclasses import dataclass, replace

import lightning
import pytest
import torch

from rlft.callbacks import Pitfalls
from rlft.callbacks.known_pitfalls import PITFALLS, Facts, found
from rlft.cli import main
from rlft.envs import PointReach
from rlft.envs.point_reach import PointReachBatch
from rlft.errors import UserError
from tests.support.hand_made import is_sentence
from tests.support.schedules import Scripted
from tests.support.training import data, fit, made_by, module, run, smoke, with_overlay

PPO = {"update": "PPO", "update_epochs": 20}
OFFLINE_AWR = {"offline": True, "update": "AWR"}
RETURNS = {"reward_mode": "sparse", "gamma": 0.99}
OWN_REROLLOUTS = {"estimator": "MonteCarloRerollout", "start_policy": "a", "rollout_policy": "a"}
OTHERS_VALUES = {"start_policy": "a", "rollout_policy": "b"}  # re-rollouts measure the values of b
OTHERS_REROLLOUTS = {"estimator": "MonteCarloRerollout", **OTHERS_VALUES}
REPLAY = {"off_policy": True, "reward_mode": "sparse", "start_policy": "a", "warmup_iterations": 1}
HALF = {"off_policy": True, "episode_steps": 50, "highest_return": 1.0}
EXAMPLES = [  # number, a run that is in the pitfall, one that is not
    (1, {"start_success": 0.95}, {"start_success": 0.438, "start_success_sampled": 0.508}),
    (2, {"monitors": ("eval_stochastic/success_rate",)}, {"monitors": ("eval/success_rate",)}),
    (2, {"monitors": ("train/success_rate",)}, {"monitors": ("losses/validation_value_loss",)}),
    (3, {**PPO, "target_kl": 0.1}, {**PPO, "target_kl": 100.0}),
    (3, {**PPO, "target_kl": 0.1}, {**PPO, "target_kl": 0.1, "update_epochs": 4}),  # from scratch
    (3, {"start_policy": "a", "update": "AWR", "target_kl": 0.5}, {"start_policy": "a", "update": "AWR"}),
    (3, {**PPO, "target_kl": 0.1}, {**PPO, "target_kl": 0.1, "learning_rate_warmup": 100}),
    (3, {**PPO, "target_kl": 0.1}, {**PPO, "target_kl": 0.1, "actor_rate": 3e-5}),
    (4, {**PPO, "warmup_iterations": 3, "target_kl": 0.1}, {**PPO, "warmup_iterations": 3, "target_kl": 100.0}),
    (4, {**PPO, "warmup_iterations": 3, "target_kl": 0.1}, {**PPO, "warmup_iterations": 10, "target_kl": 0.1}),
    (5, {"run_name": "mc5_awr", "num_samples": 16}, {"run_name": "mc16_awr", "num_samples": 16}),
    (5, {"run_name": "weak-awr-k5-fast", "num_samples": 16}, {"run_name": "weak-k5fast", "num_samples": 16}),
    (6, {"critic_of": "b", "start_policy": "a"}, {"critic_of": "a", "start_policy": "a"}),
    (6, {"critic_of": "a", **OTHERS_VALUES}, {"critic_of": "b", **OTHERS_VALUES}),
    (7, {**OFFLINE_AWR, "rollout_policy": "b", "data_policy": "a"}, {**OFFLINE_AWR, "rollout_policy": "a"}),
    (8, {"q_minus_v": True, "reward_mode": "sparse"}, {"q_minus_v": False, "reward_mode": "sparse"}),
    (9, {"regressed": True}, {"estimator": "GAE"}),
    (10, {**RETURNS, **OTHERS_REROLLOUTS}, {"estimator": "GAE", "update": "PPO", **RETURNS}),
    (10, {**PPO, **RETURNS, **OWN_REROLLOUTS, "gamma": 0.8}, {**PPO, **RETURNS, **OWN_REROLLOUTS, "gamma": 0.95}),
    (10, {**RETURNS, **OTHERS_REROLLOUTS}, {"estimator": "MonteCarloRerollout", **RETURNS}),  # a new policy's own
    (10, {**RETURNS, **OTHERS_REROLLOUTS}, {**RETURNS, **OWN_REROLLOUTS, "gamma": 0.8, "update": "AWR"}),
    (11, {"update": "PPO", "reward_scale": 20}, {"update": "PPO", "critic_layers": 3, "critic_width": 256}),
    (11, {"update": "PPO", "critic_width": 512}, {"update": "PPO", "critic_width": 512, "offline": True}),
    (12, {**OFFLINE_AWR, "batch_size": 5_000, "update_epochs": 4}, {**OFFLINE_AWR, "batch_size": 25_600}),
    (12, {**OFFLINE_AWR, "batch_size": 25_600, "update_epochs": 5}, {"update": "AWR", "batch_size": 5_000}),
    (13, {**REPLAY, "temperature": 1.0}, {**REPLAY, "temperature": 0.1}),
    (13, {**REPLAY, "temperature": 1.0}, {**REPLAY, "temperature": 1.0, "start_policy": None}),
    (13, {**REPLAY, "temperature": 1.0}, {**REPLAY, "temperature": 1.0, "reward_mode": "normalized_dense"}),
    (13, {**REPLAY, "temperature": 1.0}, {**REPLAY, "temperature": 1.0, "reward_scale": 40.0}),
    (14, {**HALF, "gamma": 0.88}, {**HALF, "gamma": 0.89}),  # 0.041 and 0.054 are left after 25 env steps
    (14, {**HALF, "gamma": 0.8}, {**HALF, "gamma": 0.8, "episode_steps": 20}),
    (14, {**HALF, "gamma": 0.8}, {**HALF, "gamma": 0.8, "highest_return": float("inf")}),
    (14, {**HALF, "gamma": 0.8}, {**HALF, "gamma": 0.8, "off_policy": False}),  # as PPO's
    (15, {**REPLAY, "warmup_iterations": 0}, REPLAY),
    (15, {**REPLAY, "warmup_iterations": 0}, {**REPLAY, "warmup_iterations": 0, "offline_iterations": 1}),
    (15, {**REPLAY, "warmup_iterations": 0}, {**REPLAY, "warmup_iterations": 0, "start_policy": None}),
    (15, {**REPLAY, "warmup_iterations": 0}, {**REPLAY, "warmup_iterations": 0, "hindsight": True}),
    (16, {**REPLAY, "passes_success": True}, REPLAY),
    (16, {**HALF, "passes_success": True}, {**HALF, "passes_success": True, "highest_return": float("inf")}),
    (17, {"iterations": 3, "warmup_iterations": 3}, {"iterations": 4, "warmup_iterations": 3}),
    (17, {"iterations": 2, "warmup_iterations": 3}, {"iterations": -1, "warmup_iterations": 3}),
    (18, {"start_success": 0.85, "start_success_sampled": 0.6}, {"start_success": 0.85, "start_success_sampled": 0.7}),
    (18, {"start_success": 0.35, "start_success_sampled": 0.0}, {"start_success": 0.35}),
]


@pytest.mark.parametrize(("number", "in_it", "beside_it"), EXAMPLES)
def test_a_run_in_the_pitfall_is_told_and_one_beside_it_is_not(number, in_it, beside_it):
    assert number in [pitfall.number for pitfall in found(Facts(**in_it))]
    assert number not in [pitfall.number for pitfall in found(Facts(**beside_it))]


def test_there_are_eighteen_with_an_example_each():
    assert [pitfall.number for pitfall in PITFALLS] == list(range(1, 19))
    assert {number for number, *_ in EXAMPLES} == set(range(1, 19))
    assert len({pitfall.id for pitfall in PITFALLS}) == 18
    for number, in_it, _ in EXAMPLES:
        assert is_sentence(PITFALLS[[one.number for one in PITFALLS].index(number)].sentence(Facts(**in_it)))


def test_a_start_is_told_with_its_numbers():
    (noisy,) = found(facts := Facts(start_success=0.352, start_success_sampled=0.001))
    assert "in 35.2% with its mean action, but in 0.1% with sampled ones" in noisy.sentence(facts)
    (strong,) = found(facts := Facts(start_success=0.953))
    assert "in 95.3% with its mean action, which" in strong.sentence(facts)


def test_nothing_known_is_no_pitfall():
    assert not found(Facts())


def test_a_run_says_so_at_its_start_and_in_its_report(tmp_path, capsys):
    folder = run(tmp_path, "--model.update.target_kl=0.1", "--data.update_epochs=10")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Pitfall")]
    assert [line.split(":")[0] for line in said] == ["Pitfall tight-target-kl"]
    assert said[0] in (folder / "report.md").read_text()


def test_silenced(tmp_path, capsys):
    options = ["--model.update.target_kl=0.1", "--data.update_epochs=10", "--pitfalls.silence=[tight-target-kl]"]
    folder = run(tmp_path, *options)
    assert "Pitfall" not in "".join(capsys.readouterr()) + (folder / "report.md").read_text()


def test_a_sound_run_is_told_nothing(tmp_path, capsys):
    run(tmp_path)
    assert "Pitfall" not in "".join(capsys.readouterr())


def test_refused_before_anything_is_simulated(tmp_path, capsys):
    options = ["--model.update.target_kl=0.1", "--data.update_epochs=10", "--pitfalls.action=refuse"]
    assert main(smoke(tmp_path, *options)) == 1
    error = capsys.readouterr().err
    assert "tight-target-kl" in error
    assert "--pitfalls.silence '[tight-target-kl]'" in error
    assert not list(tmp_path.glob("*/*"))


def test_a_stop_on_sampled_success(tmp_path, capsys):
    stop = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.mode=max")
    run(tmp_path, *stop, "--trainer.callbacks.monitor=train/success_rate")
    assert "Pitfall sampled-evaluation" in capsys.readouterr().out


class Sampled(lightning.Callback):
    """Says how often the sampled actions of an iteration have succeeded."""

    def __init__(self, rate: float):
        self.rate = rate

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.add_metrics({"train/success_rate": self.rate})


class Notes(lightning.Callback):
    """How many notes there are when an iteration collects, and when it is over."""

    def __init__(self):
        self.counts = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.counts.append(len(pl_module.notes))

    def on_train_epoch_end(self, trainer, pl_module):
        self.counts.append(len(pl_module.notes))


@pytest.mark.parametrize(
    ("start", "sampled", "told"), [(0.95, 0.9, [1, 1]), (0.85, 0.6, [0, 1]), (0.85, 0.7, [0, 0]), (0.5, 0.6, [0, 0])]
)
def test_a_strong_start_is_told_once_when_it_is_measured(start, sampled, told, capsys):
    notes = Notes()
    fit(module(), data(), 1, [Scripted([start, None]), Sampled(sampled), Pitfalls(), notes])
    assert notes.counts == told
    assert len(capsys.readouterr().err.splitlines()) == told[1]


@pytest.mark.parametrize(("evaluated", "collected", "told"), [(0.8, 0.6, 0), (0.6, 0.8, 1)])
def test_an_evaluation_of_sampled_actions_counts_for_more_than_the_first_rollout(evaluated, collected, told, capsys):
    scripts = [Scripted([0.85, None]), Scripted([evaluated, None], "eval_stochastic/success_rate")]
    fit(module(), data(), 1, [*scripts, Sampled(collected), Pitfalls()])
    assert capsys.readouterr().err.count("Pitfall noisy-start") == told


def test_noise_that_is_not_the_policys_own_is_no_sign_of_its_own(tmp_path, capsys):
    """A replay buffer is filled with noise that its config decides."""
    never = (f"--trainer.callbacks+={__name__}.Sampled", "--trainer.callbacks.rate=-1")
    run(tmp_path / "own", *never, "--trainer.max_epochs=1")
    assert "noisy-start" in capsys.readouterr().err
    assert "noisy-start" not in told_off_policy(tmp_path, capsys, *never)


def test_an_unknown_id_is_refused():
    with pytest.raises(UserError, match="tight-target-kl") as refused:
        Pitfalls(silence=["tight-kl"])
    assert is_sentence(str(refused.value))


def test_a_gentle_actor_is_in_no_danger_of_a_tight_kl(tmp_path, capsys):
    tight = ("--model.update.target_kl=0.1", "--data.update_epochs=10", "--trainer.max_epochs=1")
    run(tmp_path, *tight, "--model.learning_rate_factors={actor: 0.1}")
    assert "tight-target-kl" not in capsys.readouterr().out
    run(tmp_path, *tight, "--model.learning_rate_factors={actor.encoder: 0.1}")
    assert "tight-target-kl" in capsys.readouterr().out


OFF_POLICY = ("--trainer.max_epochs=1", "--model.critic.hidden_dim=8", "--eval.num_episodes=8")


def told_off_policy(tmp_path, capsys, *options, config="off_policy"):
    """Ids of the pitfalls that a run with a replay buffer is told, on either stream."""
    made_by(with_overlay(tmp_path, *OFF_POLICY, *options, config=config), tmp_path)
    lines = "\n".join(capsys.readouterr()).splitlines()
    return [line.removeprefix("Pitfall ").split(":")[0] for line in lines if line.startswith("Pitfall")]


def test_a_run_with_a_replay_buffer_is_told(tmp_path, capsys):
    assert told_off_policy(tmp_path, capsys) == ["endless-warm-up"]  # of its only iteration
    options = ("--model.warmup_iterations=0", "--model.gamma=0.5")
    assert told_off_policy(tmp_path, capsys, *options) == ["short-sighted-gamma"]
    assert set(told_off_policy(tmp_path, capsys, *options, "--data.her=0")) == {"short-sighted-gamma", "no-warm-up"}
    assert told_off_policy(tmp_path, capsys, "--model.objective.temperature=1", config="residual") == [
        "hot-temperature",
        "endless-warm-up",
    ]


@dataclass(frozen=True)
class Unending(PointReach):
    """A success ends nothing."""

    def make(self, num_envs):
        return UnendingBatch(self, num_envs)


class UnendingBatch(PointReachBatch):
    def step(self, action):
        return replace(super().step(action), terminated=torch.zeros(self.num_envs, dtype=torch.bool))


def test_episodes_that_go_on_after_a_success(tmp_path, capsys):
    env = f"--data.env={__name__}.Unending"
    assert told_off_policy(tmp_path, capsys, env) == ["endless-warm-up", "past-success"]
    assert told_off_policy(tmp_path, capsys, env, "--model.critic.head=mse") == ["endless-warm-up"]


def test_targets_that_bootstrap_past_a_success(tmp_path, capsys):
    always = ("--model.bootstrap_at_done=always", "--model.warmup=collect")
    assert told_off_policy(tmp_path, capsys, *always) == ["past-success", "endless-warm-up"]
