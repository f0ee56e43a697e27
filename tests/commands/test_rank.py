"""The whole command, in a task without a simulator."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch

from rlft.cli import main
from rlft.commands.rank import rank_in
from rlft.errors import UserError
from rlft.networks import ActionValueCritic, GaussianActor, ValueCritic
from rlft.networks.policy_files import Policy, save_policy
from rlft.networks.q_ensemble import QEnsemble
from rlft.ranking.experiment import Settings
from rlft.ranking.ranking import Ranking
from rlft.ranking.scorers import Critics
from rlft.ranking.simulation import Simulator
from tests.support.hand_made import is_sentence
from tests.support.ranking import ENV, SETTINGS, policy

FILES = {"ranking.json", "ranking.md", "ranking.png", "simulation.safetensors"}


def study(out, settings=SETTINGS, critics=None, protocol="both"):
    return rank_in(ENV, Policy("p", policy(), None), settings, out, critics or Critics(), protocol, num_workers=0)


def by_name(ranking: Ranking, protocol="independent"):
    """Scores by estimator, those with the most trajectories."""
    return {score.estimator: score for score in ranking.scores if score.protocol == protocol}


def interrupted(*args):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def critics(tmp_path_factory):
    """Policy files with critics of all kinds."""
    folder, value = tmp_path_factory.mktemp("critics"), ValueCritic(6, 8, 1)
    torch.manual_seed(0)
    save_policy(folder / "q.safetensors", GaussianActor(6, 2, 8, 1), ActionValueCritic(value, 2), {})
    save_policy(folder / "ensemble.safetensors", GaussianActor(6, 2, 8, 1), QEnsemble(6, 2, hidden_dim=8), {})
    save_policy(folder / "v.safetensors", GaussianActor(6, 2, 8, 1), value, {})
    save_policy(folder / "gamma.safetensors", GaussianActor(6, 2, 8, 1), value, {"critic": {"gamma": 0.99}})
    save_policy(folder / "none.safetensors", GaussianActor(6, 2, 8, 1), None, {})
    save_policy(folder / "other.safetensors", GaussianActor(42, 8, 8, 1), value, {})
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def ranking(out, critics):
    q = str(critics / "q.safetensors")
    return study(out, critics=Critics(iql=q, sarsa=q, off_policy=str(critics / "ensemble.safetensors")))


def test_gae_at_lambda_one_is_monte_carlo_in_both_protocols(ranking):
    shared, independent = by_name(ranking, "shared"), by_name(ranking)
    assert shared["GAE(1), V on MC"].within.spearman.value == shared["MC"].within.spearman.value == 1.0
    for measure in ("spearman", "kendall", "top1", "concordance", "dropped"):
        assert getattr(independent["GAE(1), V on MC"].within, measure) == getattr(independent["MC"].within, measure)
    assert independent["MC"].within.spearman.value < 1.0


def test_every_estimator_is_ranked_against_both_ground_truths(ranking):
    networks = {"Q on MC", "A on GAE", "dueling Q", "pairwise", "Q of IQL", "Q of SARSA", "Q off-policy"}
    trajectories = {
        "MC",
        *(f"{name}, V on MC" for name in ("GAE(0.8)", "GAE(0.95)", "GAE(1)", "TD(1)", "TD(5)", "TD(20)")),
    }
    trajectories |= {"GAE(0.95), V of IQL", "GAE(0.95), V of SARSA"}
    for protocol in ("independent", "shared"):
        assert by_name(ranking, protocol).keys() == networks | trajectories
    counts = [s.trajectories for s in ranking.scores if (s.protocol, s.estimator) == ("independent", "MC")]
    assert counts == [1, 2, 3]
    assert {s.trajectories for s in ranking.scores if s.protocol == "shared"} == {0, 3}
    assert [critic.critic for critic in ranking.critics] == ["V on MC", "V of IQL", "V of SARSA"]


def test_no_correction_where_the_noise_is_shared(ranking):
    assert all(np.isnan(score.corrected) for score in ranking.scores if score.protocol == "shared")
    score = by_name(ranking)["MC"]
    assert score.corrected == pytest.approx(score.within.pearson.value / ranking.truth.ceiling)


def test_files_say_what_was_found(ranking, out):
    assert {file.name for file in out.iterdir()} == FILES
    found = json.loads((out / "ranking.json").read_text())
    assert found["settings"]["gamma"] == 0.9
    assert found["scores"][0]["within"]["spearman"]["value"] == ranking.scores[0].within.spearman.value
    assert found["scores"][-1]["corrected"] is None
    assert sum(found["sim_steps"].values()) > SETTINGS.states * SETTINGS.actions * SETTINGS.samples
    report = (out / "ranking.md").read_text()
    assert f"{sum(found['sim_steps'].values()):,} simulator steps" in report
    assert all(score.estimator in report for score in ranking.scores)


def test_the_same_study_again_simulates_nothing_and_finds_the_same(ranking, out, monkeypatch):
    for name in ("rollout", "actions", "returns", "paths"):
        monkeypatch.delattr(Simulator, name)
    before = (out / "simulation.safetensors").read_bytes()
    again = by_name(study(out, protocol="independent"))
    assert {name: score for name, score in by_name(ranking).items() if name in again} == again
    assert (out / "simulation.safetensors").read_bytes() == before


def test_an_interrupted_study_goes_on_after_its_last_part(ranking, out, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(Simulator, "paths", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path)
    monkeypatch.delattr(Simulator, "actions")  # they are there already
    resumed = by_name(study(tmp_path, protocol="independent"))
    assert {name: score for name, score in by_name(ranking).items() if name in resumed} == resumed


def test_a_given_critic_takes_the_place_of_the_fitted_one(out, ranking, critics):
    found = study(out, critics=Critics(critic=str(critics / "v.safetensors")), protocol="shared")
    assert [critic.critic for critic in found.critics] == ["V given"]
    assert "TD(5), V given" in by_name(found, "shared")
    assert not by_name(found)


def test_without_matplotlib_there_is_a_sentence_instead_of_a_figure(ranking, out, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rlft.ranking.figure", None)
    (tmp_path / "simulation.safetensors").write_bytes((out / "simulation.safetensors").read_bytes())
    study(tmp_path, protocol="independent")
    assert {file.name for file in tmp_path.iterdir()} == FILES - {"ranking.png"}
    assert "matplotlib is missing" in capsys.readouterr().out.replace("\n", " ")
    assert "ranking.png" not in (tmp_path / "ranking.md").read_text()


def test_the_ground_truth_is_reliable_enough_to_say_something(ranking):
    """Else the tests above compare noise."""
    assert ranking.truth.ceiling > 0.5
    assert 0 < ranking.reliable_states < SETTINGS.states
    assert by_name(ranking)["MC"].reliable.value > by_name(ranking)["MC"].within.spearman.value


@pytest.mark.parametrize(
    ("critics_of", "sentence"),
    [
        ({"critic": "none"}, "holds no critic"),
        ({"iql": "v"}, "holds ValueCritic; name a file with a critic that IQL has trained"),
        ({"sarsa": "ensemble"}, "holds QEnsemble; name a file with a critic that SARSA has trained"),
        ({"off_policy": "q"}, "holds ActionValueCritic; name a file with a critic that an OffPolicyModule has trained"),
        ({"critic": "ensemble"}, "holds values of actions only, not of states; it can be the off_policy one"),
        ({"sarsa": "other"}, "maps 42 observations"),
        ({"critic": "gamma"}, r"holds values at gamma 0\.99, but this study has gamma 0\.9"),
        ({"critic": "nowhere"}, "No policy"),
    ],
)
def test_critics_that_do_not_fit_are_refused_before_anything_is_simulated(critics_of, sentence, critics, tmp_path):
    files = {name: str(critics / f"{file}.safetensors") for name, file in critics_of.items()}
    with pytest.raises(UserError, match=sentence) as error:
        study(tmp_path, critics=Critics(**files))
    assert is_sentence(str(error.value))
    assert not list(tmp_path.iterdir())


def test_other_settings_in_the_same_directory_are_refused(out, ranking):
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(UserError, match=r"was made with states 24, not 25; choose another --out\."):
        study(out, dataclasses.replace(SETTINGS, states=25))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize("name", ["states", "actions", "samples", "trajectories", "training_states", "num_envs"])
def test_sizes_with_which_nothing_can_be_measured_are_refused(name):
    with pytest.raises(UserError, match=f"{name} is 0; it must be at least") as error:
        Settings(**{name: 0})
    assert is_sentence(str(error.value))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("nowhere", "No policy 'nowhere'"),
        ("pickcube/weak --gamma 1.5", "gamma is 1.5"),
        ("pickcube/weak --tolerance 0", "tolerance is 0"),
        ("pickcube/weak --states 0", "states is 0"),
        ("pickcube/weak --out {file}", "cannot be made a directory"),
        ("pickcube/weak --out {file}.png", "file.png is the folder that files go into; name one such as "),
    ],
)
def test_mistakes_on_the_command_line_are_answered_with_a_sentence(options, sentence, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["rank", *options.format(file=tmp_path / "file").split()]) == 1
    answer = capsys.readouterr().err
    assert answer.startswith("rlft: ")
    assert sentence in answer
    assert is_sentence(answer)


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["rank", "--help"])
    shown = capsys.readouterr().out
    for option in ("--states", "--protocol", "--iql", "--training_states", "--tolerance", "policy"):
        assert option in shown
    assert "re-rollouts per action that are the ground truth" in " ".join(shown.split())
