"""Policies as files: weights in safetensors, everything else in a json beside them. Nothing is ever unpickled.

A policy is named by a zoo name (`pickcube/weak`), by the path of its `.safetensors` file, by the path of a checkpoint:
rlft's own `.ckpt`, or what another library saved; or by the folder of a run or of a version of it, whose best is taken.

The json, and a checkpoint of ours, say under `networks` which classes of actor and critic to build, and with which
arguments. Reading a policy imports the modules of these classes and calls their constructors: code that is installed
here, which the file can only choose. Files that do not say it are older ones of ours (`old_policy_files`), or those of
other libraries (`foreign`), also beside a json of that name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlft.errors import UserError, did_you_mean
from rlft.files.atomic import replacing
from rlft.files.folders import typed_path
from rlft.files.tensors import read_tensors, read_torch, write_tensors
from rlft.networks import NoCritic, old_policy_files
from rlft.networks.descriptions import build, describe, shapes
from rlft.networks.foreign import HINT_KEYS, Contents, contents_of, hints_of, stable_baselines, translate
from rlft.types import Actor, Critic, Network

ZOO = Path(__file__).parents[1] / "zoo"
FORMAT = "rlft-policy-1"
MADE_FOR = "made_for"  # entry of a checkpoint: the environment, as a policy's json says it
NETWORKS = "networks"  # where a file says what to build
BEST = "policies/best.safetensors"  # in the folder of a run's version
N = TypeVar("N", bound=Network)


@dataclass(frozen=True)
class Policy:
    """An actor, maybe its critic, and where they come from."""

    name: str
    actor: Actor
    critic: Critic | None
    info: dict[str, Any] = field(default_factory=dict)  # task, control mode, provenance, measured success
    notes: tuple[str, ...] = ()  # what was assumed in reading it, in sentences that say "it"


@dataclass(frozen=True)
class _File:
    """A policy file that has been read."""

    beside: Path  # the json that there may be
    content: Any  # as it is in the file
    contents: Contents
    info: dict[str, Any]
    networks: Any  # what to build, `None` if nothing says it


def save_policy(path: Path, actor: Actor, critic: Critic | None, info: Mapping[str, Any]) -> None:
    """Writes `path` (`.safetensors`) and the `.json` beside it; each appears complete or not at all.

    Raises:
        UserError: if a network cannot be described, or the files cannot be written.
    """
    content = {"format": FORMAT, **info, NETWORKS: describe_networks(actor, critic)}
    weights = {f"actor.{k}": v for k, v in actor.state_dict().items()}
    if critic is not None:
        weights |= {f"critic.{k}": v for k, v in critic.state_dict().items()}
    write_tensors(path, weights, {"format": FORMAT})
    with replacing(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def describe_networks(actor: Actor, critic: Critic | None) -> dict[str, Any]:
    """How to build both again; `null` for no critic.

    Raises:
        UserError: if one of them cannot be described.
    """
    none = critic is None or isinstance(critic, NoCritic)
    return {"actor": describe(actor), "critic": None if critic is None or none else describe(critic)}


def load_policy(name: str) -> Policy:
    """Loads a policy by zoo name or path; see the module's docstring.

    Raises:
        UserError: if there is no such policy, or the file is not one.
    """
    path = policy_path(name)
    file = _read(path)
    with _about(path):
        actor, critic, notes = _networks(file)
    networks = (actor,) if critic is None else (actor, critic)
    if not all(bool(tensor.isfinite().all()) for network in networks for tensor in network.state_dict().values()):
        raise UserError(f"{path} holds weights that are not finite numbers; the policy is unusable.")
    folder = typed_path(name)
    if path.is_relative_to(folder) and path != folder:
        return Policy(str(path), actor, critic, file.info, (*notes, _why_this_one(path, file.info)))
    return Policy(name, actor, critic, file.info, notes)


def zoo_names() -> list[str]:
    """The names of all policies that come with rlft."""
    return sorted(p.relative_to(ZOO).with_suffix("").as_posix() for p in ZOO.glob("*/*.safetensors"))


def in_task(name: str, task: str) -> str:
    """The name in the zoo of the policy of another task that has the same role: `pickcube/weak` is `pointreach/weak`.

    Raises:
        UserError: if there is none.
    """
    other = f"{task}/{name.partition('/')[2]}"
    if name in zoo_names() and other not in zoo_names():
        raise UserError(f"The zoo has no {other} to stand in for {name}; it has {', '.join(zoo_names())}.")
    return other if name in zoo_names() else name


def policy_path(name: str) -> Path:
    """The file of a policy.

    Raises:
        UserError: if there is no such policy.
    """
    in_zoo = ZOO / f"{name}.safetensors"
    if in_zoo.is_file() and in_zoo.resolve().is_relative_to(ZOO.resolve()):
        return in_zoo
    path = typed_path(name)
    if path.is_file():
        return path
    if name and (best := _best_of_run(path)):
        return best
    there = f"neither a file, nor the folder of a run with a {BEST}, nor one of the zoo's"
    siblings = (str(one) for one in path.parent.glob("*")) if name else ()
    if meant := did_you_mean(name, [*zoo_names(), *siblings]):
        raise UserError(f"No policy {name!r}{meant} It is {there}.")
    raise UserError(f"No policy {name!r}: it is {there} ({', '.join(zoo_names())}).")


def _best_of_run(folder: Path) -> Path | None:
    """The best policy in the folder of a run with one version, or of a version; `None` if there is none.

    Raises:
        UserError: if there are several.
    """
    found = sorted(path for pattern in (BEST, f"version_*/{BEST}") for path in folder.glob(pattern))
    if len(found) > 1:
        raise UserError(f"The folder {folder} holds several versions of a run; name one of them, such as {found[-1]}.")
    return found[0] if found else None


def _why_this_one(path: Path, info: Mapping[str, Any]) -> str:
    """What the folder of a run stands for, and what else it has."""
    others = sorted(other.name for other in path.parent.glob("*.safetensors") if other != path)
    also = f"; beside it there is {' and '.join(others)}" if others else ""
    return f"it is the best of its run's evaluations, of iteration {info.get('iteration', 'unknown')}{also}."


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Says of which file what is said of "it"."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path} holds no rlft policy: {error}") from error


def decided_beside(path: Path) -> dict[str, Any]:
    """What the json beside another library's policy file decides of its networks; nothing for files of ours.

    Raises:
        UserError: if it is no json.
    """
    info = _read_info(path.with_suffix(".json"))
    return {} if info.get("format") == FORMAT else {k: info[k] for k in (NETWORKS, *HINT_KEYS) if k in info}


def _read(path: Path) -> _File:
    beside = path.with_suffix(".json")
    if path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path, "Policy file")
        info = _read_info(beside)
        if (networks := info.pop(NETWORKS, None)) is not None:
            return _File(beside, tensors, Contents(tensors), info, networks)
        return _foreign(path, {**metadata, **tensors}, (), info)
    if stable_baselines.is_archive(path):
        with _about(path):
            archive = stable_baselines.read_archive(path)
        return _foreign(path, archive.state, archive.activations, _read_info(beside))
    content = read_torch(path, "Policy file")
    if isinstance(content, Mapping) and content.get(NETWORKS) is not None:
        return _File(beside, content, Contents(_of_networks(content)), _made_for(content), content[NETWORKS])
    return _foreign(path, content, (), _made_for(content) | _read_info(beside))


def _foreign(path: Path, content: Any, activations: Iterable[str], info: dict[str, Any]) -> _File:
    """A file that does not say what to build; the json beside it may."""
    with _about(path):
        contents = contents_of(content)
    contents = replace(contents, activations=contents.activations.union(activations))
    return _File(path.with_suffix(".json"), content, contents, info, info.pop(NETWORKS, None))


def _made_for(content: Any) -> dict[str, Any]:
    made_for = content.get(MADE_FOR) if isinstance(content, Mapping) else None
    return dict(made_for) if isinstance(made_for, Mapping) else {}


def _of_networks(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of a checkpoint of ours the tensors of actor and critic; a module may hold others, for its training."""
    state = content.get("state_dict", content)
    named = state.items() if isinstance(state, Mapping) else ()
    return {k: v for k, v in named if isinstance(v, Tensor) and str(k).startswith(("actor.", "critic."))}


