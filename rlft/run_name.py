"""Names of runs: derived from the resolved configuration, so that a name cannot contradict what was run."""

from __future__ import annotations

from typing import Any

SETTINGS = {"gamma": "gamma", "gae_lambda": "lambda", "target_kl": "kl"}  # what a name says of the plug-ins, and how


def run_name(config: Any) -> str:
    """E.g. `pickcube_weak-gae_ppo-gamma0.8-lambda0.9-kl100-100x50-100x5-seed1`."""
    model, data = config.model.init_args, config.data.init_args
    env = data.get("env")
    task = _class(env).lower() if env is None or "task" not in env.get("init_args", {}) else _task(env.init_args.task)
    policy = (model.get("policy") or "scratch").replace("/", "_").removesuffix(".safetensors").removesuffix(".ckpt")
    start = policy if policy.startswith(task) else f"{task}_{policy}"
    plugins = [model.get(axis) for axis in ("advantage", "update")]
    method = "_".join(_class(plugin).lower() for plugin in plugins if plugin is not None)
    settings = {k: v for plugin in plugins if plugin is not None for k, v in plugin.init_args.items()}
    words = [f"{word}{_number(settings[key])}" for key, word in SETTINGS.items() if key in settings]
    sizes = f"{data.num_envs}x{data.num_steps}-{data.update_epochs}x{data.num_minibatches}"
    return "-".join([start, method, *words, sizes, f"seed{config.seed_everything}"])


def flatten_config(config: Any, defaults: Any) -> dict[str, Any]:
    """The keys of `config` whose values differ from `defaults`."""
    theirs = dict(defaults.items())
    return {
        key: value
        for key, value in sorted(config.items())
        if not key.startswith(("config", "trainer.callbacks")) and (key not in theirs or theirs[key] != value)
    }


def _class(node: Any) -> str:
    return str(node.class_path).rsplit(".", 1)[-1]


def _task(name: str) -> str:
    return name.rsplit("-v", 1)[0].lower()


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
