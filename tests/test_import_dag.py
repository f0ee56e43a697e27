"""Who may import whom. The layers of the package are folders; the table is the architecture."""

import ast
import subprocess
import sys

import pytest

from tests.support.hand_made import REPO

BASICS = {"errors", "system", "types"}
LAYERS = {  # room of rlft: which other rooms it may import
    "errors": set(),
    "learners": set(),
    "system": set(),
    "types": set(),
    "files": BASICS,
    "statistics": BASICS,
    "tasks": BASICS,  # `envs` has them registered by name
    "envs": BASICS | {"files"},
    "networks": BASICS | {"files"},
    "runs": BASICS | {"files"},
    "trajectories": BASICS | {"files"},
    "advantage": BASICS | {"networks", "statistics"},
    "update": BASICS | {"networks"},
    "off_policy": BASICS | {"networks"},
    "rollout": BASICS | {"envs", "learners", "networks"},
    "studies": BASICS | {"files", "runs"},
    "comparison": BASICS | {"files", "runs", "statistics"},
    "videos": BASICS | {"envs", "files"},
    "modules": BASICS | {"advantage", "files", "learners", "networks", "off_policy", "runs", "statistics", "update"},
    "data": BASICS | {"envs", "files", "networks", "rollout", "runs", "trajectories"},
    "ranking": BASICS | {"advantage", "files", "networks", "statistics"},
    "callbacks": BASICS | {"advantage", "data", "envs", "files", "modules", "networks", "runs", "statistics", "videos"},
    "training": BASICS
    | {
        "advantage",
        "callbacks",
        "data",
        "envs",
        "files",
        "learners",
        "modules",
        "networks",
        "rollout",
        "runs",
        "update",
    }
    | {"studies"},  # whose placeholders stand in configurations that are looked at before a study runs
    "commands": BASICS
    | {"comparison", "envs", "files", "networks", "ranking", "rollout", "runs", "statistics", "studies", "trajectories"}
    | {"training", "videos"},  # the first for sentences about mistyped arguments
    "zoo": BASICS | {"cli", "commands", "envs", "networks", "statistics"},
    "cli": {"errors", "system", "training"},
    "__main__": {"cli", "system"},
}
WITH_LIGHTNING = {"callbacks", "data", "modules", "training"}


def modules(*folders):
    return sorted(path for folder in folders for path in (REPO / folder).rglob("*.py"))


def imports(path):
    """Full names of everything a file imports anywhere, `from a import b` as `a.b`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(name):
    """`advantage` of `rlft.advantage.gae.GAE`."""
    return name.split(".")[1]


def part_of(path):
    return path.relative_to(REPO / "rlft").with_suffix("").parts[0]


def parts_imported(path):
    return {part(name) for name in imports(path) if name.startswith("rlft.")} - {part_of(path)}


def importers(package, *folders):
    return {
        path.relative_to(REPO).as_posix()
        for path in modules(*folders)
        if package in {n.split(".")[0] for n in imports(path)}
    }


def test_the_reader_of_imports_sees_them():
    assert "advantage" in parts_imported(REPO / "rlft/modules/finetune.py")
    assert "rlft/data/rollout_datamodule.py" in importers("lightning", "rlft")


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_only_what_lies_below(layer):
    files = [path for path in modules("rlft") if part_of(path) == layer]
    assert files
    for path in files:
        assert parts_imported(path) <= LAYERS[layer], path


def test_every_room_is_in_the_table():
    assert {part_of(path) for path in modules("rlft")} - {"__init__"} == LAYERS.keys()


def test_the_rooms_are_in_an_order():
    left = {room: set(below) for room, below in LAYERS.items()}
    while left:
        ready = {room for room, below in left.items() if not below & left.keys()}
        assert ready, f"a circle among {sorted(left)}"
        left = {room: below for room, below in left.items() if room not in ready}


def test_lightning_stays_out_of_the_maths_the_workers_and_the_commands():
    assert {part_of(REPO / path) for path in importers("lightning", "rlft")} <= WITH_LIGHTNING


def test_callbacks_are_imported_where_training_is_assembled():
    users = {path.relative_to(REPO).as_posix() for path in modules("rlft") if "callbacks" in parts_imported(path)}
    assert users == {"rlft/training/cli.py"}


def test_no_package_of_a_user_called_callbacks_is_taken_for_ours():
    assert not importers("callbacks", "rlft")


INSTRUMENTS = {"critic_probe": {"advantage", "data"}}  # callbacks that simulate and estimate themselves


def test_callbacks_see_only_module_and_trainer():
    for path in modules("rlft/callbacks"):
        seen = {part(name) for name in imports(path) if name.startswith("rlft.")} - INSTRUMENTS.get(path.stem, set())
        assert not seen & {"data", "rollout", "advantage", "update", "training", "commands", "ranking"}, path


def test_only_envs_and_tasks_touch_the_simulator():
    for package in ("mani_skill", "sapien"):
        assert all(name.startswith(("rlft/envs/", "rlft/tasks/")) for name in importers(package, "rlft"))


def test_rewards_are_read_without_the_simulator():
    code = "import sys, rlft.tasks.lift_rewards; sys.exit('mani_skill' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == 0


@pytest.mark.parametrize(
    "module",
    [
        "rlft.commands.evaluate",
        "rlft.commands.collect",
        "rlft.commands.rank",
        "rlft.commands.record",
        "rlft.commands.compare",
        "rlft.commands.study",
    ],
)
def test_commands_that_do_not_train_start_without_lightning(module):
    code = f"import sys, {module}; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == 0


@pytest.mark.parametrize("statement", ["import rlft.cli", "from rlft.cli import main; assert main(['--help']) == 0"])
def test_the_command_line_starts_without_heavy_imports(statement):
    heavy = ("torch", "lightning", "h5py", "mani_skill", "sapien", "scipy", "gymnasium")
    code = f"import sys; {statement}; sys.exit(','.join(m for m in {heavy} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
