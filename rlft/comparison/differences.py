"""What tells configurations apart, in few words: `learning_rate 0.001` and `learning_rate 0.0003`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]

FEW = 3  # settings that are named if more differ, unless it takes more to tell the configurations apart
LONGEST = 40  # characters of a value
BETWEEN = " / "  # two settings; labels stand in lists with commas, and in pairs with a minus between them


def labels(configurations: Sequence[Settings]) -> list[str]:
    """A label for each configuration, of what differs among them; no two are equal.

    Settings of a class count among configurations that have it: where one has GAE and the others have IQL, it is
    `advantage GAE`, and the expectile is named if it differs among the others.
    """
    columns = _columns(configurations)
    chosen = _telling(columns, len(configurations))
    rest = ["..."] * (len(chosen) < len(columns))
    told = [[columns[key][i] for key in columns if key in chosen] for i in range(len(configurations))]
    return unique([BETWEEN.join([*filter(None, texts), *rest]) or "the same settings" for texts in told])


def summary(configurations: Sequence[Settings]) -> str:
    """What differs among configurations, with the values that there are: `clip_coef 0.1 or 0.2; horizon 5 or 10`."""
    columns = _columns(configurations)
    columns_differ = [_alternatives(list(dict.fromkeys(filter(None, texts)))) for texts in list(columns.values())[:FEW]]
    return "; ".join(columns_differ + ["..."] * (len(columns) > FEW)) or "what they go on from"


def _alternatives(texts: Sequence[str]) -> str:
    """`gamma 0.8 or 0.99` of `gamma 0.8` and `gamma 0.99`."""
    name, _, _ = texts[0].partition(" ")
    return " or ".join([texts[0], *(text.removeprefix(f"{name} ") for text in texts[1:])])


def unique(texts: Sequence[str]) -> list[str]:
    """The texts, with a number after those that were there before."""
    seen: Counter[str] = Counter()
    found = []
    for text in texts:
        seen[text] += 1
        found.append(f"{text} ({seen[text]})" if seen[text] > 1 else text)
    return found


def _columns(configurations: Sequence[Settings]) -> dict[str, list[str]]:
    """Of each key that differs, what the label of each configuration says of it; nothing where it does not apply."""
    keys = list(dict.fromkeys(key for settings in configurations for key in settings))
    values = {key: [_value(settings.get(key)) for settings in configurations] for key in keys}
    different = [key for key in keys if len(set(values[key])) > 1]
    names = _short_names(keys)
    columns = {}
    for key in different:
        above = [values[other] for other in different if key.startswith(f"{other}.")]
        rivals = list(zip(*above, strict=True)) if above else [()] * len(configurations)
        told = [
            {values[key][j] for j, rival in enumerate(rivals) if rival == rivals[i]} for i in range(len(configurations))
        ]
        texts = [
            _text(names[key], settings.get(key)) if len(told[i]) > 1 else ""
            for i, settings in enumerate(configurations)
        ]
        if any(texts):
            columns[key] = texts
    return columns


def _telling(columns: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """All keys if they are few, else those that tell the most configurations apart, first of all."""
    chosen: list[str] = []

    def apart(keys: Sequence[str]) -> int:
        return len({tuple(columns[key][i] for key in keys) for i in range(count)})

    while len(chosen) < len(columns) and (len(chosen) < FEW or apart(chosen) < count):
        rest = [key for key in columns if key not in chosen]
        chosen.append(max(rest, key=lambda key: apart([*chosen, key])))
    return chosen


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """As many of the last parts of each key as it takes to mean no other one: `gamma`, `actor.hidden_dim`."""
    parts = {key: key.split(".") for key in keys}
    ends = Counter(".".join(own[-n:]) for own in parts.values() for n in range(1, len(own) + 1))
    return {
        key: next((end for n in range(1, len(own)) if ends[end := ".".join(own[-n:])] == 1), key)
        for key, own in parts.items()
    }


def _value(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _text(name: str, value: Any) -> str:
    """`gamma 0.8`; `no target_kl` where it is null or not there; a callback is known by its class."""
    if value is None:
        return f"no {name}"
    text = value if isinstance(value, str) else _value(value)
    if name.rsplit(".", 1)[-1].startswith(text):
        return name
    return f"{name} {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}"
