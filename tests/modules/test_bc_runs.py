"""`rlft fit --config configs/bc.yaml` as a user runs it: demonstrations, resuming, what becomes of the policy."""

import pytest
from safetensors.torch import load_file

from rlft.cli import main
from rlft.data.dataset_file import read_dataset
from rlft.networks.policy_files import load_policy
from tests.support.cloning import demonstrator
from tests.support.hand_made import gaussian_log_prob, is_sentence, same
from tests.support.training import run, scalars, smoke

BATCH = 320  # env steps of the smoke overlay: 16 x 20
VALIDATION = "losses/validation_policy_loss"
FUTURE = ("--model.offsets=[0, 1, -1]", "--model.encoder_dropout=0.2", "--model.head_dropout=0.1")


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    return demonstrator(tmp_path_factory.mktemp("expert"))


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def cloned(log_dir, expert):
    """Three iterations with everything that is left behind in training."""
    return clone(log_dir, expert, *FUTURE, "--trainer.max_epochs=3")


def clone(log_dir, expert, *options):
    return run(log_dir, f"--model.demonstrator={expert}", *options, config="bc")


def last_weights(run_dir):
    return load_file(run_dir / "policies/last.safetensors")


def test_the_data_are_the_demonstrators(cloned, expert):
    data = read_dataset(cloned / "dataset.safetensors")
    teacher, rollout = load_policy(expert).actor, data.rollout
    assert rollout.log_prob.allclose(gaussian_log_prob(rollout.action, teacher(rollout.obs), teacher.log_std))
    assert data.info["policy"] == expert
    assert data.labels is None
    assert not [name for name in data.info if name.startswith("advantage.")]


def test_what_is_logged(cloned):
    metrics = scalars(cloned)
    assert metrics["steps/env"] == [(1, BATCH), (2, BATCH), (3, BATCH)]
    names = [
        f"losses/{part}{name}" for part in ("", "validation_") for name in ("policy_loss", "offset_1", "offset_-1")
    ]
    for name in (*names, "losses/total_loss", "losses/validation_mse", "charts/learning_rate/heads"):
        assert [x for x, _ in metrics[name]] == [1, 2, 3], name
    assert [x for x, _ in metrics["eval/success_rate"]] == [0, 3]
    assert metrics["losses/policy_loss"][-1][1] < metrics["losses/policy_loss"][0][1]


def test_the_name_says_who_is_cloned_and_how(cloned):
    how = "demonstrator_demonstrator-offsets0_1_-1-encoder_dropout0.2-head_dropout0.1"
    assert cloned.parent.name.startswith(f"bc+smoke-{how}-")


def test_a_resumed_run_equals_one_that_never_stopped(cloned, expert, tmp_path):
    first = clone(tmp_path, expert, *FUTURE, "--trainer.max_epochs=1")
    rest = clone(tmp_path, expert, *FUTURE, "--trainer.max_epochs=3", "--ckpt_path=last")
    assert rest.parent == first.parent
    before, after = scalars(cloned), scalars(rest)
    for name in ("losses/policy_loss", "losses/offset_-1", VALIDATION, "steps/env"):
        assert after[name] == [point for point in before[name] if point[0] > 1]
    assert same(last_weights(cloned), last_weights(rest))


def test_early_stopping_keeps_the_policy_that_predicts_best(log_dir, expert):
    best = (f"--checkpoint.monitor={VALIDATION}", "--checkpoint.mode=min")
    stop = ("--trainer.callbacks.patience=1", "--trainer.max_epochs=30", "--model.learning_rate=0.05")
    run_dir = clone(log_dir, expert, *best, *stop)
    losses = [value for _, value in scalars(run_dir)[VALIDATION]]
    assert len(losses) < 30
    assert losses[-1] > min(losses[:-1])
    found = load_policy(str(run_dir / "policies/best.safetensors")).info
    assert found["iteration"] == losses.index(min(losses)) + 1


def test_the_policy_is_a_plain_one_to_finetune(cloned, log_dir):
    policy = cloned / "policies/best.safetensors"
    assert set(load_file(policy)) == {f"actor.{name}" for name in load_policy(str(policy)).actor.state_dict()}
    finetuned = run(log_dir, "--trainer.max_epochs=1", "--model.learning_rate=0", f"--model.policy={policy}")
    assert same(load_file(policy), {k: v for k, v in last_weights(finetuned).items() if k.startswith("actor.")})


@pytest.mark.parametrize("demonstrator", ["null", "pickcube/expert"])
def test_demonstrations_in_a_file_need_no_demonstrator(demonstrator, expert, tmp_path):
    file = tmp_path / "demos.h5"
    env = ("--env", "PointReach", "--num_envs", "8", "--num_workers", "0")
    assert main(["collect", str(file), "--policies", expert, "--episodes", "20", *env]) == 0
    run_dir = clone(tmp_path, demonstrator, *FUTURE, f"--data.dataset={file}")
    assert "-dataset_demos-" in run_dir.parent.name
    metrics = scalars(run_dir)
    (transitions,) = {value for _, value in metrics["steps/env"]}
    assert read_dataset(run_dir / "dataset.safetensors").rollout.reward.shape == (transitions, 1)
    assert [value for _, value in metrics["train/episodes"]] == [20]
    assert metrics["losses/policy_loss"][-1][1] < metrics["losses/policy_loss"][0][1]


def test_labels_that_say_nothing_are_not_taken_for_advantages(cloned, log_dir, expert, capsys):
    data = ("--data=OfflineDataModule", f"--data.dataset={cloned / 'dataset.safetensors'}", f"--model.policy={expert}")
    rerollouts = ("--model.advantage=MonteCarloRerollout", "--model.advantage.num_samples=1")
    assert main(smoke(log_dir, *data, *rerollouts)) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    assert "made with advantage.class none" in text


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("demonstrator=pickcube/expert", "maps 42 observations to 8 actions"),
        ("offsets=[1, 2]", "model.offsets is"),
        ("offset_weights=[1, 2]", "model.offset_weights is"),
        ("encoder_dropout=1", "model.encoder_dropout is"),
        ("loss=l1", "Expected one of ['gaussian', 'mse']"),
        ("update=PPO", "there is no option 'update'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(option, reason, tmp_path, capsys):
    assert main(smoke(tmp_path, "--zoo=null", "--model.demonstrator=null", f"--model.{option}", config="bc")) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert reason in text
    assert not list(tmp_path.iterdir())
