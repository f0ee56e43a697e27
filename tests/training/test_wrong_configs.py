"""Every wrong configuration that the schema has is refused before anything is simulated, and nothing is left behind."""

import re

import pytest

from rlft.cli import main
from rlft.envs import Gymnasium, ManiSkill, PointReach, Racing
from rlft.envs.point_reach import PointReachBatch
from rlft.errors import UserError
from rlft.training.config_tree import canonical
from tests.support.hand_made import is_sentence
from tests.support.parsed import answer_to, text, values
from tests.support.schema import BASE, NAN, merged, parameters, places, wrong_configs

BUILT = "An environment was built."
WRONG = wrong_configs()
LEGAL = {  # what looks wrong but has a meaning; whatever else the schema's types allow is refused
    "BCModule.log_std_min=-1",
    "Gymnasium.options={'nonsense': 'much'}",  # the environment's constructor decides; so does that of a task
    "Gymnasium.success_return=-1",
    "Racing.waypoints=0",  # observes none
    "BCModule.max_grad_norm=inf",  # clips nothing
    "FinetuneModule.max_grad_norm=inf",
    "FinetuneModule.warmup_iterations=0",
    "OffPolicyModule.warmup_iterations=0",
    "OffPolicyModule.learning_rate_warmup=0",
    "OffPolicyModule.residual_steps=0",
    "IQNModule.horizon=0",
    "ReplayDataModule.offline_iterations=0",
    "OffPolicyModule.max_grad_norm=inf",
    "EntropyRegularised.entropy_per_action=-1",
    "ReplayDataModule.num_workers=0",
    "FinetuneModule.learning_rate_warmup=0",
    "BCModule.learning_rate_warmup=0",
    "AWR.beta=inf",  # all weights are equal
    "AWR.max_weight=inf",
    "AWR.log_std_min=-1",
    "RECAP.beta=inf",
    "RECAP.max_weight=inf",
    "RECAP.log_std_min=-1",
    "RECAP.log_std_max=-1",
    "ConditionedRECAP.log_std_min=-1",
    "OfflineDataModule.num_workers=0",  # simulates in the main process
    "RolloutDataModule.num_workers=0",
    "GaussianActor.init_log_std=-1",
    "CategoricalActor.head_dim=0",  # a linear head
    "EncodedActor.head_dim=0",
    "EncodedActor.init_log_std=-1",
    "EncodedCritic.head_dim=0",
    "AutoencoderModule.learning_rate_warmup=0",
    "AutoencoderModule.max_grad_norm=inf",
    "IQNModule.learning_rate_warmup=0",
    "IQNModule.max_grad_norm=inf",
    "IQNModule.warmup_iterations=0",
    "CriticProbe.seed=0",
    "DeterministicEval.seed=0",
    "RecordVideo.seed=0",
    "Freeze.start=0",
    "Freeze.warmup=0",
}
ALLOWED = re.compile(
    r"must|expected|choose one of|needs|required|less than|; this class has none|--help`", re.IGNORECASE
)


def answer(config, log_dir, capsys):
    """Exit status and what was written to stderr."""
    status = main(["fit", f"--config={text(config)}", f"--log_dir={log_dir}"])
    return status, capsys.readouterr().err


def answer_when_parsed(wrong, right, log_dir):
    """The same for a number that the parser takes; `right` are the parsed values of its place."""
    config = right.clone()
    hint = parameters(wrong.place)[wrong.key]
    wrong.place.arguments(config.fit)[wrong.key] = canonical(wrong.value, hint)
    config.fit.log_dir = str(log_dir)
    return 1, answer_to(config, log_dir)


@pytest.fixture
def no_environment(monkeypatch):
    """Environments cannot be built."""

    def make(self, num_envs):
        raise UserError(BUILT)

    for factory in (PointReach, ManiSkill, Racing, Gymnasium):
        monkeypatch.setattr(factory, "make", make)


@pytest.fixture
def no_simulation(monkeypatch):
    """Environments can be built but not used."""

    def use(self, *arguments):
        raise AssertionError("something was simulated")

    for method in ("step", "initial_states", "restore"):
        monkeypatch.setattr(PointReachBatch, method, use)


def test_there_are_many_and_what_is_called_legal_is_among_them():
    assert len(WRONG) - len(LEGAL) > 450
    assert {str(wrong) for wrong in WRONG} >= LEGAL
    assert len({str(wrong) for wrong in WRONG}) == len(WRONG)


