"""Cal-QL, WSRL and residual actors through the command line, on PointReach."""

import json
from dataclasses import dataclass, replace

import pytest
import torch

from rlft.cli import main
from rlft.commands.collect import collect
from rlft.comparison.axes import env_steps, iterations, training_hours
from rlft.comparison.reading import read_folder
from rlft.data import ReplayDataModule, replay_files
from rlft.envs import PointReach
from rlft.modules import OffPolicyModule
from rlft.networks import ResidualActor
from rlft.networks.policy_files import load_policy
from rlft.off_policy import Anchored
from rlft.runs.iterations import read_iterations
from rlft.trajectories.reader import read_trajectories
from rlft.types import Obs
from tests.modules.test_off_policy import arguments, run
from tests.support.hand_made import is_sentence
from tests.support.training import fit, same_policies, scalars


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """Episodes of the start policy."""
    path = tmp_path_factory.mktemp("prior") / "weak.h5"
    collect(str(path), "pointreach/weak", (), 30, env=PointReach(), num_envs=8, num_workers=0)
    return path


def offline(prior, iterations=2):
    return (f"--data.prior={prior}", f"--data.offline_iterations={iterations}")


@pytest.fixture(scope="module")
def wsrl(prior, tmp_path_factory):
    """Two offline iterations, one of warm-up, one that learns from what was collected."""
    options = (*offline(prior), "--data.updates_per_step=0.1", "--trainer.max_epochs=4")
    return run(tmp_path_factory.mktemp("wsrl"), *options, config="wsrl")


def actor_of(version, name):
    return load_policy(str(version / f"policies/{name}.safetensors")).actor


# ---- WSRL --------------------------------------------------------------------------------------------------------


def test_offline_nothing_is_simulated_and_the_warm_up_makes_no_gradient_step(wsrl):
    rows = read_iterations(wsrl)
    assert [row["steps/env"] for row in rows] == [0, 0, 0, 320, 640]
    assert [row["steps/sim"] for row in rows[1:]] == [0, 0, 320, 640]
    assert [row.get("charts/critic_updates") for row in rows] == [None, 32, 32, None, 32]
    assert [row.get("charts/actor_updates") for row in rows] == [None, 8, 8, None, 8]
    assert [path.name for path in sorted((wsrl / "replay").iterdir())] == [
        replay_files.segment(wsrl, iteration).name for iteration in (2, 3)
    ]


def test_the_conservative_term_ends_with_the_offline_iterations(wsrl):
    rows = read_iterations(wsrl)
    assert ["losses/conservative_gap" in row for row in rows] == [False, True, True, False, False]
    assert all(0 <= row["charts/calibrated_actions"] <= 1 for row in rows[1:3])


def test_every_iteration_has_a_place_of_its_own_in_the_log(wsrl):
    assert [step for step, _ in scalars(wsrl)["steps/env"]] == [-1, 0, 320, 640]
    read = read_folder(wsrl)
    steps, _ = read.series("time/iteration")
    assert iterations(read, steps).tolist() == [1, 2, 3, 4]
    assert env_steps(read, steps).tolist() == [0, 0, 320, 640]
    assert (training_hours(read, steps)[1:] > training_hours(read, steps)[:-1]).all()
    assert read.total("charts/critic_updates", read.end()).tolist() == [96]
    assert min(step for step, _ in scalars(wsrl)["eval/success_rate"]) == -2  # the start


