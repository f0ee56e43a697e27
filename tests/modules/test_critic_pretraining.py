"""Critics: pretrained, measured on held-out data, and refused where they are the value of something else."""

import json

import pytest
import torch

from rlft.cli import main
from rlft.networks.policy_files import load_policy
from tests.support.hand_made import is_sentence, same, weights_of
from tests.support.training import run, scalars, smoke

PRETRAIN = ["--model.update=CriticOnly", "--model.advantage=MonteCarlo", "--model.advantage.gamma=0.8"]
OFFLINE = ["--data=OfflineDataModule", "--data.validation_fraction=0.25"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The policy whose value is learned."""
    folder = tmp_path_factory.mktemp("start")
    return run(folder, "--trainer.max_epochs=1") / "policies/last.safetensors"


@pytest.fixture(scope="module")
def pretrained(start, tmp_path_factory):
    """A run that trained its critic only."""
    folder = tmp_path_factory.mktemp("pretrained")
    monitor = ["--checkpoint.monitor=losses/validation_value_loss", "--checkpoint.mode=min"]
    return run(folder, *PRETRAIN, *OFFLINE, *monitor, f"--model.policy={start}", "--trainer.max_epochs=3")


def critic_of(run_dir):
    return str(run_dir / "policies/best.safetensors")


def refusal(capsys, log_dir, *options):
    assert main(smoke(log_dir, *options)) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    return text


def test_only_the_critic_learns(start, pretrained):
    before, after = load_policy(str(start)), load_policy(critic_of(pretrained))
    assert same(weights_of(before.actor), weights_of(after.actor))
    assert not same(weights_of(before.critic), weights_of(after.critic))


def test_the_policy_is_evaluated_once_and_the_critic_in_every_iteration(pretrained):
    metrics = scalars(pretrained)
    assert [step for step, _ in metrics["eval/success_rate"]] == [0]
    for name in ("losses/validation_value_loss", "losses/validation_explained_variance", "charts/calibration_slope"):
        assert [step for step, _ in metrics[name]] == [1, 2, 3]
    assert "losses/validation_policy_loss" not in metrics


def test_the_best_critic_is_that_of_the_lowest_validation_loss(pretrained):
    losses = [value for _, value in scalars(pretrained)["losses/validation_value_loss"]]
    described = json.loads((pretrained / "policies/best.json").read_text())
    assert described["iteration"] == losses.index(min(losses)) + 1


def test_the_file_says_what_the_critic_is_a_value_of(start, pretrained):
    assert json.loads((pretrained / "policies/best.json").read_text())["critic"] == {
        "policy": str(start),
        "states": str(start),
        "gamma": 0.8,
        "reward_mode": None,  # PointReach has one reward
        "reward_scale": 1.0,
        "bootstrap_at_done": "truncation",
        "expectile": 0.5,
        "estimator": "MonteCarlo",
    }


def test_a_run_with_equal_settings_starts_with_the_pretrained_critic(start, pretrained, tmp_path):
    frozen = '[{"class_path": "FreezeSchedule", "init_args": {"schedule": [{"module": "critic"}]}}]'
    options = [f"--model.policy={start}", f"--model.critic_policy={critic_of(pretrained)}"]
    run_dir = run(tmp_path, *options, f"--trainer.callbacks={frozen}", "--trainer.max_epochs=1")
    again = load_policy(str(run_dir / "policies/last.safetensors"))
    assert same(weights_of(again.critic), weights_of(load_policy(critic_of(pretrained)).critic))


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--model.advantage.gamma=0.99", "gamma"),
        ("--model.advantage.reward_scale=2", "reward_scale"),
        ("--model.advantage.bootstrap_at_done=never", "bootstrap_at_done"),
        ("--model.advantage=IQL", "expectile"),
    ],
)
def test_a_critic_of_something_else_is_refused_unless_accepted(start, pretrained, option, setting, tmp_path, capsys):
    options = [f"--model.policy={start}", f"--model.critic_policy={critic_of(pretrained)}", option]
    text = refusal(capsys, tmp_path, *options)
    assert setting in text
    accept = f"--model.accept_critic_mismatch=[{setting}]"
    assert accept.replace("=", " ").replace("[", "'[").replace("]", "]'") in text
    assert not list(tmp_path.iterdir())
    report = (run(tmp_path, *options, accept, "--trainer.max_epochs=1") / "report.md").read_text()
    assert f"- `model.accept_critic_mismatch`: ['{setting}']" in report


def test_a_critic_of_another_policy_is_refused(pretrained, tmp_path, capsys):
    text = refusal(capsys, tmp_path, f"--model.critic_policy={critic_of(pretrained)}")  # from scratch
    assert "policy" in text


def test_a_critic_of_unknown_origin_is_refused(start, tmp_path, capsys):
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(start.read_bytes())
    assert "gamma unknown" in refusal(capsys, tmp_path, f"--model.critic_policy={bare}")


def test_a_policy_goes_on_with_the_critic_it_was_trained_with(start, tmp_path, capsys):
    options = [f"--model.policy={start}", f"--model.critic_policy={start}", "--trainer.max_epochs=1"]
    assert run(tmp_path, *options)
    assert "gamma" in refusal(capsys, tmp_path, *options, "--model.advantage.gamma=0.9")


def test_a_file_whose_critic_is_not_of_its_policy_is_refused(pretrained, tmp_path, capsys):
    """A critic of data that somebody else played, beside the actor that its run started with."""
    path = tmp_path / "foreign.safetensors"
    path.write_bytes((pretrained / "policies/best.safetensors").read_bytes())
    info = json.loads((pretrained / "policies/best.json").read_text())
    info["critic"]["policy"] = "somebody else"
    path.with_suffix(".json").write_text(json.dumps(info))
    assert "somebody else" in refusal(capsys, tmp_path, f"--model.policy={path}", f"--model.critic_policy={path}")


def test_stopping_on_what_is_never_measured_is_refused(tmp_path, capsys):
    stop = '[{"class_path": "EarlyStopping", "init_args": {"monitor": "losses/validation_value_loss"}}]'
    assert "validation_fraction" in refusal(capsys, tmp_path, *PRETRAIN, f"--trainer.callbacks={stop}")


def test_an_estimator_without_critic_has_nothing_to_train(tmp_path, capsys):
    text = refusal(capsys, tmp_path, "--model.update=CriticOnly", "--model.advantage=MonteCarloRerollout")
    assert "MonteCarloRerollout" in text


def test_the_value_of_one_policy_in_the_states_of_another(start, tmp_path):
    """Re-rollouts label the states of the start policy with the value of the policy that plays on."""
    other = run(tmp_path, "--trainer.max_epochs=1", "--seed_everything=2") / "policies/last.safetensors"
    labels = ["--model.advantage=MonteCarloRerollout", "--model.advantage.critic=true"]
    labels += [f"--model.advantage.policy={other}", "--model.advantage.num_samples=2"]
    run_dir = run(tmp_path, "--model.update=CriticOnly", *labels, *OFFLINE, f"--model.policy={start}")
    info = json.loads((run_dir / "policies/last.json").read_text())["critic"]
    assert (info["policy"], info["states"]) == (str(other), str(start))
    assert info["bootstrap_at_done"] == "never"  # a re-rollout ends with the episode's time limit


def test_calibration_by_hand():
    from rlft.statistics.fit import calibration_slope

    # targets are half the predictions plus a constant: the predictions are twice too extreme
    assert calibration_slope(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, 3.5, 4.0])) == pytest.approx(0.5)
