"""Names of runs: derived from the resolved configuration, so that a name cannot contradict what was run."""

from __future__ import annotations

from typing import Any

SHORT = {  # what a run name calls a setting, in this order
    "gamma": "gamma",
    "gae_lambda": "lambda",
    "finite_horizon_gae": "finite_horizon",
    "bootstrap_at_done": "bootstrap",
    "tail": "tail",
    "reward_scale": "reward_scale",
    "clip_coef": "clip",
    "ent_coef": "ent",
    "norm_adv": "norm_adv",
    "target_kl": "kl",
    "kl_stop_scope": "stop",
}


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
    words = [f"{word}{_number(settings[key])}" for key, word in SHORT.items() if key in settings and key in ALWAYS]
    sizes = f"{data.num_envs}x{data.num_steps}-{data.update_epochs}x{data.num_minibatches}"
    return "-".join([start, method, *words, sizes, f"seed{config.seed_everything}"])


ALWAYS = ("gamma", "gae_lambda", "target_kl")


def flatten_config(config: Any, defaults: Any) -> dict[str, Any]:
    """The keys of `config` whose values differ from `defaults`."""
    mine, theirs = dict(config.items()), dict(defaults.items())
    skipped = ("config", "trainer.callbacks", "trainer.logger")
    return {
        key: value
        for key, value in sorted(mine.items())
        if not key.startswith(skipped) and key not in theirs or (key in theirs and theirs[key] != value and not key.startswith(skipped))
    }


def _class(node: Any) -> str:
    return str(node.class_path).rsplit(".", 1)[-1]


def _task(name: str) -> str:
    return name.rsplit("-v", 1)[0].lower()


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
