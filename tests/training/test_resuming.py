"""A run that goes on: what it keeps of the checkpoint, what the command line changes, and what is said of both."""

import shutil

import lightning
import pytest
import torch
import yaml

from rlft.cli import main
from rlft.training.cli import SECTIONS
from rlft.training.config_tree import flattened, walk
from rlft.training.resuming import changes
from tests.support.hand_made import is_sentence, same
from tests.support.training import last_weights, run, scalars, smoke

FACTORS = '--model.learning_rate_factors={"actor.encoder": 0.1, "critic": 2.0}'
STEPS = 8  # gradient steps per iteration of the smoke overlay: 2 epochs x 4 minibatches
FREEZE = ["--trainer.callbacks+=FreezeSchedule", '--trainer.callbacks.schedule=[{"module": "actor.log_std"}]']


class Watch(lightning.Callback):
    """Keeps Adam's state by the names of the tensors as training begins and as it ends."""

    seen: dict = {}  # noqa: RUF012  the command line makes the instances

    def on_train_start(self, trainer, pl_module):
        self.note("start", trainer, pl_module)

    def on_train_end(self, trainer, pl_module):
        self.note("end", trainer, pl_module)

    def note(self, when, trainer, module):
        state = trainer.optimizers[0].state
        self.seen[when] = {
            f"{name} {kind}": value.clone()
            for name, parameter in module.named_parameters()
            if parameter in state
            for kind, value in state[parameter].items()
        }
        self.seen[f"{when} rates"] = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}


WATCH = "--trainer.callbacks+=tests.training.test_resuming.Watch"


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def first(log_dir):
    """A run of three iterations."""
    return run(log_dir, "--trainer.max_epochs=3", WATCH)


@pytest.fixture(scope="module")
def moments(first):
    """Adam's state as the first run ended."""
    return Watch.seen["end"]


def last(run_dir):
    return run_dir / "checkpoints/last.ckpt"


def resume(first, log_dir, *options, until=4):
    return run(log_dir, f"--ckpt_path={last(first)}", f"--trainer.max_epochs={until}", *options)


def edited(first, path, **changes):
    """A copy of the last checkpoint with other entries; `None` removes one."""
    content = torch.load(last(first), weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not None}, path)
    return path


def start_notes(run_dir):
    report = (run_dir / "report.md").read_text()
    return [line[2:] for line in report.partition("## Start\n\n")[2].partition("\n\n")[0].splitlines()]


def note_of(run_dir):
    (note,) = start_notes(run_dir)
    return note


# ---- weights and moments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], [FACTORS], FREEZE], ids=["plain", "groups", "frozen"])
def test_three_and_three_iterations_equal_six(options, tmp_path):
    whole = run(tmp_path / "whole", WATCH, *options, "--trainer.max_epochs=6")
    expected = Watch.seen["end"]
    half = run(tmp_path / "parts", WATCH, *options, "--trainer.max_epochs=3")
    rest = resume(half, tmp_path / "parts", WATCH, *options, until=6)
    assert same(last_weights(whole), last_weights(rest))
    assert same(expected, Watch.seen["end"])
    assert note_of(rest).endswith("Nothing else changed.")


@pytest.mark.parametrize("options", [[], [FACTORS]], ids=["same groups", "other groups"])
def test_moments_go_to_the_tensors_they_are_of(options, first, moments, log_dir):
    resume(first, log_dir, WATCH, *options)
    assert same(moments, Watch.seen["start"])
    assert {int(step) for name, step in Watch.seen["end"].items() if name.endswith(" step")} == {4 * STEPS}


def test_moments_return_from_other_groups(moments, first, log_dir):
    there = resume(first, log_dir, WATCH, FACTORS)
    in_groups = Watch.seen["end"]
    resume(there, log_dir, WATCH, until=5)
    assert same(in_groups, Watch.seen["start"])


