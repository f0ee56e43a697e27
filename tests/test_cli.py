"""What the command line says when something is wrong: an exit status and a sentence, never a traceback."""

import pytest

from rlft.cli import main
from rlft.data import RolloutDataModule
from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.policy_files import save_policy
from rlft.types import EnvFactory
from tests.support.hand_made import REPO, is_sentence
from tests.support.training import run, smoke
from tests.support.warm import Warm
from tests.support.warm_study import study


def outcome(arguments, capsys):
    """Exit status, and what was written to stderr."""
    try:
        status = main(arguments)
    except SystemExit as error:  # jsonargparse and argparse leave this way
        status = error.code
    return status, capsys.readouterr().err


@pytest.fixture
def files(tmp_path):
    """Things to name on a command line."""
    save_policy(tmp_path / "other.safetensors", GaussianActor(42, 8, 8, 1), ValueCritic(42, 8, 1), {})
    save_policy(tmp_path / "fits.safetensors", GaussianActor(6, 2, 8, 1), None, {})
    (tmp_path / "corrupt.safetensors").write_bytes(b"nonsense")
    (tmp_path / "broken.yaml").write_text("model: [1, 2\ndata: {")
    (tmp_path / "twice.yaml").write_text("data:\n  num_envs: 8\neval:\n  num_episodes: 4\ndata:\n  num_steps: 10\n")
    (tmp_path / "comments.yaml").write_text("# seed_everything: 2\n")
    (tmp_path / "list.yaml").write_text("- smoke\n")
    (tmp_path / "file").touch()
    return tmp_path


MISTAKES = {  # options that are wrong, and what the answer must mention
    # values
    "--data.num_minibatches=7": "num_minibatches is 7, which does not divide",
    "--data.num_envs=0": "num_envs is 0",
    "--data.num_envs=0 --data.total_timesteps=1000": "num_envs is 0",
    "--data.num_workers=-1": "num_workers is -1",
    "--data.total_timesteps=319": "total_timesteps is 319, less than one iteration of 320 env steps",
    "--eval.num_episodes=0": "num_episodes is 0",
    "--eval.every_n_iterations=0": "every_n_iterations is 0",
    "--seed_everything=-1": "seed_everything",
    "--eval.seed=-1": "eval.seed is -1",
    "--model.learning_rate=-1": "learning_rate is -1",
    "--model.critic_learning_rate=-1": "critic_learning_rate is -1",
    "--model.max_grad_norm=0": "max_grad_norm is 0",
    "--model.critic.num_layers=0": "num_layers of a network is 0",
    "--model.advantage=MonteCarloRerollout --model.warmup_iterations=1": "warmup_iterations is of no use",
    "--model.advantage.gamma=1.5": "gamma is 1.5",
    "--model.advantage.gae_lambda=-1": "gae_lambda is -1",
    "--model.advantage=MonteCarloRerollout --model.advantage.num_samples=0": "num_samples is 0",
    "--model.advantage=MonteCarloRerollout --model.advantage.policy=pickcube/expert": "maps 42 observations",
    "--trainer.callbacks+=FreezeSchedule --trainer.callbacks.schedule=[{{'module':'nonsense'}}]": "no submodule",
    # files
    "--log_dir={files}/file/below": "choose another --log_dir",
    "--model.policy={files}/nowhere.safetensors": "No policy '{files}/nowhere.safetensors'",
    "--model.policy={files}/corrupt.safetensors": "cannot be read as safetensors",
    "--model.policy={files}/other.safetensors": "maps 42 observations to 8 actions, but",
    "--model.critic_policy={files}/nowhere.safetensors": "No policy",
    "--model.critic_policy={files}/fits.safetensors": "holds no critic",
    "--model.critic_policy={files}/other.safetensors": "42 observations",
    "--ckpt_path={files}/nowhere.ckpt": "nowhere.ckpt",
    "--config={files}/nowhere.yaml": "nowhere.yaml",
    "--config={files}/broken.yaml": "while parsing",
    "--config={files}/twice.yaml": "twice.yaml is no YAML: data is there twice",  # YAML takes the last without a word
    "--config={files}/comments.yaml": "comments.yaml is empty; it must map names to values",
    "--config={files}/list.yaml": "list.yaml is no mapping; it must map names to values",
    # keys and classes
    "--model.nonsense=1": "nonsense",
    "--nonsense=1": "nonsense",
    "--model.update=Nonsense": "Nonsense",
    "--model.update=GAE": "GAE",
    "--model.advantage=PPO": "PPO",
    "--data.env=GaussianActor": "GaussianActor",
    "--trainer.logger=wandb": "use here; choose one of CSVLogger, ",
    "--run_name=a/b": "run_name is a/b; it must be the name of one folder, such as my_run; --log_dir says where",
    "--run_name=..": "run_name is ..; it must be the name of one folder",
    "--run_name=version_3": "run_name is version_3; it must be",  # the log directory would pass for a run
    "--trainer.devices=0": "trainer.devices is 0; it must be how many learners",
    "--data.num_envs=many": "many",
    "--model.advantage.init_args.bootstrap_at_done=sometimes": "sometimes",
}


@pytest.mark.parametrize("options", MISTAKES)
def test_a_mistake_is_answered_with_one_line_and_a_status(options, files, capsys):
    arguments = smoke(files / "logs", *options.format(files=files).split(" "))
    status, err = outcome(arguments, capsys)
    assert status == 1
    assert err.startswith("rlft: ")
    assert len(err.splitlines()) == 1
    assert MISTAKES[options].format(files=files) in err


