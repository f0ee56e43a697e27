"""What a resolved configuration says about a run: its name, and where it leaves the defaults."""

from __future__ import annotations

import importlib
import inspect
from hashlib import sha256
from pathlib import Path
from typing import Any

SETTINGS = {  # what a name says of the plug-ins, and how
    "num_samples": "k",
    "policy": "by",
    "gamma": "gamma",
    "gae_lambda": "lambda",
    "expectile": "tau",
    "target_kl": "kl",
    "beta": "beta",
    "alpha": "alpha",
}
OPTIONS = {  # further ones, said only where they leave their defaults
    "pilot_samples": "pilot",
    "common_noise": "common",
    "antithetic": "antithetic",
    "estimator": "",
    "horizon": "",
    "every_k": "every",
    "tail": "tail",
    "bootstrap_at_done": "bootstrap",
    "reward_scale": "scale",
    "n_step": "nstep",
    "single_q": "single_q",
    "polyak": "polyak",
    "advantage": "",
    "center": "center",
    "neg_bound": "",
    "positive_ratio": "positive",
    "guidance": "guidance",
    "loss": "",
    "offsets": "offsets",
    "offset_weights": "weights",
    "encoder_dropout": "encoder_dropout",
    "head_dropout": "head_dropout",
    "validation_fraction": "heldout",
}


def run_name(config: Any) -> str:
    """Derived from what is run, so that a name cannot contradict it.

    E.g. `pickcube_weak-gae_ppo-gamma0.8-lambda0.9-kl100-100x50-100x5-seed1`: task and start policy, estimator and
    update with their main settings, envs x steps or the file of the data, epochs x minibatches, seed.
    """
    model, data = config.model.init_args, config.data.init_args
    task = _task(data.env)
    policy = _policy(model.get("policy") or "scratch")
    start = policy if policy.startswith(task) else f"{task}_{policy}"
    plugins = [plugin for axis in ("advantage", "update") if (plugin := model.get(axis)) is not None]
    settings = {key: value for plugin in plugins for key, value in _arguments(plugin).items()}
    if not plugins:  # a module is its own method: cloning, and whom unless a file says that
        plugins = [config.model]
        settings = {} if data.get("dataset") else {"policy": model.get("demonstrator")}
    method = "_".join(_class_name(plugin).removesuffix("Module").lower() for plugin in plugins)
    words = [f"{word}{_setting(key, settings[key])}" for key, word in SETTINGS.items() if _named(key, settings)]
    words += [word for node in (*plugins, config.data) for word in _options(node)]
    words += [f"critic_{_policy(name)}"] if (name := model.get("critic_policy")) else []
    words += [f"inject_{model.inject}_{_policy(name)}"] if (name := model.get("inject_from")) else []
    offline = ["offline"] if _class_name(config.data) == "OfflineDataModule" else []
    offline += [_file(dataset)] if (dataset := data.get("dataset")) else _times(data, "num_envs", "num_steps")
    epochs = _times(data, "update_epochs", "num_minibatches")
    return "-".join([start, method, *words, *offline, *epochs, f"seed{config.seed_everything}"])


def _times(data: Any, one: str, other: str) -> list[str]:
    """`100x50`; nothing for a data module of somebody else's that has no such options."""
    return [f"{data[one]}x{data[other]}"] if one in data and other in data else []


def differences(config: Any, defaults: Any) -> dict[str, Any]:
    """The settings of `config` that differ from `defaults` (of the command line) or from their class's signature."""
    flat, plain = dict(config.items()), dict(defaults.items())
    found: dict[str, Any] = {}
    for key, value in sorted(flat.items()):
        parent, _, name = key.rpartition(".init_args.")
        if key.startswith(("config", "trainer.callbacks", "run_name")):
            continue
        if key.endswith(".class_path"):
            found[key.removesuffix(".class_path")] = value.rsplit(".", 1)[-1]
        elif parent:
            signature = inspect.signature(imported(flat[f"{parent}.class_path"])).parameters
            default = signature[name].default if name in signature else value
            if value != default and not (value is None and default is inspect.Parameter.empty):
                found[key] = value
        elif not parent and plain.get(key) != value:
            found[key] = value
    return {key.replace(".init_args", ""): value for key, value in found.items()}


def imported(path: str) -> Any:
    """The class of a `class_path`."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _arguments(node: Any) -> Any:
    """What a class is built with; one without options has no such entry."""
    return node.get("init_args") or {}


def _class_name(node: Any) -> str:
    return str(node.get("class_path")).rsplit(".", 1)[-1]


def _named(key: str, settings: dict[str, Any]) -> bool:
    return key in settings and (key == "policy" or settings[key] is not None)


def _options(node: Any) -> list[str]:
    """Words for the `OPTIONS` of a class that differ from its defaults."""
    if node.get("class_path") is None:
        return []
    defaults = inspect.signature(imported(node.class_path)).parameters
    chosen = {key: value for key in OPTIONS if key in defaults and (value := _arguments(node).get(key)) is not None}
    changed = {key: value for key, value in chosen.items() if value != defaults[key].default}
    return [OPTIONS[key] + ("" if value is True else _number(value)) for key, value in changed.items()]


def _setting(key: str, value: Any) -> str:
    return _policy(value or "self") if key == "policy" else _number(value)


def _policy(name: str) -> str:
    """`pickcube_weak` of the zoo's `pickcube/weak`."""
    if Path(name).expanduser().is_file():
        return _file(name)
    return name.replace("/", "_").removesuffix(".safetensors").removesuffix(".ckpt")


def _file(name: str) -> str:
    """A file is told apart from others of its name by its content."""
    path = Path(name).expanduser()
    return f"{path.stem}_{sha256(path.read_bytes()).hexdigest()[:6]}" if path.is_file() else path.stem


def _task(env: Any) -> str:
    """`PickCube-v1` becomes `pickcube`."""
    name = _arguments(env).get("task")
    return str(name or _class_name(env)).rsplit("-v", 1)[0].lower()


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "_".join(map(_number, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
