"""Modules of a user: found by name or file, imported once, told apart by content, refused in a sentence."""

import shutil
import sys

import pytest

from rlft.envs import ManiSkill
from rlft.envs.maniskill import EnvSettings
from rlft.envs.maniskill.imports import load, look_for, source_digest
from rlft.errors import UserError
from tests.support.hand_made import is_sentence
from tests.support.warm import Warm, run_code


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, on a path of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def refusal(call, *arguments):
    with pytest.raises(UserError) as refused:
        call(*arguments)
    assert is_sentence(str(refused.value))
    return str(refused.value)


@pytest.mark.parametrize("name", ["tasks_of_mine", "tasks_of_mine.py", "./tasks_of_mine.py", "below/tasks_below.py"])
def test_a_module_is_imported_once_with_what_lies_beside_it(name, here):
    stem = name.rpartition("/")[2].removesuffix(".py")
    file = here / ("below" if "below" in name else ".") / f"{stem}.py"
    file.parent.mkdir(exist_ok=True)
    file.with_name("beside.py").write_text("COUNTED = []\n")
    file.write_text("from beside import COUNTED\n\nCOUNTED.append(1)\n")
    load([name])
    load([name])
    assert sys.modules["beside"].COUNTED == [1]
    assert sys.modules[stem].__name__ == stem  # what is pickled here is found in another process


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.py", "There is no file nowhere.py, which imports of the environment .* name; give its path"),
        ("nowhere", "There is no module 'nowhere', neither in .* nor installed"),
        ("nowhere.deeper", "There is no module 'nowhere.deeper'"),
        ("json.py", "json.py has a name that .* is another module's: .*json/__init__.py; rename it"),
        ("my.tasks.py", "my.tasks.py has a name that cannot be imported"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_built(name, said, here):
    if "nowhere" not in name:
        (here / name).write_text("")
    with pytest.raises(UserError, match=said) as refused:
        ManiSkill(imports=(name,))
    assert is_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n1 / 0\n", r"division by zero \(ZeroDivisionError in failing.py, line 2\)"),
        (
            "import nothing_like_it\n",
            r"No module named 'nothing_like_it' \(ModuleNotFoundError in failing.py, line 1\)",
        ),
        ("def (\n", r"\(SyntaxError in failing.py, line 1\)"),
        ("import sys\nsys.exit('enough')\n", r"enough \(SystemExit in failing.py, line 2\)"),
    ],
)
def test_a_module_that_fails_is_explained_with_its_place(content, said, here):
    (here / "failing.py").write_text(content)
    with pytest.raises(UserError, match=f"failing, which .* cannot be imported: .*{said}") as refused:
        load(["failing"])
    assert is_sentence(str(refused.value))


def test_names_that_are_no_list_of_names_are_refused():
    assert "imports is 5; it must be" in refusal(ManiSkill.of_policy, {"task": "Mine-v1", "imports": 5})
    assert "it must be" in refusal(ManiSkill.of_policy, {"task": "Mine-v1", "imports": [5]})


# ---- what counts -------------------------------------------------------------------------------------------------


def test_a_module_counts_by_its_content_wherever_it_is(here):
    for folder, content in (("a", "x = 1\n"), ("b", "x = 1\n"), ("c", "x = 2\n")):
        (here / folder).mkdir()
        (here / folder / "contents.py").write_text(content)
    one, same, other = (source_digest(f"{folder}/contents.py") for folder in "abc")
    assert one == same != other
    assert one.startswith("sha256:")
    shutil.copy(here / "a/contents.py", here / "by_name.py")
    assert source_digest("by_name") == one
    assert source_digest("nowhere.py") == "nowhere.py"


def test_of_a_package_all_files_count(here):
    for name, inner in (("package_a", "x = 1\n"), ("package_b", "x = 1\n"), ("package_c", "x = 2\n")):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text("")
        (here / name / "inner.py").write_text(inner)
    one, same, other = map(source_digest, ("package_a", "package_b", "package_c"))
    assert one == same != other
    assert not any(name.startswith("package_") for name in sys.modules)  # looking imports nothing