def test_moments_are_forgotten_when_asked(moments, first, log_dir):
    again = resume(first, log_dir, WATCH, "--reset_optimizer=true")
    assert Watch.seen["start"] == {}
    assert {int(step) for name, step in Watch.seen["end"].items() if name.endswith(" step")} == {STEPS}
    kept = resume(first, log_dir)
    assert not same(last_weights(kept), last_weights(again))


def test_what_is_frozen_from_here_on_stays_as_it_was_and_can_learn_again(first, log_dir):
    frozen = resume(first, log_dir, *FREEZE)
    assert torch.equal(last_weights(frozen)["actor.log_std"], last_weights(first)["actor.log_std"])
    assert not torch.equal(
        last_weights(frozen)["actor.encoder.0.weight"], last_weights(first)["actor.encoder.0.weight"]
    )
    free = resume(frozen, log_dir, until=5)
    assert not torch.equal(last_weights(free)["actor.log_std"], last_weights(first)["actor.log_std"])


# ---- learning rates ----------------------------------------------------------------------------------------------


def test_learning_rates_are_those_of_the_command_line(first, log_dir):
    resumed = resume(first, log_dir, WATCH, "--model.learning_rate=5e-5", FACTORS)
    expected = {"actor": 5e-5, "actor.encoder": 5e-6, "critic": 1e-4}
    assert Watch.seen["end rates"] == pytest.approx(expected)
    logged = scalars(resumed)
    for name, rate in expected.items():
        assert [value for _, value in logged[f"charts/learning_rate/{name}"]] == pytest.approx([rate])
    assert "learning_rate: 5.0e-05" in (resumed / "config.yaml").read_text()


def test_a_gradient_step_has_the_size_of_its_learning_rate(first, log_dir):
    still = resume(first, log_dir, "--model.learning_rate=0")
    assert same(last_weights(still), last_weights(first))


def test_hyperparameters_in_a_checkpoint_do_not_win_over_the_command_line(first, log_dir, tmp_path):
    """Lightning 2.6 would let them."""
    path = edited(first, tmp_path / "trap.ckpt", hyper_parameters={"learning_rate": 0.123})
    resumed = run(log_dir, f"--ckpt_path={path}", "--trainer.max_epochs=4", "--model.learning_rate=5e-5")
    assert [value for _, value in scalars(resumed)["charts/learning_rate/actor"]] == pytest.approx([5e-5])


# ---- what is said ------------------------------------------------------------------------------------------------


def test_changes_are_printed_and_recorded(first, log_dir, capsys):
    options = ["--model.learning_rate=5e-5", "--model.update.clip_coef=0.1", *FREEZE]
    resumed = resume(first, log_dir, *options, until=20)
    assert note_of(resumed) == (
        f"Continues {last(first)} after iteration 3 of 3, to 20; Adam keeps its moments of 17 tensors. "
        "Changed: model.learning_rate 0.0003 -> 5e-05; model.update.clip_coef 0.2 -> 0.1; "
        "trainer.callbacks.FreezeSchedule added; trainer.callbacks.Watch removed."
    )
    assert note_of(resumed) in capsys.readouterr().out.splitlines()


def test_that_nothing_changed_is_said(first, log_dir):
    resumed = resume(first, log_dir, WATCH, "--reset_optimizer=true")
    assert note_of(resumed) == (
        f"Continues {last(first)} after iteration 3 of 3, to 4; Adam starts anew. Nothing else changed."
    )


def test_that_changes_are_unknown_is_said(first, log_dir, tmp_path):
    path = edited(first, tmp_path / "old.ckpt", configuration=None, notes=None)
    note = note_of(run(log_dir, f"--ckpt_path={path}", "--trainer.max_epochs=4"))
    assert note.startswith(f"Continues {path} after iteration 3, to 4;")
    assert note.endswith("It is unknown what changed: the checkpoint has no record of its configuration.")


