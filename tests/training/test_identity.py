"""What makes two runs the same: pairs of configurations from the constructors' schemas, and runs that go on."""

import copy
import json
import shutil
from collections import Counter

import pytest
import torch
import yaml

from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.networks import GaussianActor
from rlft.networks.policy_files import policy_path, save_policy
from rlft.runs.identity import Identity
from rlft.training.cli import SECTIONS
from rlft.training.config_tree import walk
from rlft.training.run_identity import content, differing, going_on, identity_of
from tests.support.hand_made import REPO
from tests.support.parsed import content_of, parsed, resolved, settings_of
from tests.support.schema import BASE, merged, other_configs, places

OTHERS = other_configs()
CANNOT_CHANGE_RESULTS = {
    *(f"trainer.{name}" for name in ("max_epochs", "max_time", "accelerator", "devices", "logger", "profiler")),
    *(f"trainer.{name}" for name in ("detect_anomaly", "fast_dev_run")),
    *(
        f"{data}.{name}"
        for data in ("RolloutDataModule", "OfflineDataModule", "ReplayDataModule")
        for name in ("num_workers", "total_timesteps")
    ),
    *(str(other) for other in OTHERS if other.place.name in ("CriticProbe", "DeterministicEval", "SuccessCheckpoint")),
    *(str(other) for other in OTHERS if other.place.name in ("Pitfalls", "RecordVideo", "Ray")),
    "FinetuneModule.accept_critic_mismatch",
}


def digest(config, seed=1):
    return Identity(content_of(config), seed).digest


def test_many_pairs_are_looked_at():
    assert len({str(other) for other in OTHERS} - CANNOT_CHANGE_RESULTS) >= 100
    assert {str(other) for other in OTHERS} >= CANNOT_CHANGE_RESULTS
    assert {place.name for place in places()} - {other.place.name for other in OTHERS} == {"CriticOnly"}  # has none


@pytest.mark.parametrize("place", places(), ids=lambda place: place.name)
def test_one_other_option_is_another_run_exactly_if_results_depend_on_it(place):
    config, itself, others = resolved(place.config({})), digest(place.config({})), {}
    for other in (other for other in OTHERS if other.place == place):
        changed = copy.deepcopy(config)
        arguments = place.arguments(changed)
        assert arguments[other.key] != other.value or other.key == "accelerator"  # every config here has cpu
        arguments[other.key] = other.value
        others[str(other)] = Identity(content(walk(changed, SECTIONS)), 1).digest
    same = {name for name in others if others[name] == itself}
    assert same == CANNOT_CHANGE_RESULTS & others.keys()
    assert max(Counter(one for one in others.values() if one != itself).values(), default=1) == 1


def test_where_workers_live_is_no_setting():
    elsewhere = {"workers": {"class_path": "rlft.rollout.Processes"}, "num_workers": 1}
    assert digest(merged(BASE, {"data": {"init_args": elsewhere}})) == digest(BASE)


def test_what_stands_at_the_top_is_where_and_how():
    base = digest(BASE)
    for options in ({"log_dir": "elsewhere"}, {"run_name": "other"}, {"seed_everything": 2}, {"ckpt_path": "x.ckpt"}):
        assert digest({**BASE, **options}) == base
    assert digest({**BASE, "reset_optimizer": True}) == base


# ---- one value for everything that means the same ----------------------------------------------------------------


def model(**arguments):
    return merged(BASE, {"model": {"init_args": arguments}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"learning_rate": 1e-4}, {"learning_rate": 0.0001}),
        ({"max_grad_norm": 1}, {"max_grad_norm": 1.0}),
        ({"learning_rate_factors": {"actor": 1}}, {"learning_rate_factors": {"actor": 1.0}}),
        ({"critic_learning_rate": None}, {}),
    ],
)
def test_numbers_are_compared_not_how_they_are_written(one, other):
    assert digest(model(**one)) == digest(model(**other))


def callback(name, **arguments):
    return {"class_path": name, "init_args": arguments}


def with_callbacks(*callbacks, **options):
    return merged(BASE, {"trainer": {"callbacks": list(callbacks)}, **options})


