"""Files that are something else than a policy rlft can have: what they are, as far as their names tell."""

from __future__ import annotations

import re
from collections.abc import Collection

NO_NETWORK = "rlft has no network like it"
STRANGERS = (
    (
        r"(.*\.)?(fc_logstd|fc_log_std)\.weight|actor\.log_std\.weight",
        f"it is an actor of SAC, a Gaussian squashed by tanh whose deviation depends on the observation; {NO_NETWORK}",
    ),
    (
        r"(.*\.)?fc_mu\.(\d+\.)?weight|actor\.mu\.\d+\.weight",
        f"it is a deterministic actor of TD3 or DDPG; {NO_NETWORK}",
    ),
    (
        r"(.*\.)?(a2c_network\.|actor_mlp\.\d+\.)\S*",
        "it is a policy of rl_games, which clips observations after normalising them and shares layers with its "
        f"critic; {NO_NETWORK}",
    ),
    (r"(.*\.)?(noise_pred_net|diffusion|unet)\.\S*", f"it is a diffusion policy; {NO_NETWORK}"),
    (r"(.*\.)?(transformer|cls_embed|encoder_action_proj)\.\S*", f"it is an ACT or another transformer; {NO_NETWORK}"),
    (r"(.*\.)?(memory_[as]|lstm\w*|gru|rnn)\.\S*", f"it is a recurrent policy; {NO_NETWORK}"),
    (
        r"(.*\.)?(feature_net|cnn|conv\d*|visual_encoder|extractors)\.\S*",
        "it is a policy of images; rlft has networks of state observations only",
    ),
)
OPTIMIZER = {"state", "param_groups"}


def stranger(names: Collection[str]) -> str | None:
    """What a file of tensors of these names is, and why it cannot be read, if it is one of these."""
    known = (text for pattern, text in STRANGERS if any(re.fullmatch(pattern, name) for name in names))
    return next(known, None)


def without_policy(content: object, names: Collection[str]) -> str:
    """What to say of a file in no known layout."""
    if isinstance(content, dict) and content.keys() == OPTIMIZER:
        return "it is the state of an optimizer; the weights of the policy are in another file"
    found = ", ".join(sorted(names)[:4]) or "no tensors"
    return f"its tensors are in no layout that rlft knows (docs/policies.md lists them), found {found}"