def complaint(wrong, status, err):
    """What is wrong with the answer to a wrong config, if anything."""
    if status != 1 or BUILT in err:
        return "accepted"
    if not (err.startswith("rlft: ") and is_sentence(err)):
        return f"no sentence: {err}"
    place = {".".join(wrong.place.path), wrong.place.name}
    if wrong.key not in err or not any(name in err for name in place):
        return f"key not named: {err}"
    return "" if ALLOWED.search(err) else f"does not say what is allowed: {err}"


@pytest.mark.parametrize("place", places(), ids=lambda place: place.name)
@pytest.mark.usefixtures("no_environment")
def test_wrong_arguments_are_refused_before_an_environment_is_built(place, tmp_path, capsys):
    complaints = {}
    right = values(place.config({}))
    for wrong in WRONG:
        if wrong.place == place:
            if wrong.is_parsed:
                status, err = answer(wrong.config, tmp_path / "logs", capsys)
            else:
                status, err = answer_when_parsed(wrong, right, tmp_path / "logs")
            if str(wrong) in LEGAL:
                if BUILT not in err:
                    complaints[str(wrong)] = f"refused: {err}"
            elif found := complaint(wrong, status, err):
                complaints[str(wrong)] = found
    assert complaints == {}
    assert not [*tmp_path.rglob("*/*")]  # no run directory


def model(**arguments):
    return {"model": {"init_args": arguments}}


def rerollout(**arguments):
    return model(advantage={"class_path": "MonteCarloRerollout", "init_args": arguments})


def update(name, **arguments):
    return model(update={"class_path": name, "init_args": arguments})


def data(**arguments):
    return {"data": {"init_args": arguments}}


def offline(**arguments):
    arguments = {"env": {"class_path": "PointReach"}, "num_workers": 0, **arguments}
    return {"data": {"class_path": "OfflineDataModule", "init_args": arguments}}


def cloning(**arguments):
    return {**offline(), "model": {"class_path": "BCModule", "init_args": arguments}}


def callback(name, **arguments):
    return {"trainer": {"callbacks": [{"class_path": name, "init_args": arguments}]}}


def freeze(**arguments):
    return callback("FreezeSchedule", schedule=[{"module": "critic", **arguments}])


def trainer(**arguments):
    return {"trainer": arguments}


def both(first, second):
    return merged({**BASE, **first}, second) if first.keys() == second.keys() else {**first, **second}