def test_the_defaults_within_a_list_count_whether_written_or_not():
    short, long = ({"module": "critic"}, {"module": "critic", "start": 0, "end": None, "warmup": 0})
    assert digest(with_callbacks(callback("FreezeSchedule", schedule=[short]))) == digest(
        with_callbacks(callback("FreezeSchedule", schedule=[long]))
    )


def test_whoever_only_observes_is_nobody():
    assert digest(with_callbacks(callback("CriticProbe"))) == digest(BASE) == digest(with_callbacks())
    assert digest(with_callbacks(callback("RecordVideo"))) == digest(BASE)
    assert digest(with_callbacks(callback("WeightEMA"))) != digest(BASE)


# ---- what counts only sometimes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [{"trainer": {"max_epochs": 7}}, {"trainer": {"max_time": "00:00:00:09"}}])
def test_length_counts_where_a_schedule_depends_on_it(length):
    annealed = model(anneal_lr=True)
    assert digest(merged(BASE, length)) == digest(BASE)
    assert (digest(merged(annealed, length)) == digest(annealed)) == ("max_time" in length["trainer"])


def test_iterations_may_be_asked_for_as_env_steps():
    options = ["--config", REPO / "configs/gae_ppo.yaml", "--model.anneal_lr=true"]
    in_steps = parsed(*options, "--data.total_timesteps=15000").identity.digest
    assert in_steps == parsed(*options, "--trainer.max_epochs=3").identity.digest
    assert in_steps != parsed(*options, "--trainer.max_epochs=4").identity.digest


@pytest.mark.parametrize(
    ("watching", "counts"),
    [
        (callback("EarlyStopping", monitor="eval/success_rate"), True),
        (callback("EarlyStopping", monitor="losses/validation_policy_loss"), False),
        (callback("PlateauBreaker"), True),
        (callback("CriticProbe"), False),
    ],
)
def test_the_evaluation_counts_where_training_depends_on_it(watching, counts):
    pair = (with_callbacks(watching), with_callbacks(watching, eval={"num_episodes": 7}))
    assert (digest(pair[0]) != digest(pair[1])) == counts


# ---- files -------------------------------------------------------------------------------------------------------


def test_a_policy_counts_by_its_content(tmp_path):
    here, there = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    save_policy(here, GaussianActor(6, 2, 8, 1), None, {})
    shutil.copy(here, there)
    first = digest(model(policy=str(here)))
    assert digest(model(policy=str(there))) == first
    save_policy(here, GaussianActor(6, 2, 8, 1, init_log_std=-1.0), None, {})
    assert digest(model(policy=str(here))) != first


def test_what_a_policy_of_another_library_is_said_to_be_counts(tmp_path):
    torch.save({"policy": torch.zeros(1)}, path := tmp_path / "model.pt")
    silent = digest(model(policy=str(path)))
    digests = [silent]
    for said in ({"activation": "relu"}, {"activation": "elu"}, {"task": "PickCube-v1"}):
        path.with_suffix(".json").write_text(json.dumps(said))
        digests.append(digest(model(policy=str(path))))
    assert digests[3] == silent  # the task decides nothing of the networks
    assert len(set(digests)) == 3


def test_the_policies_of_another_task_are_those_of_its_names(tmp_path):
    named = parsed("--config", REPO / "configs/mc_awr.yaml", "--zoo=pointreach").identity.digest
    options = ("--model.policy=pointreach/weak", "--model.advantage.policy=pointreach/expert")
    assert parsed("--config", REPO / "configs/mc_awr.yaml", *options).identity.digest == named
    config = parsed("--config", REPO / "configs/gae_ppo.yaml", "--zoo=pointreach").config.fit
    assert config.model.init_args.policy == "pointreach/weak"
    with pytest.raises(UserError, match="The zoo has no pointreach/noisy to stand in for pickcube/noisy"):
        parsed("--config", REPO / "configs/gae_ppo.yaml", "--zoo=pointreach", "--model.policy=pickcube/noisy")


def test_a_policy_of_the_zoo_is_its_file(tmp_path):
    shutil.copy(policy_path("pickcube/weak"), tmp_path / "copy.safetensors")
    assert digest(model(policy="pickcube/weak")) == digest(model(policy=str(tmp_path / "copy.safetensors")))
    assert digest(model(policy="pickcube/weak")) != digest(model(policy="pickcube/noisy"))


