"""Wrong configurations, derived from the constructors that are the schema of a config."""

import inspect
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

import rlft.advantage
import rlft.data
import rlft.envs
import rlft.modules
import rlft.networks
import rlft.off_policy
import rlft.rollout
import rlft.update
from rlft import callbacks
from rlft.callbacks.freeze_schedule import Freeze
from rlft.training.cli import trainer
from rlft.training.config_tree import marks, members
from rlft.types import Mark

NAN, INF = float("nan"), float("inf")
BASE: dict[str, Any] = {
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    "model": {
        "class_path": "FinetuneModule",
        "init_args": {"advantage": {"class_path": "GAE"}, "update": {"class_path": "PPO"}},
    },
    "data": {"class_path": "RolloutDataModule", "init_args": {"env": {"class_path": "PointReach"}, "num_workers": 0}},
}
REQUIRED = {  # arguments without which a class cannot be built at all
    "OfflineDataModule": {"env": {"class_path": "PointReach"}, "num_workers": 0},
    "RolloutDataModule": {"env": {"class_path": "PointReach"}, "num_workers": 0},
    "ReplayDataModule": {"env": {"class_path": "PointReach"}, "num_workers": 0},
    "OffPolicyModule": {"objective": {"class_path": "Anchored"}},
    "IQNModule": {"actor": {"class_path": "QuantileActor", "init_args": {"choices": 5}}},
    "AutoencoderModule": {"actor": {"class_path": "QuantileActor", "init_args": {"choices": 5, "image": [1, 64, 64]}}},
    "CategoricalActor": {"choices": 5},
    "FinetuneModule": BASE["model"]["init_args"],
    "FreezeSchedule": {"schedule": [{"module": "critic"}]},
    "StartCurriculum": {"stages": ["near"]},
    "ExplorationSchedule": {"points": [[0, -1.0]]},
    "LearningRateSchedule": {"points": [[0, 1.0]]},
}
LINKED = {  # taken from the environment, the data and the seed
    ("model",): {"obs_dim", "action_dim", "privileged_dim", "reward_mode", "data_policy"},
    ("data",): {"seed"},
    ("model", "residual"): {"base"},  # the start policy
}
NO_OPTIONS = {"IterationProgress", "RunReport", "TensorBoardOverview"}  # every run has one, built by the command line
IN_EVERY_RUN = {"DeterministicEval": "eval", "SuccessCheckpoint": "checkpoint", "Pitfalls": "pitfalls"}


