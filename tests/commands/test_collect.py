import json
from pathlib import Path

import h5py
import pytest
import torch

from rlft.advantage import MonteCarloRerollout
from rlft.cli import main
from rlft.commands.collect import collect, split
from rlft.data.dataset_file import read_dataset
from rlft.envs import PointReach
from rlft.envs.initial_states import TRAINING, InitialStates
from rlft.errors import UserError
from rlft.networks.policy_files import load_policy, save_policy
from rlft.rollout import LocalRollouts
from rlft.trajectories import read_header, read_trajectories
from tests.support.hand_made import is_sentence, same
from tests.support.rollouts import policy
from tests.support.training import run, scalars, smoke

ENV = PointReach(horizon=15, radius=0.3)
SPEC = LocalRollouts(ENV, 1).spec
SEED = 7


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Two policy files for PointReach, which it takes some time and some luck to succeed with."""
    folder = tmp_path_factory.mktemp("policies")
    names = [str(folder / f"{name}.safetensors") for name in ("first", "second")]
    for seed, name in enumerate(names):
        save_policy(Path(name), policy(seed), None, {})
    return tuple(names)


def collected(tmp_path, policies, episodes=25, **options):
    path = tmp_path / "demos.h5"
    settings = {"env": ENV, "num_envs": 6, "num_workers": 0, "seed": SEED, **options}
    return path, collect(str(path), policies, episodes=episodes, **settings)


# ---- how many, and which -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("episodes", "shares", "expected"),
    [
        (1000, (3, 1), [750, 250]),
        (10, (), [5, 5]),
        (10, (1, 1, 1), [4, 3, 3]),
        (7, (0.5, 0.25, 0.25), [3, 2, 2]),
        (11, (1, 2, 4), [2, 3, 6]),  # exactly 1.57, 3.14, 6.29
        (2, (0.9, 0.9), [1, 1]),
    ],
)
def test_episodes_are_split_by_share_and_add_up(episodes, shares, expected):
    assert split(episodes, ["p"] * len(expected), shares) == expected


@pytest.mark.parametrize(
    ("episodes", "count", "shares"),
    [(10, 2, (1,)), (10, 2, (1, 0)), (10, 0, ()), (1, 2, ()), (0, 1, ()), (9, 1, (1e999,))],
)
def test_shares_that_cannot_be_had_are_refused(episodes, count, shares):
    with pytest.raises(UserError) as refused:
        split(episodes, ["policy"] * count, shares)
    assert is_sentence(str(refused.value))


def test_the_file_holds_exactly_the_first_episodes_of_the_bank_whichever_end_first(tmp_path, policies):
    path, accounts = collected(tmp_path, policies, shares=(3, 2))
    assert [(one.policy, one.episodes) for one in accounts] == list(zip(policies, (15, 10), strict=True))
    rollout = read_trajectories(path, SPEC)
    first = rollout.elapsed[:, 0] == 0
    assert torch.equal(rollout.obs.state[first, 0], InitialStates(ENV).get(TRAINING, SEED, range(25)).obs.state)
    header = read_header(path)
    assert [(e["bank_seed"], e["bank_episode"], e["policy"]) for e in header["episodes"]] == [
        (SEED, i, policies[i >= 15]) for i in range(25)
    ]
    assert sum(one.transitions for one in accounts) == len(rollout)
    assert sum(one.successes for one in accounts) == int(rollout.terminated.sum())
    assert all(one.sim_steps % (6 * 15) == 0 and one.sim_steps >= one.transitions for one in accounts)
    assert 0 < rollout.truncated.sum() < 25  # episodes of both kinds
    assert int(rollout.done.sum()) == 25


def test_transitions_are_those_of_the_environment_and_the_policy(tmp_path, policies):
    path, _ = collected(tmp_path, policies[:1])
    rollout = read_trajectories(path, SPEC)
    position, goal = rollout.obs.state[..., :2], rollout.obs.state[..., :2] + rollout.obs.state[..., 4:]
    moved = (position + 0.1 * rollout.action.clamp(-1, 1)).clamp(-1, 1)
    assert (rollout.action.abs() > 1).any()
    assert torch.allclose(rollout.next_obs.state[..., :2], moved, atol=1e-6)
    assert torch.equal(rollout.success, (rollout.next_obs.state[..., 4:].norm(dim=-1) <= 0.3))
    assert torch.allclose(goal[rollout.elapsed > 0], goal[(rollout.elapsed > 0).roll(-1, 0)], atol=1e-5)
    actor = load_policy(policies[0]).actor
    normal = torch.distributions.Normal(actor(rollout.obs), actor.log_std.exp())
    assert torch.allclose(normal.log_prob(rollout.action).sum(-1), rollout.log_prob, atol=1e-4)


def test_files_do_not_depend_on_the_number_of_workers(tmp_path, policies):
    names = ("alone", "several")
    for name, workers in zip(names, (0, 3), strict=True):
        (tmp_path / name).mkdir()
        collected(tmp_path / name, policies, num_workers=workers)
    for suffix in ("h5", "json"):
        first, second = ((tmp_path / name / f"demos.{suffix}").read_bytes() for name in names)
        assert first == second


def test_deterministic_actions_are_the_mean(tmp_path, policies):
    path, _ = collected(tmp_path, policies[:1], deterministic=True)
    rollout = read_trajectories(path, SPEC)
    with torch.no_grad():
        mean = load_policy(policies[0]).actor(rollout.obs)
    assert torch.allclose(rollout.action, mean, atol=1e-6)
    assert not rollout.log_prob_known.any()
    assert {episode["actions"] for episode in read_header(path)["episodes"]} == {"deterministic"}


# ---- the command line --------------------------------------------------------------------------------------------


def arguments(path, policies, *options):
    names = json.dumps(list(policies))
    return ["collect", str(path), "--policies", names, "--env=PointReach", "--num_workers=0", "--num_envs=8", *options]


def test_from_the_command_line(tmp_path, policies, capsys):
    path = tmp_path / "demos.h5"
    assert main(arguments(path, policies, "--episodes=20", "--shares=[3,1]")) == 0
    shown = capsys.readouterr().out
    assert " 15 " in shown
    assert " 5 " in shown
    before = path.read_bytes()
    assert main(arguments(path, policies, "--episodes=4")) == 1
    assert "--overwrite true" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(arguments(path, policies, "--episodes=4", "--overwrite=true")) == 0
    assert len(read_header(path)["episodes"]) == 4


MISTAKES = {
    "--episodes=0": "episodes is 0",
    "--num_envs=0": "num_envs is 0",
    "--num_workers=-1": "num_workers is -1; it must be at least 0",
    "--seed=-1": "seed is -1",
    "--shares=[1]": "one positive number for each",
    '--policies=["nowhere"]': "No policy 'nowhere'",
    '--policies=["pickcube/weak"]': "maps 42 observations",
}


@pytest.mark.parametrize("option", MISTAKES)
def test_a_mistake_is_answered_with_a_sentence_and_leaves_no_file(option, tmp_path, policies, capsys):
    assert main(arguments(tmp_path / "demos.h5", policies, option)) == 1
    err = capsys.readouterr().err
    assert is_sentence(err)
    assert MISTAKES[option] in err
    assert not list(tmp_path.iterdir())


# ---- learning from it --------------------------------------------------------------------------------------------


@pytest.fixture
def demos(tmp_path, policies):
    """Trajectories of the environment of the smoke overlay."""
    path = tmp_path / "demos.h5"
    collect(str(path), policies, (3, 1), 20, env=PointReach(), num_envs=8, num_workers=0)
    return path


def offline(path, *options):
    data = ("--data=OfflineDataModule", f"--data.dataset={path}", "--data.num_minibatches=7")
    return (*data, "--data.validation_fraction=0.2", *options)


@pytest.mark.parametrize("update", ["AWR", "PPO", "RECAP"])
def test_learning_from_a_file(update, demos, tmp_path):
    run_dir = run(tmp_path / "logs", *offline(demos, f"--model.update={update}"))
    steps = len(read_trajectories(demos, LocalRollouts(PointReach(), 1).spec))
    metrics = scalars(run_dir)
    for name in ("steps/env", "steps/sim"):
        assert metrics[name] == [(1, steps), (2, steps)]
    assert metrics["train/episodes"] == [(1, 20)]
    assert "losses/validation_policy_loss" in metrics


def test_trajectories_of_other_options_are_refused(demos):
    spec = LocalRollouts(PointReach(), 1).spec
    assert len(read_trajectories(demos, spec, task_options={}))
    with pytest.raises(
        UserError, match=r"collected with task_options \{\}, but this environment has \{'view': 'stock'\}"
    ):
        read_trajectories(demos, spec, task_options={"view": "stock"})


def test_the_run_says_which_file_it_learned_from(demos, tmp_path):
    run_dir = run(tmp_path / "logs", *offline(demos))
    data = read_dataset(run_dir / "dataset.safetensors")
    assert data.info["trajectories.path"] == str(demos)
    assert len(data.info["trajectories.sha256"]) == 64
    assert torch.equal(data.rollout.obs.state, read_trajectories(demos, LocalRollouts(PointReach(), 1).spec).obs.state)


def test_an_unknown_density_is_that_of_the_start_policy(tmp_path, policies):
    path = tmp_path / "demos.h5"
    collect(str(path), policies[:1], (), 10, True, PointReach(), 8, 0)
    run_dir = run(tmp_path / "logs", *offline(path, f"--model.policy={policies[1]}"))
    rollout = read_dataset(run_dir / "dataset.safetensors").rollout
    actor = load_policy(policies[1]).actor
    normal = torch.distributions.Normal(actor(rollout.obs), actor.log_std.exp())
    assert torch.allclose(normal.log_prob(rollout.action).sum(-1), rollout.log_prob, atol=1e-3)


def test_a_resumed_run_on_a_file_does_not_differ(demos, tmp_path, capsys):
    whole = run(tmp_path / "whole", *offline(demos, "--trainer.max_epochs=4"))
    run(tmp_path / "parts", *offline(demos, "--trainer.max_epochs=2"))
    rest = run(tmp_path / "parts", *offline(demos, "--trainer.max_epochs=4", "--ckpt_path=last"))
    weights = [load_policy(str(folder / "policies/last.safetensors")).actor.state_dict() for folder in (whole, rest)]
    assert same(*weights)
    with h5py.File(demos, "r+") as file:
        file["traj_0/rewards"][0] = 0.5
    last = rest / "checkpoints/last.ckpt"
    arguments = smoke(tmp_path / "parts", *offline(demos, "--trainer.max_epochs=6", f"--ckpt_path={last}"))
    assert main(arguments) == 1
    assert "was made with trajectories.sha256" in capsys.readouterr().err


def test_a_critic_on_a_file_is_one_of_who_played(demos, tmp_path, policies):
    run_dir = run(tmp_path / "logs", *offline(demos, "--model.update=CriticOnly"))
    info = json.loads((run_dir / "policies/last.json").read_text())
    assert info["critic"]["states"] == ", ".join(policies)


REFUSED = {
    f"--model.advantage={MonteCarloRerollout.__name__}": "goes back to simulator states",
    "--data.validation_fraction=0.99": "no episode is left to train",
    "--data.num_minibatches=0": "num_minibatches is 0",
    "--data.dataset=nowhere.h5": "nowhere.h5 is no file",
}


@pytest.mark.parametrize("option", REFUSED)
def test_what_a_file_cannot_serve_is_refused(option, demos, tmp_path, capsys):
    assert main(smoke(tmp_path / "logs", *offline(demos, option))) == 1
    err = capsys.readouterr().err
    assert is_sentence(err)
    assert REFUSED[option] in err