def test_a_run_that_goes_on_twice_tells_both(first, log_dir):
    second = resume(first, log_dir, "--model.learning_rate=1e-4")
    third = resume(second, log_dir, "--model.learning_rate=5e-5", until=5)
    before, after = start_notes(third)
    assert before == note_of(second)
    assert f"Continues {last(second)} after iteration 4 of 4, to 5;" in after
    assert after.endswith("Changed: model.learning_rate 0.0001 -> 5e-05.")


def test_a_run_of_injected_weights_still_says_so_when_it_goes_on(first, log_dir):
    options = ["--model.inject=encoder", f"--model.inject_from={last(first)}"]
    injected = run(log_dir, *options, "--trainer.max_epochs=1")
    (note,) = start_notes(injected)
    resumed = resume(injected, log_dir, *options)
    assert start_notes(resumed)[0] == note
    assert len(start_notes(resumed)) == 2
    assert resumed.parent == injected.parent


def test_that_averaged_weights_go_on_is_said(log_dir):
    averaged = run(log_dir, "--trainer.max_epochs=1", "--trainer.callbacks+=WeightEMA")
    assert note_of(resume(averaged, log_dir)).endswith("Without WeightEMA it is the averaged weights that go on.")
    assert "averaged" not in note_of(resume(averaged, log_dir, "--trainer.callbacks+=WeightEMA"))


def configuration(*callbacks, **model):
    init_args = {"advantage": {"class_path": "rlft.advantage.GAE", "init_args": {"gamma": 0.8, "gae_lambda": 0.9}}}
    return {
        "seed_everything": 1,
        "ckpt_path": None,
        "model": {"class_path": "rlft.modules.FinetuneModule", "init_args": init_args | model},
        "trainer": {"max_epochs": 10, "callbacks": list(callbacks) or None},
    }


def freeze(module):
    return {"class_path": "callbacks.FreezeSchedule", "init_args": {"schedule": [{"module": module}]}}


def test_a_configuration_is_recorded_flat():
    assert flattened(walk(configuration(freeze("a"), freeze("b"), learning_rate=1e-3), SECTIONS)) == {
        "seed_everything": 1,
        "ckpt_path": None,
        "model": "FinetuneModule",
        "model.advantage": "GAE",
        "model.advantage.gamma": 0.8,
        "model.advantage.gae_lambda": 0.9,
        "model.learning_rate": 1e-3,
        "trainer.max_epochs": 10,
        "trainer.callbacks.FreezeSchedule": "FreezeSchedule",
        "trainer.callbacks.FreezeSchedule.schedule": [{"module": "a"}],
        "trainer.callbacks.FreezeSchedule_2": "FreezeSchedule",
        "trainer.callbacks.FreezeSchedule_2.schedule": [{"module": "b"}],
    }


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (configuration(), configuration(), []),
        (configuration(factors=None), configuration(factors={"actor": 0.1}), ['model.factors null -> {"actor": 0.1}']),
        (
            configuration(),
            configuration(advantage={"class_path": "rlft.advantage.IQL", "init_args": {"expectile": 0.7}}),
            ["model.advantage GAE -> IQL"],
        ),
        (configuration(), configuration(freeze("a")), ["trainer.callbacks.FreezeSchedule added"]),
        (configuration(freeze("a")), configuration(), ["trainer.callbacks.FreezeSchedule removed"]),
        (
            configuration(freeze("a")),
            configuration(freeze("b")),
            ['trainer.callbacks.FreezeSchedule.schedule [{"module": "a"}] -> [{"module": "b"}]'],
        ),
        (configuration(), configuration(new=3), ["model.new 3 added"]),
        (configuration(), configuration(new=None), []),
    ],
)
def test_what_differs_between_two_configurations(before, after, found):
    assert changes(flattened(walk(before, SECTIONS)), walk(after, SECTIONS)) == found


# ---- what cannot go on -------------------------------------------------------------------------------------------


