"""Configurations as flat settings, `model.advantage.gamma: 0.8`, and which of them decide results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
NEUTRAL = (  # settings, or all below them, that leave open where, how long, how fast and how well observed a run is
    *("ckpt_path", "config", "log_dir", "reset_optimizer", "run_name", "weights_only"),
    *("seed_everything", "data.seed"),  # the seed of a run is told apart from what it is
    *("data.num_workers", "data.total_timesteps"),
    *("trainer.accelerator", "trainer.detect_anomaly", "trainer.devices", "trainer.fast_dev_run", "trainer.logger"),
    *("trainer.max_epochs", "trainer.max_time", "trainer.profiler"),
    *("checkpoint", "eval", "pitfalls"),
)


def read_configuration(version: Path) -> dict[str, Any]:
    """The flat configuration of a `version_<k>`; empty if it cannot be read."""
    try:
        loaded = yaml.load((version / "config.yaml").read_bytes(), LOADER)
        content = json.loads(json.dumps(loaded, default=str))
        return flattened(content) if isinstance(content, dict) else {}
    except (OSError, yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def flattened(config: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped configuration as `model.advantage.gamma: 0.8`; a class has its short name under its own key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and not _is_class(value):
            for name, setting in value.items():
                flat |= _settings(f"{key}.{name}", setting)
        else:
            flat |= _settings(key, value)
    return flat


def deciding(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a flat configuration that decide results.

    Of how long a run is only if its learning rates fall until then.
    """
    annealed = {"trainer.max_epochs"} if configuration.get("model.anneal_lr") else set[str]()
    return {key: value for key, value in configuration.items() if key in annealed or not _is_neutral(key)}


def _is_neutral(key: str) -> bool:
    return any(key == neutral or key.startswith(f"{neutral}.") for neutral in NEUTRAL)


def _settings(key: str, value: Any) -> dict[str, Any]:
    if _is_class(value):
        flat = {key: value["class_path"].rsplit(".", 1)[-1]}
        for name, setting in (value.get("init_args") or {}).items():
            flat |= _settings(f"{key}.{name}", setting)
        return flat
    if isinstance(value, list) and value and all(_is_class(item) for item in value):
        flat = {}
        for item in value:
            name = unnumbered = f"{key}.{item['class_path'].rsplit('.', 1)[-1]}"
            number = 2
            while name in flat:
                name, number = f"{unnumbered}_{number}", number + 1
            flat |= _settings(name, item)
        return flat
    return {key: value}


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value
