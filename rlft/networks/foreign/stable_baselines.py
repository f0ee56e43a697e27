"""The archives of Stable-Baselines3, of which the weights are read and nothing is unpickled."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlft.errors import UserError, one_line
from rlft.files.tensors import read_torch_member

MEMBERS = {"data", "policy.pth"}
DEFAULT_ACTIVATION = "tanh"  # of ActorCriticPolicy, which MlpPolicy of PPO and A2C is another name for
HARMLESS = {"net_arch", "activation_fn", "ortho_init", "log_std_init", "optimizer_class", "optimizer_kwargs"}
HARMLESS |= {
    "share_features_extractor",
    "full_std",
    "use_expln",
    "normalize_images",
    ":type:",
    ":serialized:",
}  # of others than these policies


@dataclass(frozen=True)
class Archive:
    """The weights as in `torch.save`, and the activation where the archive says it."""

    state: Any
    activations: tuple[str, ...]


def is_archive(path: Path) -> bool:
    """Whether Stable-Baselines3 wrote a file."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= MEMBERS
    except Exception:  # of a broken one
        return False


def read_archive(path: Path) -> Archive:
    """The policy of an archive.

    Raises:
        UserError: if it cannot be read, or the policy does more than its tensors tell. Says it of "it", the file.
    """
    with zipfile.ZipFile(path) as archive:
        state = read_torch_member(archive, "policy.pth")
        try:
            data = json.loads(archive.read("data"))
        except Exception as error:  # zipfile raises whatever the broken archive happens to trigger
            raise UserError(f"its data are damaged: {one_line(error)}.") from error
    return Archive(state, _activations(data if isinstance(data, dict) else {}))


def _activations(data: dict[str, Any]) -> tuple[str, ...]:
    """What the text beside the pickles says; they are not looked into."""
    if not _is_actor_critic(data.get("policy_class")):
        return ()  # SAC, which its tensors tell, or a class of somebody's own
    given = {**_dict(data.get("policy_kwargs")), "use_sde": data.get("use_sde")}
    more = sorted(name for name in given.keys() - HARMLESS if given[name])
    if more:
        raise UserError(f"its policy has {', '.join(more)}, and rlft has no network like it.")
    if "Discrete" in str(_dict(data.get("action_space")).get(":type:")):
        raise UserError("its actions are discrete; rlft has policies of continuous ones.")
    return (str(given.get("activation_fn", DEFAULT_ACTIVATION)),)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_actor_critic(described: Any) -> bool:
    if not isinstance(described, dict):
        return False
    ours = described.get("__module__") == "stable_baselines3.common.policies"
    return ours and re.match(r"<function ActorCriticPolicy\.__init__ ", str(described.get("__init__"))) is not None