def refusal(log_dir, capsys, *options):
    """The sentence; nothing is written."""
    assert main(smoke(log_dir, *options)) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    assert not log_dir.exists() or not list(log_dir.iterdir())
    return text


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model.actor.hidden_dim=16", "model.actor.hidden_dim is 16, but"),
        ("--model.actor.init_log_std=-2", "was made with -0.5"),
        ("--model.critic.num_layers=2", "model.critic.num_layers is 2"),
        ("--model.inject=encoder --model.inject_from={last}", "model.inject"),
        ("--model.policy={last}", "model.policy is"),
        ("--model.advantage=IQL", "it has no critic.q.0.0.weight and 31 more"),
        ("--model.advantage=MonteCarloRerollout", "it has critic.value.0.weight and 7 more, unknown here"),
        ("--model.update=ConditionedRECAP", "it has no actor.embedding"),
        ("--trainer.max_epochs=3", "has done its 3 iterations"),
    ],
)
def test_what_a_continued_run_cannot_change_is_refused(option, words, first, tmp_path, capsys):
    options = option.format(last=last(first)).split()
    arguments = [f"--ckpt_path={last(first)}", "--trainer.max_epochs=4", *options]
    assert words in refusal(tmp_path / "logs", capsys, *arguments)


def test_other_sizes_than_an_unrecorded_checkpoints_are_refused(first, tmp_path, capsys):
    path = edited(first, tmp_path / "old.ckpt", configuration=None)
    options = [f"--ckpt_path={path}", "--trainer.max_epochs=4", "--model.actor.hidden_dim=16"]
    text = refusal(tmp_path / "logs", capsys, *options)
    assert "its actor.encoder.0.weight is [32, 6], here [16, 6] and 6 more" in text
    _, *arguments = smoke(tmp_path / "logs", *options)
    assert main(["validate", *arguments]) == 1
    assert "its actor.encoder.0.weight is [32, 6]" in capsys.readouterr().err


def test_tensors_of_other_names_are_refused(first, tmp_path, capsys):
    """As before the actor had parts."""
    state = torch.load(last(first), weights_only=True)["state_dict"]
    renamed = {name.replace("actor.encoder.", "actor.mean."): weight for name, weight in state.items()}
    path = edited(first, tmp_path / "old.ckpt", state_dict=renamed)
    text = refusal(tmp_path / "logs", capsys, f"--ckpt_path={path}", "--trainer.max_epochs=4")
    assert "it has no actor.encoder.0.weight and 3 more; it has actor.mean.0.weight and 3 more, unknown here" in text


def test_moments_of_unknown_tensors_are_refused_unless_forgotten(first, tmp_path, capsys):
    path = edited(first, tmp_path / "old.ckpt", optimizer_parameters=None)
    options = [f"--ckpt_path={path}", "--trainer.max_epochs=4"]
    assert "--reset_optimizer" in refusal(tmp_path / "logs", capsys, *options)
    run(tmp_path / "logs", *options, "--reset_optimizer=true", WATCH)
    assert Watch.seen["start"] == {}


def test_weights_alone_are_refused(first, tmp_path, capsys):
    path = edited(first, tmp_path / "weights.ckpt", optimizer_states=None)
    text = refusal(tmp_path / "logs", capsys, f"--ckpt_path={path}", "--trainer.max_epochs=4")
    assert f"start a new run with --model.policy {path}" in text


def test_a_new_run_has_no_optimiser_to_reset(tmp_path, capsys):
    assert "--ckpt_path" in refusal(tmp_path / "logs", capsys, "--reset_optimizer=true")


def test_a_run_refused_before_it_begins_leaves_nothing(tmp_path, capsys):
    assert "nowhere" in refusal(tmp_path / "logs", capsys, "--model.learning_rate_factors={nowhere: 0.1}")


# ---- which run `last` is -----------------------------------------------------------------------------------------


