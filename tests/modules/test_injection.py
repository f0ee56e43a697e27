"""Weights of another policy in a part of the actor that a run starts with."""

import pytest
import torch

from rlft.cli import main
from rlft.errors import UserError
from rlft.modules.injection import inject_part, start_actor, start_name
from rlft.networks import ConditionedActor, GaussianActor, ValueCritic
from rlft.networks.policy_files import load_policy, save_policy
from rlft.update import ConditionedRECAP
from tests.support.hand_made import BiasActor, is_sentence, same, weights_of
from tests.support.training import module, run, smoke

PARTS = {
    "encoder": {"encoder"},
    "action_head": {"action_head"},
    "both": {"encoder", "action_head"},
    "full": {"encoder", "action_head", "log_std"},
}


def random(network, seed):
    """No two tensors of two seeds are equal, as biases that begin as zeros are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=generator)
    return network


def gaussian(seed=0, hidden_dim=16, num_layers=3):
    return random(GaussianActor(6, 2, hidden_dim, num_layers), seed)


@pytest.fixture
def source(tmp_path):
    """A policy file with a critic."""
    path = tmp_path / "source.safetensors"
    save_policy(path, gaussian(seed=1), random(ValueCritic(6, 16, 2), 1), {})
    return str(path)


def saved(tmp_path, actor):
    path = tmp_path / "other.safetensors"
    save_policy(path, actor, None, {})
    return str(path)


def refusal(actor, inject_from, mode):
    """The sentence, after which the actor is as it was."""
    before = weights_of(actor)
    with pytest.raises(UserError) as refused:
        inject_part(actor, inject_from, mode)
    assert is_sentence(str(refused.value))
    assert same(before, weights_of(actor))
    return str(refused.value)


# ---- what is copied ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARTS)
def test_the_part_is_copied_bit_for_bit_and_nothing_else_is_touched(source, mode):
    actor, given = gaussian(), weights_of(load_policy(source).actor)
    before = weights_of(actor)
    inject_part(actor, source, mode)
    for name, weight in weights_of(actor).items():
        injected = name.split(".")[0] in PARTS[mode]
        assert torch.equal(weight, (given if injected else before)[name]), name
        assert not torch.equal(weight, (before if injected else given)[name]), name


def test_none_injects_nothing():
    actor = gaussian()
    before = weights_of(actor)
    assert inject_part(actor, None, "none") == []
    assert same(before, weights_of(actor))


def test_the_zoo_is_a_source():
    actor = random(GaussianActor(42, 8, 256, 3), 0)
    inject_part(actor, "pickcube/expert", "encoder")
    assert same(weights_of(actor.encoder), weights_of(load_policy("pickcube/expert").actor.encoder))


def test_a_policy_that_is_finetuned_takes_a_part_of_another(source, tmp_path):
    start = gaussian(seed=2)
    actor = module(policy=saved(tmp_path, start), inject_from=source, inject="action_head").actor
    assert same(weights_of(actor.action_head), weights_of(load_policy(source).actor.action_head))
    assert same(weights_of(actor.encoder), weights_of(start.encoder))


def test_injection_comes_before_the_update_adapts_the_actor(source):
    actor = module(actor=lambda o, a: gaussian(), inject_from=source, inject="both", update=ConditionedRECAP()).actor
    assert isinstance(actor, ConditionedActor)
    assert same(weights_of(actor.encoder), weights_of(load_policy(source).actor.encoder))


def test_parts_of_a_conditioned_policy_go_into_a_plain_one(tmp_path):
    conditioned = ConditionedActor(gaussian(seed=1))
    path, actor = saved(tmp_path, conditioned), gaussian()
    (note,) = inject_part(actor, path, "both")
    assert same(weights_of(actor.encoder), weights_of(conditioned.encoder))
    assert "embedding (1 tensor, 48 numbers)" in note.partition("Not used of the file")[2]


# ---- what is said of it ------------------------------------------------------------------------------------------


def test_the_report_lists_every_tensor_once(source):
    """6 -> 16 -> 16 is the encoder, 16 -> 16 -> 2 the head; the critic is 6 -> 16 -> 16 -> 1."""
    encoder, head = 6 * 16 + 16 + 16 * 16 + 16, 16 * 16 + 16 + 16 * 2 + 2
    critic = 6 * 16 + 16 + 16 * 16 + 16 + 16 + 1
    assert inject_part(gaussian(), source, "encoder") == [
        f"Injected from {source}: encoder (4 tensors, {encoder} numbers). "
        f"Left as it was: log_std (1 tensor, 2 numbers), action_head (4 tensors, {head} numbers). "
        f"Not used of the file: log_std (1 tensor, 2 numbers), action_head (4 tensors, {head} numbers), "
        f"critic (6 tensors, {critic} numbers)."
    ]


def test_the_report_of_a_full_injection_leaves_nothing(tmp_path):
    (note,) = inject_part(gaussian(), saved(tmp_path, gaussian(seed=1)), "full")
    assert note.endswith("Left as it was: nothing. Not used of the file: nothing.")


def test_notes_of_a_module_are_those_of_its_injection(source):
    actor = gaussian()
    model = module(actor=lambda o, a: actor, inject_from=source, inject="full")
    assert model.notes == inject_part(gaussian(), source, "full")


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PARTS)
def test_another_shape_is_refused_with_both(source, mode):
    text = refusal(gaussian(hidden_dim=32), source, mode)
    misfit = {
        "action_head": "action_head.0.weight is [16, 16] in {} and [32, 32] in this actor",
    }.get(mode, "encoder.0.weight is [16, 6] in {} and [32, 6] in this actor")
    assert misfit.format(repr(source)) in text


def test_a_misfit_in_the_second_part_leaves_the_first_as_it_was(tmp_path):
    """A policy of three actions instead of two has the same encoder."""
    text = refusal(gaussian(), saved(tmp_path, GaussianActor(6, 3, 16, 3)), "both")
    assert "action_head.2.weight is [3, 16]" in text
    assert "[2, 16] in this actor" in text


@pytest.mark.parametrize(
    ("layers", "words"), [(2, "has no tensor encoder.2"), (4, "this actor has no tensor encoder.4")]
)
def test_another_number_of_layers_is_refused(layers, words, tmp_path):
    assert words in refusal(gaussian(), saved(tmp_path, gaussian(num_layers=layers)), "encoder")


@pytest.mark.parametrize(("mode", "words"), [("encoder", "encoder.0.weight"), ("full", "no tensor")])
def test_an_actor_without_the_part_is_refused(source, mode, words):
    assert words in refusal(BiasActor([0.0, 0.0]), source, mode)


def test_a_plain_actor_does_not_take_all_of_a_conditioned_one(tmp_path):
    text = refusal(gaussian(), saved(tmp_path, ConditionedActor(gaussian(seed=1))), "full")
    assert "this actor has no tensor" in text


@pytest.mark.parametrize(
    ("inject_from", "mode", "words"),
    [
        (None, "encoder", "needs model.inject_from"),
        ("pickcube/weak", "none", "of no use without model.inject"),
        ("pickcube/nobody", "encoder", "pickcube/nobody"),
    ],
)
def test_half_a_request_and_unknown_sources_are_refused(inject_from, mode, words):
    assert words in refusal(gaussian(), inject_from, mode)


# ---- who the start policy is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("none", "a/b"),
        ("encoder", "a/b with encoder of c"),
        ("both", "a/b with encoder and action_head of c"),
        ("full", "c"),
    ],
)
def test_a_start_policy_with_injected_parts_has_another_name(mode, name):
    assert start_name("a/b", None if mode == "none" else "c", mode) == name


def test_a_critic_is_not_of_a_policy_that_has_been_changed(source, tmp_path):
    settings = ["gamma", "reward_mode", "reward_scale", "bootstrap_at_done", "expectile"]
    path = tmp_path / "trained.safetensors"
    info = {"critic": {"policy": "the policy trained with it"}}
    save_policy(path, gaussian(), ValueCritic(6, 16, 2), info)
    start = {"policy": str(path), "critic_policy": str(path), "accept_critic_mismatch": settings}
    assert module(**start)
    with pytest.raises(UserError, match="with encoder of"):
        module(**start, inject_from=source, inject="encoder")


# ---- from the command line ---------------------------------------------------------------------------------------


def test_a_run_says_what_was_injected(tmp_path, capsys):
    first = run(tmp_path / "first", "--trainer.max_epochs=1")
    checkpoint = first / "checkpoints/last.ckpt"
    capsys.readouterr()
    second = run(
        tmp_path / "second", "--model.inject=encoder", f"--model.inject_from={checkpoint}", "--trainer.max_epochs=1"
    )
    note = f"Injected from {checkpoint}: encoder (4 tensors, 1,280 numbers)."
    assert capsys.readouterr().out.splitlines()[0].startswith(note)
    assert f"## Start\n\n- {note}" in (second / "report.md").read_text()
    assert "-inject_from_last-inject_encoder-" in second.parent.name
    assert second.parent.name != first.parent.name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--model.inject=encoder", "needs model.inject_from"),
        ("--model.inject_from=pickcube/weak", "of no use"),
        ("--model.inject=encoder --model.inject_from=pickcube/weak", "[256, 42]"),
        ("--model.inject=mean --model.inject_from=pickcube/weak", "mean"),
    ],
)
def test_a_refused_injection_writes_nothing(options, words, tmp_path, capsys):
    assert main(smoke(tmp_path, *options.split())) == 1
    text = capsys.readouterr().err
    assert words in text
    assert len(text.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_start_policy_of_another_task_is_refused_with_the_way_to_have_none(source):
    with pytest.raises(UserError, match=r"or start anew with model\.policy null") as refused:
        start_actor(source, GaussianActor, 4, 1)
    assert is_sentence(str(refused.value))