def _networks(file: _File) -> tuple[Actor, Critic | None, tuple[str, ...]]:
    """What a file holds, and what has to be said of it."""
    tensors = file.contents.tensors
    if file.networks is not None:
        return *_built(tensors, file.networks), ()
    hints = hints_of(file.beside, file.info, file.contents.activations)
    if old_policy_files.are_ours(tensors):
        return *old_policy_files.networks(tensors, hints), old_policy_files.assumed(file.content, hints)
    translation = translate(tensors, file.content, hints)
    return *_built(translation.weights, translation.networks), translation.notes


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}, which describes a policy, is not valid json: {error}.") from error
    if not isinstance(info, dict):
        raise UserError(f"{path}, which describes a policy, must hold a json object.")
    return info


def _built(weights: Mapping[str, Tensor], networks: Any) -> tuple[Actor, Critic | None]:
    """What a file describes, with its weights."""
    if not (isinstance(networks, Mapping) and networks.keys() == {"actor", "critic"}):
        raise UserError(f"its {NETWORKS} do not say what actor and critic are.")
    of_actor, of_critic = old_policy_files.actor_and_critic(weights)
    # In this order: initial weights are drawn, and those that a run draws later are to be the same.
    actor = _with_weights(of_actor, networks["actor"], Actor)
    if networks["critic"] is not None:
        return actor, _with_weights(of_critic, networks["critic"], Critic)
    _refuse_misfit(of_critic, {})
    return actor, None


def _with_weights(weights: Mapping[str, Tensor], description: Any, base: type[N]) -> N:
    """One network; sizes that there are no numbers for are noticed before they take memory."""
    if (expected := shapes(description, base)) is not None:
        _refuse_misfit(weights, expected)
    network = build(description, base)
    _refuse_misfit(weights, {name: tensor.shape for name, tensor in network.state_dict().items()})
    network.load_state_dict(weights)
    return network


def _refuse_misfit(weights: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    found = {name: tensor.shape for name, tensor in weights.items()}
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            shapes = [str(list(of[name])) if name in of else "missing" for of in (found, expected)]
            raise UserError(f"its tensor {name} is {shapes[0]}, and {shapes[1]} in the {NETWORKS} that it describes.")