def as_by_older_code(version, name):
    """The run of a version as code wrote it that knew of no identity, and had an option less."""
    folder = version.parent.parent / name
    shutil.move(version.parent, folder)
    version = folder / version.name
    (version / "status.json").unlink(missing_ok=True)
    config = yaml.safe_load((version / "config.yaml").read_text())
    del config["model"]["init_args"]["on_bad_numbers"]
    (version / "config.yaml").write_text(yaml.safe_dump({**config, "run_name": name}))
    content = torch.load(last(version), weights_only=True)
    del content["identity"], content["configuration"]["model.on_bad_numbers"]
    torch.save(content, last(version))
    return version


def test_last_is_the_newest_run_with_these_settings_whatever_it_is_called(tmp_path):
    other = run(tmp_path, "--trainer.max_epochs=1", "--model.learning_rate=1e-3")
    older = as_by_older_code(run(tmp_path, "--trainer.max_epochs=1"), "pointreach_scratch-gae_ppo-seed1")
    run(tmp_path, "--trainer.max_epochs=1", "--seed_everything=2")
    second = run(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=2")
    assert second == older.parent / "version_1"
    assert note_of(second).endswith("Nothing else changed.")
    third = run(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=3", "--eval.num_episodes=3")
    assert third == older.parent / "version_2"
    assert same(last_weights(third), last_weights(run(tmp_path / "whole", "--trainer.max_epochs=3")))
    faster = run(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=2", "--model.learning_rate=0.001")
    assert faster.parent == other.parent


def test_the_nearest_run_is_named_and_the_remedy_works(first, tmp_path, capsys):
    shutil.copytree(first, tmp_path / "logs" / first.parent.name / first.name)
    nearest = tmp_path / "logs" / first.parent.name / first.name
    options = [WATCH, "--model.learning_rate=1e-4", "--trainer.max_epochs=4"]
    assert main(smoke(tmp_path / "logs", *options, "--ckpt_path=last")) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    assert f"the nearest, {nearest}, has model.learning_rate 0.0003 (here 0.0001). " in text
    remedy = text.strip().rstrip(".").rpartition(" give ")[2].split()
    assert remedy == ["--ckpt_path", str(last(nearest))]
    gone_on = run(tmp_path / "logs", *options, *remedy)
    assert gone_on.parent != nearest.parent
    assert "-continued-" in gone_on.parent.name
    assert torch.load(last(gone_on), weights_only=True)["identity"]["continues"]
    assert run(tmp_path / "logs", *options[:-1], "--trainer.max_epochs=5", "--ckpt_path=last").parent == gone_on.parent


def test_a_run_that_has_other_networks_is_gone_on_with_as_it_was(first, tmp_path, capsys):
    shutil.copytree(first, tmp_path / "logs" / first.parent.name / first.name)
    assert main(smoke(tmp_path / "logs", "--model.actor.hidden_dim=16", WATCH, "--ckpt_path=last")) == 1
    text = capsys.readouterr().err
    assert is_sentence(text)
    remedy = text.strip().rstrip(".").rpartition(" give ")[2].replace(" and ", " ")
    arguments = remedy.replace("above 3", "4").split()
    assert main(["fit", *arguments, f"--log_dir={tmp_path / 'logs'}"]) == 0
    assert (tmp_path / "logs" / first.parent.name / "version_1").is_dir()


def test_without_any_run_the_file_is_asked_for(tmp_path, capsys):
    assert "give its file as --ckpt_path" in refusal(tmp_path / "logs", capsys, "--ckpt_path=last")


def test_the_same_settings_are_the_same_run_also_from_a_file_elsewhere(first, log_dir, tmp_path):
    elsewhere = resume(first, tmp_path / "elsewhere", WATCH)
    assert elsewhere.parent.name == first.parent.name
    assert resume(first, log_dir, WATCH).parent == first.parent
    assert resume(first, log_dir, WATCH, "--reset_optimizer=true").parent != first.parent
