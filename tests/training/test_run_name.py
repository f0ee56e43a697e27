import pytest
from jsonargparse import Namespace

from rlft.training.run_name import differences, run_name

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


@pytest.mark.parametrize(
    ("changed", "words"),
    [({}, ""), ({"n_step": 3}, "nstep3-"), ({"single_q": True, "advantage": "q_minus_v"}, "single_q-q_minus_v-")],
)
def test_a_name_says_how_iql_learns(changed, words):
    plugin = {"gamma": 0.8, "expectile": 0.9, "n_step": 1, "single_q": False, "advantage": "gae", "gae_lambda": 0.95}
    named = config()
    settings = {"class_path": "rlft.advantage.IQL", "init_args": {**plugin, **changed}}
    named["model.init_args.advantage"] = namespace(settings)
    assert f"-iql_ppo-gamma0.8-lambda0.95-tau0.9-kl100-{words}100x50-" in run_name(named)


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


def test_files_are_named_by_stem_and_content_not_by_path(tmp_path):
    names = []
    for content in ("one", "two"):
        for folder in ("here", "there"):
            path = tmp_path / folder / "best.safetensors"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            names.append(run_name(config(policy=str(path))))
    assert names[0] == names[1] != names[2] == names[3]
    assert names[0].startswith("pickcube_best_")


def test_a_name_says_which_critic_a_run_starts_with():
    named = config()
    named["model.init_args.critic_policy"] = "pickcube/expert"
    assert "-critic_pickcube_expert-100x50-" in run_name(named)


@pytest.mark.parametrize(
    ("dataset", "data"), [(None, "bypickcube_expert-mse-offsets0_1-weights1_0.5-100x50"), ("demos.h5", "demos")]
)
def test_a_name_says_who_is_cloned_unless_a_file_does(dataset, data):
    named = config()
    options = {"demonstrator": "pickcube/expert", "policy": None, "loss": "mse"}
    options |= {"offsets": [0, 1], "offset_weights": [1.0, 0.5], "encoder_dropout": 0.0}
    named["model"] = namespace({"class_path": "rlft.modules.BCModule", "init_args": options})
    named["data.init_args.dataset"] = dataset
    assert run_name(named).startswith("pickcube_scratch-bc-")
    assert f"-{data}-100x5-seed1" in run_name(named)
    assert ("expert" in run_name(named)) == (dataset is None)


def test_a_name_says_which_file_the_data_are(tmp_path):
    (tmp_path / "demos.h5").write_text("trajectories")
    named = config()
    named["data.class_path"] = "rlft.data.OfflineDataModule"
    named["data.init_args.dataset"] = str(tmp_path / "demos.h5")
    assert "-offline-demos_" in run_name(named)
    assert "100x50" not in run_name(named)
