"""Who may import whom. The layers of the package are folders; the table is the architecture."""

import ast
import subprocess
import sys

import pytest

from tests.helpers import REPO

BASICS = {"errors", "files", "tensor_files", "types"}
LAYERS = {  # part of rlft: which other parts of rlft it may import
    "cores": set(),
    "episode_log": {"errors", "files"},
    "errors": set(),
    "experiment_log": {"errors", "files", "run_directory"},
    "files": {"errors"},
    "run_directory": set(),
    "tensor_files": {"errors", "files"},
    "types": set(),
    "networks": BASICS,
    "advantage": BASICS | {"networks", "policies"},
    "analysis": BASICS | {"networks", "advantage", "policies"},
    "comparison": BASICS | {"episode_log", "statistics"},
    "update": BASICS | {"networks"},
    "envs": BASICS,
    "rollout": BASICS | {"cores", "networks", "envs"},
    "studies": BASICS | {"cores", "run_directory"},
    "trajectories": BASICS,
    "data": BASICS | {"networks", "envs", "rollout", "run_directory", "trajectories"},
    "policies": BASICS | {"networks"},
    "metrics": BASICS,
    "statistics": BASICS,
    "modules": BASICS | {"networks", "advantage", "update", "policies", "metrics", "run_directory"},
}
WITHOUT_LIGHTNING = {
    "cores",
    "episode_log",
    "errors",
    "experiment_log",
    "files",
    "types",
    "networks",
    "note",
    "advantage",
    "analysis",
    "update",
    "envs",
    "rollout",
    "run_directory",
    "tensor_files",
    "policies",
    "statistics",
    "trajectories",
    "evaluate",
    "collect",
    "compare",
    "comparison",
    "rank",
    "studies",
    "study",
    "cli",
}


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


def test_nothing_below_the_command_line_knows_it():
    for path in modules("rlft"):
        if part_of(path) not in ("cli", "__main__", "training", "config_check", "evaluate", "collect", "zoo"):
            assert not parts_imported(path) & {"cli", "training"}, path


def test_lightning_stays_out_of_the_maths_and_the_workers():
    parts = {part_of(REPO / path) for path in importers("lightning", "rlft")}
    assert not parts & WITHOUT_LIGHTNING


def test_callbacks_are_imported_where_training_is_assembled():
    assert importers("callbacks", "rlft") == {"rlft/training.py"}


INSTRUMENTS = {"critic_probe": {"advantage", "data"}}  # callbacks that simulate and estimate themselves


def test_callbacks_see_only_module_and_trainer():
    for path in modules("callbacks"):
        seen = {part(name) for name in imports(path) if name.startswith("rlft.")} - INSTRUMENTS.get(path.stem, set())
        assert not seen & {"modules", "data", "rollout", "advantage", "update", "training"}, path


def test_only_envs_touch_the_simulator():
    for package in ("mani_skill", "sapien"):
        assert all(name.startswith("rlft/envs/") for name in importers(package, "rlft", "callbacks"))


@pytest.mark.parametrize("module", ["rlft.evaluate", "rlft.collect", "rlft.rank", "rlft.compare", "rlft.study"])
def test_commands_that_do_not_train_start_without_lightning(module):
    code = f"import sys, {module}; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPO).returncode == 0


@pytest.mark.parametrize("statement", ["import rlft.cli", "from rlft.cli import main; assert main(['--help']) == 0"])
def test_the_command_line_starts_without_heavy_imports(statement):
    heavy = ("torch", "lightning", "h5py", "mani_skill", "sapien", "scipy", "gymnasium")
    code = f"import sys; {statement}; sys.exit(','.join(m for m in {heavy} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