def test_the_report_has_a_row_for_every_iteration(wsrl):
    table = [line for line in (wsrl / "report.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.split("|")[2].strip() for line in table[1:]] == ["0", "0", "0", "320", "640"]


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_run_goes_on_from_any_iteration_to_the_same_weights(done, prior, wsrl, tmp_path):
    options = (*offline(prior), "--data.updates_per_step=0.1")
    run(tmp_path, *options, f"--trainer.max_epochs={done}", config="wsrl")
    assert same_policies(run(tmp_path, *options, "--trainer.max_epochs=4", "--ckpt_path=last", config="wsrl"), wsrl)


def test_the_number_of_env_steps_does_not_count_offline_iterations(prior, tmp_path):
    version = run(tmp_path, *offline(prior, 1), "--data.total_timesteps=320", config="wsrl")
    assert [row["steps/env"] for row in read_iterations(version)] == [0, 0, 320]


def test_a_warm_up_that_only_collects_leaves_critics_and_actor_as_they_are(tmp_path):
    version = run(tmp_path, "--trainer.max_epochs=1", config="wsrl")
    checkpoint = torch.load(version / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    learned = [name for name in checkpoint if name.startswith("critic.") and "obs_" not in name]
    assert all(torch.equal(checkpoint[name], checkpoint[f"target.{name[7:]}"]) for name in learned)
    assert checkpoint["critic.obs_scale"].ne(1).any()  # they know how large observations are
    start = load_policy("pointreach/weak").actor.state_dict()
    assert all(torch.equal(checkpoint[f"actor.{name}"], start[name]) for name in start)


# ---- Cal-QL ------------------------------------------------------------------------------------------------------


def test_cal_ql_stays_conservative_and_goes_on_to_the_same_weights(prior, tmp_path):
    options = (*offline(prior, 1), "--data.updates_per_step=0.05", "--model.conservative.num_actions=2")
    whole = run(tmp_path / "whole", *options, "--trainer.max_epochs=2", config="cal_ql")
    assert ["losses/conservative_gap" in row for row in read_iterations(whole)] == [False, True, True]
    run(tmp_path / "parts", *options, "--trainer.max_epochs=1", config="cal_ql")
    parts = run(tmp_path / "parts", *options, "--trainer.max_epochs=2", "--ckpt_path=last", config="cal_ql")
    assert same_policies(parts, whole)


def test_with_a_weight_critics_say_less_of_actions_beside_those_of_the_data(prior, tmp_path):
    options = (*offline(prior, 1), "--trainer.max_epochs=1", "--data.updates_per_step=0.5")
    rows = [
        read_iterations(run(tmp_path / str(weight), *options, f"--model.conservative.weight={weight}", config="wsrl"))[
            -1
        ]
        for weight in (0.0, 1.0)
    ]
    assert rows[1]["losses/conservative_gap"] < rows[0]["losses/conservative_gap"]


@dataclass(frozen=True)
class Wide(PointReach):
    """Actions go up to 2."""

    def make(self, num_envs):
        batch = super().make(num_envs)
        batch.spec = replace(batch.spec, action_low=torch.full((2,), -2.0), action_high=torch.full((2,), 2.0))
        return batch


def test_prior_actions_are_within_the_bounds_of_the_environment(tmp_path):
    """Rows of prior data are made before the module's own `setup`."""
    path = tmp_path / "wide.h5"
    collect(str(path), "pointreach/weak", (), 20, env=Wide(), num_envs=8, num_workers=0)
    loader = ReplayDataModule(Wide(), 8, 40, 10, 0.01, 16, num_workers=0, prior=str(path), offline_iterations=1)
    fit(OffPolicyModule(6, 2, Anchored(), "pointreach/weak"), loader, 1)
    kept = loader._prior.whole.action
    assert torch.equal(kept, read_trajectories(path, Wide().make(1).spec).action.clamp(-2, 2))
    assert 1 < kept.abs().max() <= 2


# ---- residual actors ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """Three iterations, the first of which warms up; the correction is used in full after two."""
    return run(tmp_path_factory.mktemp("residual"), "--model.residual_steps=640", config="residual")


def states():
    return Obs(state=torch.randn(32, 6, generator=torch.Generator().manual_seed(0)))


def test_the_base_stays_and_the_correction_learns(residual):
    actor, weak = actor_of(residual, "last"), load_policy("pointreach/weak").actor
    assert isinstance(actor, ResidualActor)
    assert torch.equal(actor.base.mode(states()), weak.mode(states()))
    moved = (actor.mode(states()) - weak.mode(states())).abs()
    assert 0 < moved.max() <= 0.2
    assert json.loads((residual / "policies/last.json").read_text())["networks"]["actor"]["init_args"]["scale"] == 0.2


def test_the_correction_comes_gradually(residual):
    """In the first part of the warm-up the base acts alone; later ones are corrected now and then."""
    first = replay_files.read_segment(residual, 0)[0]
    weak = load_policy("pointreach/weak").actor
    as_base = [
        torch.isclose(part.action, weak.mode(part.obs).clamp(-1, 1), atol=1e-5).all(-1).float().mean().item()
        for part in (
            first[:2],
            replay_files.read_segment(residual, 1)[0],
            replay_files.read_segment(residual, 2)[0],
        )
    ]
    assert as_base[0] == 1
    assert 0.1 < as_base[1] < 0.5  # a quarter, between a half and none
    assert as_base[2] < 0.3  # where both are clipped to the same bounds


def test_a_residual_run_goes_on_to_the_same_weights(residual, tmp_path):
    run(tmp_path, "--model.residual_steps=640", "--trainer.max_epochs=1", config="residual")
    assert same_policies(run(tmp_path, "--model.residual_steps=640", "--ckpt_path=last", config="residual"), residual)


def test_a_corrected_policy_can_be_collected_with_and_started_from(residual, tmp_path):
    policy = str(residual / "policies/last.safetensors")
    collect(str(tmp_path / "more.h5"), policy, (), 8, env=PointReach(), num_envs=8, num_workers=0)
    assert read_trajectories(tmp_path / "more.h5", PointReach().make(1).spec).log_prob_known.all()
    version = run(tmp_path, f"--model.policy={policy}", "--trainer.max_epochs=1", config="residual")
    assert isinstance(actor_of(version, "last").base, ResidualActor)


def test_what_is_injected_goes_into_the_base(tmp_path):
    options = ("--model.inject=encoder", "--model.inject_from=pointreach/expert", "--trainer.max_epochs=1")
    base = actor_of(run(tmp_path, *options, config="residual"), "last").base.state_dict()
    expert, weak = (load_policy(f"pointreach/{name}").actor.state_dict() for name in ("expert", "weak"))
    assert torch.equal(base["encoder.0.weight"], expert["encoder.0.weight"])
    assert torch.equal(base["action_head.0.weight"], weak["action_head.0.weight"])


@pytest.mark.parametrize(
    ("config", "options", "said"),
    [
        ("residual", ("--model.policy=null", "--model.residual_steps=0"), "model.residual corrects a start policy"),
        ("residual", ("--model.residual=null",), "which is of use only with a model.residual"),
        ("residual", ("--model.objective=Anchored",), "which is of use only with a model.residual"),
        ("residual", ("--model.residual.scale=-1",), "scale of a residual is -1.0; it must be at least 0"),
        ("wsrl", ("--data.offline_iterations=2",), "there is no data.prior to learn from"),
        ("wsrl", ("--model.warmup=nothing",), "warmup"),
        (
            "cal_ql",
            ("--model.conservative.temperature=0",),
            "model.conservative.temperature is 0.0; it must be above 0",
        ),
        (
            "cal_ql",
            ("--model.policy=null", "--model.actor=tests.support.user_actors.GeneratorActor"),
            "model.objective EntropyRegularised needs log_prob, which GeneratorActor does not define",
        ),
        (
            "cal_ql",
            (
                "--model.policy=null",
                "--model.actor=tests.support.user_actors.GeneratorActor",
                "--model.objective=Anchored",
            ),
            "model.conservative Conservative needs log_prob, which GeneratorActor does not define",
        ),
    ],
)
def test_what_does_not_fit_is_refused(config, options, said, tmp_path, capsys):
    assert main(arguments(tmp_path, *options, config=config)) == 1
    error = capsys.readouterr().err
    assert is_sentence(error)
    assert said in error


@pytest.mark.parametrize(("num_envs", "ladder"), [(1, [0.3]), (2, [0.1, 0.3]), (3, [0.1, 0.2, 0.3])])
def test_the_noise_rises_over_environments_and_one_alone_has_the_most(num_envs, ladder, monkeypatch):
    monkeypatch.setattr(OffPolicyModule, "env_steps", 0)
    module = OffPolicyModule(6, 2, Anchored(), "pointreach/weak", exploration=(0.1, 0.3))
    assert module.noise_scale(num_envs).tolist() == pytest.approx(ladder)