RATES, NOISE = "LearningRateSchedule", "ExplorationSchedule"
PAIRS = [  # settings that are right apart but not together or not in this order, and what the answer must mention
    (model(inject="both"), "model.inject both needs model.inject_from"),
    (model(inject_from="pickcube/weak"), "of no use without model.inject"),
    (both(rerollout(), model(warmup_iterations=1)), "model.warmup_iterations is of no use"),
    (both(rerollout(), model(critic_policy="pickcube/weak")), "model.critic_policy is of no use"),
    (both(rerollout(), update("CriticOnly")), "model.update trains only the critic"),
    (rerollout(antithetic=True, num_samples=3), "model.advantage.antithetic needs an even number"),
    (rerollout(antithetic=True, num_samples=4, pilot_samples=3), "model.advantage.antithetic needs an even number"),
    (rerollout(num_samples=4, pilot_samples=5), "model.advantage.pilot_samples is 5; it must be from 2 to num_samples"),
    (
        rerollout(antithetic=True, num_samples=4, pilot_samples=2),
        "model.advantage.pilot_samples is 2; it must be from 4",
    ),
    (both(rerollout(center="state", center_actions=4), data(num_envs=4)), "data.num_envs is 4; model.advantage"),
    (update("ConditionedRECAP", guidance=2.0, null_probability=0.0), "model.update.guidance 2.0 needs"),
    (update("RECAP", log_std_min=1.0, log_std_max=0.0), "model.update.log_std_min is 1.0; it must not be above"),
    (update("RECAP", log_std_min=NAN, log_std_max=None), "model.update.log_std_min is nan; it must be finite"),
    (data(num_minibatches=7), "data.num_minibatches is 7, which does not divide"),
    (data(num_envs=10, num_steps=10, num_minibatches=1, total_timesteps=99), "data.total_timesteps is 99, less than"),
    (offline(total_timesteps=10**6), "data.total_timesteps means nothing for fixed data"),
    (offline(dataset="nowhere.h5"), "nowhere.h5"),
    (offline(dataset="nowhere.safetensors"), "nowhere.safetensors"),
    (both(offline(), callback(NOISE, points=[[0, -1]], unit="env_steps")), f"{NOISE}.unit is env_steps"),
    (both(offline(), callback(RATES, points=[[0, 1]], unit="env_steps")), f"{RATES}.unit is env_steps"),
    (callback("EarlyStopping", monitor="losses/validation_policy_loss"), "needs data OfflineDataModule"),
    (callback("PlateauBreaker", duration=6, cooldown=11), "PlateauBreaker.cooldown is 11; it must be at least 12"),
    (trainer(callbacks=2 * freeze()["trainer"]["callbacks"]), "FreezeSchedule is there twice"),
    (freeze(start=3, end=3), "end is 3; it must be above start"),
    (freeze(warmup=3), "warmup is of no use without an end"),
    (freeze(module="critics"), "there is no submodule 'critics'"),
    (model(learning_rate_factors={"actors": 0.1}), "there is no submodule 'actors'"),
    (model(learning_rate_factors={"actor": -1.0}), "model.learning_rate_factors actor is -1.0; it must be at least 0"),
    (callback(RATES, points=[[0, 1]], group="actors"), "there is no submodule 'actors'"),
    (callback(RATES, points=[]), f"{RATES}.points has the steps []"),
    (callback(RATES, points=[[3, 1], [2, 1]]), f"{RATES}.points has the steps [3, 2]"),
    (callback(RATES, points=[[0, -1]]), f"{RATES}.points has -1.0 at step 0; it must be at least 0"),
    (callback(NOISE, points=[[0, NAN]]), f"{NOISE}.points has nan at step 0; it must be finite"),
    (both(rerollout(), callback("CriticProbe")), "has no critic to probe"),
    (both(data(num_envs=5, num_steps=10), callback("CriticProbe", num_steps=3)), "CriticProbe.num_steps 3 makes 15"),
    (cloning(offsets=[1]), "model.offsets is [1]; it must have 0"),
    (cloning(offsets=[0, 1, 1]), "model.offsets is [0, 1, 1]; it must have 0"),
    (cloning(offsets=[0, 1], offset_weights=[1.0]), "model.offset_weights is [1.0]; it must be one number for each"),
    (cloning(offsets=[0, 1], offset_weights=[0, 0]), "not all of them 0"),
    (
        cloning(head_dropout=0.1, actor={"class_path": "rlft.networks.GaussianActor", "init_args": {"num_layers": 1}}),
        "head_",
    ),
    ({"model": {"class_path": "BCModule"}}, "model.demonstrator is null"),
    ({"pitfalls": {"silence": ["nonsense"]}}, "pitfalls.silence has 'nonsense'; it must be among"),
    ({"reset_optimizer": True}, "--reset_optimizer is of use only with --ckpt_path"),
    ({"seed_everything": -1}, "seed_everything is -1; it must be a number from 0"),
    ({"ckpt_path": "nowhere.ckpt"}, "nowhere.ckpt"),
    (trainer(max_time="soon"), "trainer.max_time is soon; it must be a time as DD:HH:MM:SS"),
    (trainer(devices=0), "trainer.devices is 0; it must be how many learners, or which devices"),
    (trainer(devices="many"), "trainer.devices is many; it must be how many learners, or which devices"),
    (trainer(accelerator="auto", devices="0,99"), "trainer.devices is 0,99; it must be among the GPUs, of which there"),
    (trainer(accelerator="abacus"), "trainer.accelerator: Expected one of ['auto', 'cpu'"),
    (trainer(precision="17"), "trainer.precision: Expected one of ['32-true'"),
]


@pytest.mark.parametrize(("overlay", "said"), PAIRS, ids=lambda part: part[:50] if isinstance(part, str) else "")
@pytest.mark.usefixtures("no_simulation")
def test_contradictions_are_refused_before_anything_is_simulated(overlay, said, tmp_path, capsys):
    status, err = answer(merged(BASE, overlay), tmp_path / "logs", capsys)
    assert status == 1
    assert err.startswith("rlft: ")
    assert is_sentence(err)
    assert said in err
    assert not [*tmp_path.rglob("*/*")]  # no run directory


MISSING = [
    model(policy="nowhere"),
    model(critic_policy="nowhere"),
    model(inject="both", inject_from="nowhere"),
    rerollout(policy="nowhere"),
    callback("CriticProbe", policy="nowhere"),
    callback("CriticProbe", states_policy="nowhere"),
    cloning(demonstrator="nowhere"),
    offline(dataset="nowhere.h5"),
    offline(dataset="nowhere.safetensors"),
]


@pytest.mark.parametrize("overlay", MISSING, ids=str)
@pytest.mark.usefixtures("no_environment")
def test_files_that_are_not_there_are_missed_before_an_environment_is_built(overlay, tmp_path, capsys):
    status, err = answer(merged(BASE, overlay), tmp_path / "logs", capsys)
    assert status == 1
    assert is_sentence(err)
    assert "nowhere" in err
    assert not [*tmp_path.rglob("*/*")]