def test_what_a_process_has_looked_at_stays_what_it_is(here):
    (here / "edited.py").write_text("x = 1\n")
    before = source_digest("edited.py")
    (here / "edited.py").write_text("x = 2\n")
    assert source_digest("edited.py") == before


def test_starts_and_stored_data_depend_on_the_content(here):
    (here / "own.py").write_text("x = 1\n")
    plain, own = ManiSkill(device="cpu"), ManiSkill(device="cpu", imports=("own.py",))
    digest = source_digest("own.py")
    assert own.starts() == f"{plain.starts()}, imports {digest}"
    assert own.data_settings() == {**plain.data_settings(), "imports": digest}
    assert repr(own) == repr(plain)  # as older simulations of `rlft rank` know it; that command adds the content


# ---- policies ----------------------------------------------------------------------------------------------------


def test_a_policy_names_its_imports_and_a_command_may_say_where_they_are(here):
    info = {"task": "Mine-v1", "imports": ["of_policy.py"], "task_options": {"a": 1}, "robot": "panda"}
    assert "There is no file of_policy.py" in refusal(ManiSkill.of_policy, info)
    (here / "elsewhere").mkdir()
    (here / "elsewhere/of_policy.py").write_text("")
    there = EnvSettings(imports=("elsewhere/of_policy.py",), robot="fetch", reward_mode="dense", task_options={"b": 2})
    env = ManiSkill.of_policy(info, settings=there)
    assert (env.task, env.imports, env.robot) == ("Mine-v1", ("elsewhere/of_policy.py",), "fetch")
    assert (env.reward_mode, env.task_options) == ("dense", {"b": 2})


def test_the_imports_of_a_policy_are_also_those_of_another_task(here):
    """Its robot may be registered there."""
    (here / "of_robot.py").write_text("")
    info = {"task": "Mine-v1", "imports": ["of_robot.py"], "task_options": {"a": 1}, "robot": "mine"}
    env = ManiSkill.of_policy(info, "PickCube-v1")
    assert (env.imports, env.robot, env.task_options) == (("of_robot.py",), "mine", {})


def test_looking_does_not_import(here):
    (here / "unlooked.py").write_text("raise RuntimeError\n")
    look_for(["unlooked", "unlooked.py"])
    assert "unlooked" not in sys.modules


# ---- with ManiSkill ----------------------------------------------------------------------------------------------

MINE = """
from mani_skill.envs.tasks.tabletop.pick_cube import PickCubeEnv
from mani_skill.utils.registration import register_env


@register_env("{name}", max_episode_steps=20{options})
class Mine(PickCubeEnv):
    pass
"""
BUILD = """
from rlft.envs import ManiSkill
from rlft.errors import UserError
try:
    print(ManiSkill("{name}", device="cpu", imports=("mine.py",)).make(2).spec.max_episode_steps)
except UserError as error:
    print("UserError:", error)
"""


@pytest.mark.maniskill
@pytest.mark.parametrize(
    ("registers", "options", "asked", "said"),
    [
        ("Mine-v1", "", "Mine-v1", "20"),
        ("PickCube-v1", "", "PickCube-v1", "UserError: mine.py registers the task PickCube-v1, which is registered al"),
        ("PickCube-v1", ", override=True", "PickCube-v1", "20"),
        ("Mine-v1", "", "Mine-v2", "'Mine-v2' is not registered with ManiSkill, and mine.py did not register it; did"),
    ],
)
def test_a_task_is_registered_or_it_is_said_why_not(registers, options, asked, said, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.format(name=registers, options=options))
    printed, errors = Warm(run_code, BUILD.format(name=asked), cwd=tmp_path).communicate()
    assert said in printed, printed + errors
