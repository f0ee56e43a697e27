import pytest
from jsonargparse import Namespace

from rlft.resolved_config import differences, run_name

REROLLOUT = "rlft.advantage.MonteCarloRerollout"


def namespace(tree):
    """What the parser makes of nested settings."""
    return Namespace(**{key: namespace(value) if isinstance(value, dict) else value for key, value in tree.items()})


def config(policy="pickcube/weak", env=("ManiSkill", {"task": "PickCube-v1"}), **settings):
    plugin = {"gamma": 0.8, "gae_lambda": 0.9, "clip_vloss": False, **settings}
    model = {
        "policy": policy,
        "advantage": {"class_path": "rlft.advantage.GAE", "init_args": plugin},
        "update": {"class_path": "rlft.update.PPO", "init_args": {"target_kl": 100.0, "clip_coef": 0.2}},
    }
    data = {
        "env": {"class_path": f"rlft.envs.{env[0]}", "init_args": env[1]},
        "num_envs": 100,
        "num_steps": 50,
        "update_epochs": 100,
        "num_minibatches": 5,
    }
    return namespace({"model": {"init_args": model}, "data": {"init_args": data}, "seed_everything": 1})


def test_a_name_says_what_was_run():
    assert run_name(config()) == "pickcube_weak-gae_ppo-gamma0.8-lambda0.9-kl100-100x50-100x5-seed1"


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"policy": None}, "pickcube_scratch-"),
        ({"env": ("PointReach", {"horizon": 20}), "policy": None}, "pointreach_scratch-"),
        ({"env": ("ManiSkill", {"task": "LiftPegUpright-v1"})}, "liftpegupright_pickcube_weak-"),
        ({"policy": "runs/x/last.ckpt"}, "pickcube_runs_x_last-"),
    ],
)
def test_a_name_begins_with_task_and_start(options, start):
    assert run_name(config(**options)).startswith(start)


def test_a_name_follows_the_settings():
    assert "-gamma0.99-lambda1-" in run_name(config(gamma=0.99, gae_lambda=1.0))


@pytest.mark.parametrize(("policy", "word"), [("pickcube/expert", "bypickcube_expert"), (None, "byself")])
def test_a_name_says_how_many_rerollouts_whose_they_are_and_nothing_that_is_off(policy, word):
    plugin = {"num_samples": 16, "policy": policy, "gamma": 0.8, "pilot_samples": None, "center": "none"}
    named = config()
    named["model.init_args.advantage"] = namespace({"class_path": REROLLOUT, "init_args": plugin})
    named["model.init_args.update.init_args"] = namespace({"target_kl": None, "beta": 0.5})
    start = "pickcube_weak-montecarlorerollout_ppo-"
    assert run_name(named) == f"{start}k16-{word}-gamma0.8-beta0.5-100x50-100x5-seed1"


def test_a_name_says_which_options_leave_their_defaults():
    plugin = {"num_samples": 16, "policy": None, "pilot_samples": 4, "common_noise": True, "estimator": "direct"}
    named = config()
    named["model.init_args.advantage"] = namespace({"class_path": REROLLOUT, "init_args": plugin})
    assert "-kl100-pilot4-common-direct-" in run_name(named)


@pytest.mark.parametrize("policy", ["/abs/path/policy.safetensors", "../up.pt", "~/policy.ckpt"])
def test_a_name_is_one_directory(policy):
    assert "/" not in run_name(config(policy=policy))


def test_differences_of_the_command_line():
    defaults = namespace({"trainer": {"max_epochs": 10, "max_time": None}, "log_dir": "logs", "run_name": None})
    mine = namespace({"trainer": {"max_epochs": 3, "max_time": None}, "log_dir": "logs", "run_name": "derived"})
    assert differences(mine, defaults) == {"trainer.max_epochs": 3}


def test_a_null_that_switches_something_off_is_a_difference():
    mine = namespace({"model": {"class_path": "rlft.update.PPO", "init_args": {"target_kl": None}}})
    assert differences(mine, namespace({"model": None})) == {"model": "PPO", "model.target_kl": None}


def test_differences_of_a_plugin_are_from_its_signature():
    settings = {"gamma": 0.8, "gae_lambda": 0.5, "clip_vloss": False}
    mine = namespace({"model": {"class_path": "rlft.advantage.GAE", "init_args": settings}})
    assert differences(mine, namespace({"model": None})) == {"model": "GAE", "model.gae_lambda": 0.5}