@dataclass(frozen=True)
class Place:
    """A class and where its arguments stand in a config."""

    name: str  # of the class
    cls: Any
    path: tuple[str, ...]  # `model`, `model.update`, `trainer.callbacks`

    def config(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """A config that is right but for these arguments."""
        arguments = {**REQUIRED.get(self.name, {}), **arguments}
        node: Any = {"class_path": self.name, "init_args": arguments}
        if self.cls is Freeze:  # no class of its own in a config, but an entry of a list
            node = {"class_path": "FreezeSchedule", "init_args": {"schedule": [{"module": "critic", **arguments}]}}
        if self.cls is trainer or self.name in IN_EVERY_RUN:
            return merged(BASE, {self.path[0]: arguments})
        if self.path == ("trainer", "callbacks"):
            return merged(BASE, {"trainer": {"callbacks": [node]}})
        if len(self.path) == 1:
            return {**BASE, self.path[0]: node}
        if self.path in OF_OFF_POLICY:
            options = {"objective": {"class_path": "Anchored"}, "policy": "pointreach/weak", self.path[1]: node}
            return {**BASE, "model": {"class_path": "OffPolicyModule", "init_args": options}}
        if self.path == OF_DATA:  # which then have some
            return merged(BASE, {"data": {"init_args": {"workers": node, "num_workers": 1}}})
        if self.path == OF_REPLAY:
            options = {**REQUIRED["ReplayDataModule"], self.path[1]: node}
            return {**BASE, "data": {"class_path": "ReplayDataModule", "init_args": options}}
        if self.path[0] == "data":
            return merged(BASE, {"data": {"init_args": {self.path[1]: node}}})
        inner = {"class_path": f"rlft.networks.{self.name}", "init_args": arguments}
        return merged(BASE, {"model": {"init_args": {self.path[1]: inner if self.path[1] in NETWORKS else node}}})

    def arguments(self, resolved: dict[str, Any]) -> dict[str, Any]:
        """Its arguments in such a config, once it is resolved."""
        node = resolved
        for key in self.path:
            node = node.get("init_args", node)[key]
        if self.path == ("trainer", "callbacks"):
            node = node[0]["init_args"]
        return node["schedule"][0] if self.cls is Freeze else node.get("init_args", node)


NETWORKS = ("actor", "critic")
OF_REPLAY = ("data", "reward_normalization")
OF_DATA = ("data", "workers")
OF_OFF_POLICY = [("model", part) for part in ("objective", "conservative", "residual")]


def merged(config: Any, overlay: Any) -> Any:
    """`config` with what `overlay` says otherwise; a class that is another one takes nothing over."""
    if not isinstance(config, dict) or not isinstance(overlay, dict):
        return overlay
    if config.get("class_path") != overlay.get("class_path", config.get("class_path")):
        return overlay
    return {
        key: merged(config.get(key), overlay[key]) if key in overlay else config[key] for key in {**config, **overlay}
    }


def concrete(package: Any) -> list[Any]:
    """The classes of a package that can be built."""
    found = (getattr(package, name) for name in package.__all__)
    return [cls for cls in found if inspect.isclass(cls) and not inspect.isabstract(cls)]


def places() -> list[Place]:
    """Every class that a config may name."""
    found = [Place("trainer", trainer, ("trainer",))]
    for package, path in (
        (rlft.modules, ("model",)),
        (rlft.advantage, ("model", "advantage")),
        (rlft.update, ("model", "update")),
        (rlft.off_policy, ("model", "objective")),
        (rlft.data, ("data",)),
        (rlft.envs, ("data", "env")),
        (callbacks, ("trainer", "callbacks")),
    ):
        found += [Place(cls.__name__, cls, path) for cls in concrete(package) if cls.__name__ not in NO_OPTIONS]
    found = [Place(p.name, p.cls, OF_OFF_POLICY[1]) if p.name == "Conservative" else p for p in found]
    found = [Place(p.name, p.cls, OF_REPLAY) if p.name == "RewardNormalization" else p for p in found]
    found += [Place("Ray", rlft.rollout.Ray, OF_DATA)]
    found += [Place("ResidualActor", rlft.networks.ResidualActor, OF_OFF_POLICY[2])]
    found += [Place("GaussianActor", rlft.networks.GaussianActor, ("model", "actor"))]
    found += [Place("CategoricalActor", rlft.networks.CategoricalActor, ("model", "actor"))]
    found += [Place("EncodedActor", rlft.networks.EncodedActor, ("model", "actor"))]
    found += [Place("EncodedCritic", rlft.networks.EncodedCritic, ("model", "critic"))]
    found += [Place("ValueCritic", rlft.networks.ValueCritic, ("model", "critic"))]
    found += [Place("Freeze", Freeze, ("trainer", "callbacks"))]
    return [Place(p.name, p.cls, (IN_EVERY_RUN[p.name],)) if p.name in IN_EVERY_RUN else p for p in found]


def parameters(place: Place) -> dict[str, Any]:
    """Name and type of what a user sets."""
    init = place.cls if inspect.isfunction(place.cls) else place.cls.__init__
    linked = LINKED.get(place.path, {"obs_dim", "action_dim"})
    hints = typing.get_type_hints(init)
    return {name: hints[name] for name in inspect.signature(init).parameters if name in hints and name not in linked}


def wrong_values(hint: Any) -> list[Any]:
    """Values of the wrong type, out of any range, or not a number; which of them a parameter takes is for tests."""
    members = typing.get_args(hint)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        others = [wrong_values(member) for member in members if member is not type(None)]
        shared = [value for value in others[0] if all(str(value) in map(str, other) for other in others[1:])]
        return [value for value in shared if value is not None or type(None) not in members]
    if typing.get_origin(hint) is Literal:
        return ["nonsense", None]
    if hint is bool:
        return ["maybe", None]
    if hint is int:
        return ["many", None, -1, 0]
    if hint is float:
        return ["much", NAN, INF, -1]
    if hint is str:
        return [{"a": 1}, None]
    return ["nonsense", {"nonsense": "much"}]


@dataclass(frozen=True)
class Wrong:
    """One argument of one class that should be refused."""

    place: Place
    key: str
    value: Any
    is_parsed: bool = True  # or the parser has been seen to take such a number for such a parameter of this class

    def __str__(self) -> str:
        return f"{self.place.name}.{self.key}={self.value}"

    @property
    def config(self) -> dict[str, Any]:
        """Everything else in it is right."""
        return self.place.config({self.key: self.value})


def wrong_configs() -> list[Wrong]:
    """Every parameter of every class with every wrong value, and an unknown key for every class.

    That a text, or null, is no number is for the parser to say, and one parameter of each type is enough for that, and
    for seeing that the parser takes a number: of one class, where several can stand in the same place. That it is a
    wrong one is for constructors to say, of every parameter.
    """
    found = []
    told_of: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for place in places():
        told = told_of.setdefault(place.path, set())
        for name, hint in parameters(place).items():
            values = [value for value in wrong_values(hint) if not _is_told(told, hint, value)]
            parses = [not _is_number(value) or not _is_told(told, hint, "a number") for value in values]
            found += [Wrong(place, name, value, parsed) for value, parsed in zip(values, parses, strict=True)]
        found.append(Wrong(place, "nonsense", 1))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_told(told: set[tuple[str, str]], hint: Any, value: Any) -> bool:
    """Whether a value of a wrong type has been tried with a parameter of the same type; from now on it has."""
    case = str(hint), str(value)
    is_known = isinstance(value, str | dict | None) and case in told
    told.add(case)
    return is_known


# ---- other values ------------------------------------------------------------------------------------------------


def other_value(name: str, hint: Any, default: Any) -> Any:
    """A right value of a parameter that is not its default; `NOTHING` if that would be a class."""
    kinds = members(hint)
    if Mark.POLICY in marks(hint):
        return "pickcube/expert"
    if bool in kinds:
        return default is not True
    if choices := [choice for kind in kinds if typing.get_origin(kind) is Literal for choice in typing.get_args(kind)]:
        return next(choice for choice in choices if choice != default)
    for kind, other in (
        (float, (default or 0) + 0.125 if isinstance(default, int | float | None) else 0.125),
        (int, (default or 0) + 1 if isinstance(default, int | None) else 7),
        (str, "00:00:00:01" if name == "max_time" else "other"),
        (dict[str, float], {"actor": 0.5}),
        (list[tuple[int, float]], [[0, 0.5]]),
        (list[Freeze], [{"module": "actor"}]),
        (list[str], ["tight-target-kl"]),
        (tuple[int, ...], [0, 1]),
        (tuple[float, ...], [0.5]),
    ):
        if kind in kinds:
            return other
    return ["gamma"] if name == "accept_critic_mismatch" else NOTHING


NOTHING = object()


@dataclass(frozen=True)
class Other:
    """A configuration that differs from that of its place in one argument, which has another right value."""

    place: Place
    key: str
    value: Any

    def __str__(self) -> str:
        return f"{self.place.name}.{self.key}"


def other_configs() -> list[Other]:
    """Every parameter of every class with another value."""
    found = []
    for place in places():
        init = place.cls if inspect.isfunction(place.cls) else place.cls.__init__
        hints, signature = typing.get_type_hints(init, include_extras=True), inspect.signature(init).parameters
        for name in parameters(place):
            value = other_value(name, hints[name], signature[name].default)
            found += [] if value is NOTHING else [Other(place, name, value)]
    return found