@pytest.mark.parametrize("option", ["--model.update.target_kl=null", "--model.update.target_kl null"])
def test_null_on_the_command_line_is_nothing(option, tmp_path):
    run_dir = run(tmp_path, "--trainer.max_epochs=1", *option.split(" "))
    assert "-no_target_kl-" in run_dir.parent.name
    assert "target_kl: null" in (run_dir / "config.yaml").read_text()


@pytest.mark.parametrize("command", ["nonsense", "--nonsense", ""])
def test_unknown_command(command, capsys):
    status, err = outcome([command], capsys)
    assert status == 1
    assert is_sentence(err)
    assert repr(command) in err


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], []], ids=str)
def test_help(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("fit", "validate", "evaluate", "collect", "rank"))


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (["--model.help", "FinetuneModule"], "max_grad_norm"),
        (["--model.update.help", "PPO"], "kl_stop_scope"),
        (["--model.advantage.help=GAE"], "gae_lambda"),
        (["--data.env.help", "ManiSkill"], "control_mode"),
        (["--model.objective.help", "Anchored"], "final_anchor"),
        ([f"--config={REPO / 'configs/mc_awr_offline.yaml'}", "--data.env.help", "ManiSkill"], "control_mode"),
    ],
    ids=str,
)
def test_help_of_plugins(options, setting, capsys):
    with pytest.raises(SystemExit):
        main(["fit", *options])
    assert setting in capsys.readouterr().out


def test_help_of_fit_explains_the_options(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["fit", "--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert "--eval.num_episodes" in shown
    assert "--log_dir" in shown


def test_output_that_nobody_reads_to_the_end_is_no_error():
    process = Warm(study, "configs/studies/critics.yaml", "--dry_run=true", cwd=REPO)
    assert process.stdout.readline().startswith("# ")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (0, 1)  # the rest may have been in the pipe before it was closed


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--seed=7", "no option --seed; did you mean --seed_everything?"),  # not --seed_everything
        ("--trainer.max_epoch=3", "no option --trainer.max_epoch; did you mean --trainer.max_epochs? `--help`"),
        ('--config={"log_dirr": "x"}', "no option 'log_dirr'; did you mean log_dir? `rlft fit --help`"),
        ("--data.seed=4", "data.seed follows seed_everything; it cannot be set to 4"),
        ("--model.init_args.reward_mode=dense", "model.reward_mode follows the data"),
        ('--config={"data": {"init_args": {"seed": 4}}}', "data.seed follows seed_everything; it cannot be set to 4"),
        ('--config={"model": {"init_args": {"data_policy": "x"}}}', "model.data_policy follows the data"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(tmp_path, capsys, option, said):
    """Arms of a study that differ in nothing but such an option would be equal runs with different names."""
    assert main(smoke(tmp_path, option)) == 1
    error = capsys.readouterr().err
    assert said in error
    assert is_sentence(error)
    assert not list(tmp_path.iterdir())


class NoSeed(RolloutDataModule):
    """Has none of the options that a run is named after."""

    def __init__(self, env: EnvFactory) -> None:
        super().__init__(env, 10, 10, num_minibatches=1, update_epochs=1, num_workers=0)


class OwnSeed(RolloutDataModule):
    """Has a seed of its own by default."""

    def __init__(self, env: EnvFactory, seed: int = 42) -> None:
        super().__init__(env, 10, 10, num_minibatches=1, update_epochs=1, num_workers=0, seed=seed)
        SEEDS.append(seed)


SEEDS: list[int] = []


def test_data_modules_of_others(tmp_path, capsys):
    """Their seed follows as well, whatever it is by default, and they need not have our options."""
    foreign = ["fit", f"--log_dir={tmp_path}", "--model=FinetuneModule", "--model.advantage=GAE", "--model.update=PPO"]
    foreign += ["--trainer.max_epochs=1", "--eval.num_episodes=4"]
    for name in ("NoSeed", "OwnSeed"):
        data = f'--config={{"data": {{"class_path": "tests.test_cli.{name}", "init_args": {{"env": "PointReach"}}}}}}'
        assert main([*foreign, data, "--seed_everything=7"]) == 0
    assert SEEDS == [7]
    assert main([*foreign, data, "--data.seed=3"]) == 1
    assert "data.seed follows seed_everything; it cannot be set to 3." in capsys.readouterr().err
    named = sorted(path.name for path in tmp_path.glob("*/"))
    assert [name[: -len("-01234567-seed7")] for name in named] == [
        "FinetuneModule-GAE-PPO-NoSeed-PointReach",
        "FinetuneModule-GAE-PPO-OwnSeed-PointReach",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "There is no data and model; name a config that says what to use, such as"),
        (
            ["smoke", "gae_ppo"],
            "model has options before anything says what it is; begin with a config, such as gae_ppo",
        ),
        (["--seed_everything=7", "--config=smoke"], "--seed_everything stands before --config="),
        (["gae_ppo", "--data.num_envs", "4", "--config", "smoke"], "--data.num_envs stands before --config="),
        (["--seed_everything=7", "smoke"], "The config smoke stands after options; names of configs come first."),
        (["--data.num_envs", "4"], "data has options before anything says what it is;"),
        (["--config", str(REPO / "configs/gae_ppo.yaml"), "--data", "null"], "There is no data; name a config"),
    ],
)
def test_what_is_missing_is_said(options, said, capsys):
    assert main(["fit", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"rlft: {said}")
    assert is_sentence(error)