def test_a_data_set_counts_by_its_content(tmp_path):
    path, digests = tmp_path / "demos.h5", []
    for data in (b"one", b"two"):
        path.write_bytes(data)
        arguments = {"env": {"class_path": "PointReach"}, "dataset": str(path)}
        digests.append(digest({**BASE, "data": {"class_path": "OfflineDataModule", "init_args": arguments}}))
    assert digests[0] != digests[1]


# ---- going on ----------------------------------------------------------------------------------------------------

OWN = settings_of(BASE)
START = Identity(content(OWN), seed=1)
FASTER = settings_of(model(learning_rate=1e-3))


def gone_on(settings, before, iterations=3, seed=1, resets=False):
    return going_on(Identity(content(settings), seed), settings, before, iterations, resets=resets)


def test_going_on_with_the_same_settings_is_the_run_that_never_stopped():
    assert gone_on(OWN, START).digest == START.digest


def test_going_on_otherwise_is_a_run_of_its_own():
    others = [
        gone_on(FASTER, START),
        gone_on(FASTER, START, iterations=4),
        gone_on(OWN, START, seed=2),
        gone_on(OWN, START, resets=True),
        gone_on(FASTER, START, resets=True),
    ]
    assert all(one.continues == START.digest for one in others)
    digests = {one.digest for one in others}
    assert len(digests) == len(others)
    assert not digests & {START.digest, Identity(content(FASTER), 1).digest}


def test_a_continued_run_that_goes_on_stays_what_it_is():
    for second in (gone_on(FASTER, START), gone_on(FASTER, START, resets=True)):
        assert gone_on(FASTER, second, iterations=5).digest == second.digest
    third = gone_on(OWN, gone_on(FASTER, START), iterations=5)
    assert third.digest not in {START.digest, gone_on(FASTER, START).digest}


def test_what_older_code_did_not_have_is_the_same_at_its_default():
    older = {key: value for key, value in content(OWN).items() if key != "model.max_grad_norm"}
    assert differing(OWN, older) == []
    assert differing(settings_of(model(max_grad_norm=0.7)), older) == ["model.max_grad_norm"]
    assert differing(OWN, {**older, "model.gone": 1}) == ["model.gone"]


# ---- runs of code that wrote no status ---------------------------------------------------------------------------


def version(folder, config, **options):
    """A run directory with nothing but its configuration."""
    made = parsed("--config", yaml.safe_dump(config, default_flow_style=True, width=10**9))
    dumped = yaml.safe_load(made.parser.dump(made.config, skip_none=False, skip_validation=True))["fit"]
    folder.mkdir(parents=True)
    with replacing(folder / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump({**dumped, **options}))
    return folder


def test_a_run_without_status_is_what_its_configuration_says(tmp_path):
    first = version(tmp_path / "old/version_0", BASE)
    assert identity_of(first, SECTIONS) == START
    last = "somewhere/old/version_0/checkpoints/last.ckpt"
    same = version(tmp_path / "old/version_1", BASE, ckpt_path=last)
    assert identity_of(same, SECTIONS).digest == START.digest
    faster = version(tmp_path / "old/version_2", model(learning_rate=1e-3), ckpt_path=last)
    assert identity_of(faster, SECTIONS).continues == START.digest
    orphan = version(tmp_path / "old/version_3", BASE, ckpt_path="gone/gone/version_9/checkpoints/last.ckpt")
    assert identity_of(orphan, SECTIONS).digest != START.digest


@pytest.mark.parametrize("text", ["", "a: [", "seed_everything: many", "- 1"])
def test_a_run_whose_configuration_cannot_be_read_is_unknown(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    assert identity_of(tmp_path, SECTIONS) is None


def test_classes_of_others_are_not_taken_for_ours():
    ours = {"class_path": "rlft.advantage.GAE", "init_args": {}}
    theirs = {"class_path": "rlft_plugins.GAE", "init_args": {}}
    found = [content(walk({"model": {"class_path": "m.M", "init_args": {"a": one}}}, {})) for one in (ours, theirs)]
    assert [one["model.a"] for one in found] == ["GAE", "rlft_plugins.GAE"]
