"""Names say what differs from the config file, and cannot contradict the run."""

import re

import pytest
import yaml

from rlft.networks import GaussianActor
from rlft.networks.policy_files import save_policy
from rlft.runs.identity import Identity
from rlft.training.cli import SECTIONS
from rlft.training.config_tree import differences, walk
from rlft.training.run_name import LONGEST, is_of, run_name, words
from tests.support.hand_made import REPO
from tests.support.parsed import parsed

GAE_PPO = ("--config", REPO / "configs/gae_ppo.yaml")
REROLLOUTS = ("--config", REPO / "configs/mc_awr.yaml")
FREEZE = ("--trainer.callbacks+=FreezeSchedule", '--trainer.callbacks.schedule=[{"module": "critic"}]')


def name(*arguments):
    return parsed(*arguments).config.fit.run_name


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "gae_ppo"),
        (("--config", REPO / "configs/smoke.yaml"), "gae_ppo+smoke"),
        (("--model.advantage.gamma=0.99",), "gae_ppo-gamma0.99"),
        (("--model.learning_rate=1e-5", "--model.anneal_lr=true"), "gae_ppo-learning_rate1e-05-anneal_lr"),
        (("--model.advantage=MonteCarlo",), "gae_ppo-MonteCarlo"),
        (("--model.advantage=MonteCarlo", "--model.advantage.tail=drop"), "gae_ppo-MonteCarlo-tail_drop"),
        (("--model.update.target_kl=null", "--model.update.norm_adv=false"), "gae_ppo-no_norm_adv-no_target_kl"),
        (("--model.actor.hidden_dim=64",), "gae_ppo-actor.hidden_dim64"),
        (("--model.policy=pickcube/noisy",), "gae_ppo-policy_pickcube_noisy"),
        (("--model.learning_rate_factors={actor.encoder: 0.1}",), "gae_ppo-learning_rate_factors_actor.encoder0.1"),
        (FREEZE, "gae_ppo-FreezeSchedule-schedule_module_critic"),
        (("--data.num_workers=1", "--trainer.max_epochs=3", "--eval.num_episodes=5", "--log_dir=x"), "gae_ppo"),
    ],
)
def test_a_name_says_what_differs_from_the_config_file(options, expected):
    found = name(*GAE_PPO, *options)
    assert re.fullmatch(re.escape(expected) + "-[0-9a-f]{8}-seed1", found), found


def test_a_callback_that_is_gone_is_said():
    found = name("--config", REPO / "configs/bc.yaml", "--trainer.callbacks=null")
    assert re.fullmatch("bc-no_EarlyStopping-[0-9a-f]{8}-seed1001", found)


def test_an_option_of_two_parts_says_whose_it_is():
    assert "-advantage.policy_pickcube_weak-" in name(*REROLLOUTS, "--model.advantage.policy=pickcube/weak")
    assert "-policy_pickcube_noisy-" in name(*REROLLOUTS, "--model.policy=pickcube/noisy")


def test_without_a_config_file_the_defaults_are_what_it_differs_from():
    plain = ["--model=FinetuneModule", "--model.advantage=GAE", "--model.update=PPO"]
    plain += ["--data=RolloutDataModule", "--data.env=PointReach"]
    expected = "FinetuneModule-GAE-gamma0.9-PPO-RolloutDataModule-PointReach"
    found = name(*plain, "--model.advantage.gamma=0.9", "--seed_everything=4")
    assert re.fullmatch(expected + "-[0-9a-f]{8}-seed4", found), found


def test_a_config_file_that_says_only_a_part_is_named_too(tmp_path):
    (tmp_path / "networks.yaml").write_text("model: {init_args: {actor: {class_path: GaussianActor}}}")
    found = name(*GAE_PPO, "--config", tmp_path / "networks.yaml")
    assert found.startswith("gae_ppo+networks-")


def test_files_are_named_by_stem_and_told_apart_by_content(tmp_path):
    names = []
    for log_std in (-1.0, -2.0):
        path = tmp_path / "best.safetensors"
        save_policy(path, GaussianActor(6, 2, 8, 1, log_std), None, {})
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        names += [name(*GAE_PPO, f"--model.policy={path}")]
        names += [name(*GAE_PPO, f"--model.policy={path.rename(tmp_path / 'elsewhere/best.safetensors')}")]
    assert names[0].startswith("gae_ppo-policy_best-")
    assert names[0] == names[1] != names[2] == names[3]


def test_a_name_is_one_directory_with_room_for_it():
    many = [f"--model.learning_rate_factors={{{', '.join(f'actor.encoder.{i}: 0.{i}' for i in range(1, 30))}}}"]
    found = name(*GAE_PPO, *many, "--model.advantage.gamma=0.5", "--model.policy=../up/../x y.pt")
    assert "/" not in found
    assert " " not in found
    assert len(found) < LONGEST + 40
    assert "-1_more-" in found


def settings(tree):
    return list(walk(tree, SECTIONS))


def test_a_class_of_a_folder_that_is_gone_has_a_name_nevertheless():
    tree = {"model": {"class_path": "nowhere.Module", "init_args": {"rate": 0.5, "path": "../../etc"}}}
    assert words(settings(tree), []) == ["Module", "rate0.5", "path_.._.._etc"]


def test_a_continued_run_says_so():
    own = Identity({}, 1, continues="abc")
    assert run_name(own, [], [], ["gae_ppo"]) == f"gae_ppo-continued-{own.short}-seed1"


def test_a_derived_name_belongs_to_one_run():
    own = Identity({"a": 1}, 3)
    derived = run_name(own, [], [], ["gae_ppo"])
    assert is_of(derived, own)
    assert is_of("anything", own)
    assert not is_of(derived, Identity({"a": 2}, 3))
    assert not is_of(derived, Identity({"a": 1}, 4))


# ---- differences from the defaults, for the report ---------------------------------------------------------------


def plugin(name, **arguments):
    return {"class_path": f"rlft.{name}", "init_args": arguments}


def test_differences_of_the_command_line():
    mine = settings({"trainer": {"max_epochs": 3, "max_time": None}, "log_dir": "x", "seed_everything": 1})
    assert differences(mine, {"log_dir": "logs", "seed_everything": 1}) == {"trainer.max_epochs": 3, "log_dir": "x"}


def test_a_null_that_switches_something_off_is_a_difference():
    mine = settings({"model": plugin("update.PPO", target_kl=None)})
    assert differences(mine, {}) == {"model": "PPO", "model.target_kl": None}


def test_differences_of_a_plugin_are_from_its_signature():
    mine = settings({"model": plugin("advantage.GAE", gamma=0.8, gae_lambda=0.5, clip_vloss=False)})
    assert differences(mine, {}) == {"model": "GAE", "model.gae_lambda": 0.5}


def test_the_report_has_no_more_than_the_config_file_says():
    made = parsed(*GAE_PPO)
    found = differences(made.settings, dict(made.parser_defaults().items(branches=False)))
    file = yaml.safe_load((REPO / "configs/gae_ppo.yaml").read_text())
    assert found["model.learning_rate_warmup"] == file["model"]["init_args"]["learning_rate_warmup"]
    assert found["model.policy"] == "pickcube/weak"
    assert "seed_everything" not in found
    assert not any(key.startswith(("eval", "checkpoint", "pitfalls", "trainer")) for key in found)
