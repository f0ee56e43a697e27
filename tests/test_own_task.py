"""docs/own_task.md as a user reads it: the file written, the commands run; the first one in new processes."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.support.hand_made import REPO, is_sentence
from tests.support.warm import Warm, rlft, run_code
from tests.support.warm_study import study

PAGE = (REPO / "docs/own_task.md").read_text()
(FILE,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
START, TUNE, JUDGE, FIT, EVALUATE, COLLECT, CHECK = re.findall(r"^    (\S.*)$", PAGE.replace(FILE, ""), re.M)
POLICY = "lightning_logs/nudge/version_0/policies/last"

pytestmark = [pytest.mark.maniskill, pytest.mark.slow]


def as_a_user(command, folder):
    """A command of the page, by this Python and this rlft: new processes, and workers that are new as well."""
    _, *arguments = shlex.split(command)
    program = "import sys, rlft.cli; sys.exit(rlft.cli.main())"
    environment = {**os.environ, "PYTHONPATH": str(REPO)}  # the working directory is not on the path, as for a script
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def run(command, folder):
    """A command in one process, which has everything imported but the simulator: exit status, stdout and stderr."""
    program, *arguments = shlex.split(command)
    process = Warm(run_code, arguments[1], cwd=folder) if program == "python" else rlft(*arguments, cwd=folder)
    output, errors = process.communicate()
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a user works, after the first command."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_tasks.py").write_text(FILE)
    (folder / "configs").symlink_to(REPO / "configs")
    done = as_a_user(FIT, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_training_in_worker_processes(folder):
    version = folder / "lightning_logs/nudge/version_0"
    settings = json.loads((version / "status.json").read_text())["settings"]
    assert settings["data.env.imports"][0].startswith("sha256:")
    assert settings["data.env.task_options"] == {"distance": 0.04}
    assert "## What the policy did" in (version / "report.md").read_text()
    last = json.loads((version / "iterations.jsonl").read_text().splitlines()[-1])
    terms = [last[f"reward/{name}"] for name in ("reach", "moved", "success")]
    assert sum(terms) == pytest.approx(last["train/reward"], abs=1e-6)
    info = json.loads((folder / f"{POLICY}.json").read_text())
    assert (info["task"], info["imports"], info["task_options"]) == ("Nudge-v1", ["my_tasks.py"], {"distance": 0.04})


def test_evaluating_and_collecting(folder):
    status, output, errors = run(f"{EVALUATE} --num_workers 0", folder)
    assert status == 0, errors[-3000:]
    assert "on Nudge-v1, 16 episodes" in output
    assert re.search(r"farthest +│ +[\d.e-]+ │ +[\d.e-]+ │", output)
    assert re.search(r"deterministic: It fails in [\d.]+% of its episodes: [a-z ]+ in [\d.]+%", output)
    status, _, errors = run(f"{COLLECT} --num_workers 0", folder)
    assert status == 0, errors[-3000:]
    assert json.loads((folder / "demos.json").read_text())["rlft"]["imports"] == ["my_tasks.py"]


def test_a_policy_whose_task_lies_elsewhere(folder):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    command = f"rlft evaluate ../{POLICY}.safetensors --episodes 4 --num_workers 0"
    status, _, errors = run(command, elsewhere)
    assert status == 1
    assert is_sentence(errors.splitlines()[-1])
    assert "There is no file my_tasks.py" in errors
    status, _, errors = run(f"{command} --env_settings.imports '[../my_tasks.py]'", elsewhere)
    assert status == 0, errors[-3000:]


def test_from_the_task_to_a_finetuned_policy(folder):
    small = "--trainer.max_epochs 2 --data.num_envs 8 --data.num_steps 40 --data.num_workers 0 --eval.num_episodes 8"
    for command in (f"{START} {small} --model.critic.hidden_dim 16", f"{TUNE} {small} --model.critic.hidden_dim 16"):
        status, _, errors = run(command, folder)
        assert status == 0, errors[-3000:]
    status, output, errors = run(f"{JUDGE} --episodes 8 --num_workers 0", folder)
    assert status == 0, errors[-3000:]
    assert re.search(r"deterministic +│ +[+-][\d.]+ │", output)  # a difference


def test_ranking(folder):
    sizes = "--states 4 --actions 2 --samples 4 --trajectories 4 --training_states 10 --training_steps 40"
    status, _, errors = run(f"rlft rank {POLICY}.safetensors {sizes} --num_envs 4 --num_workers 0", folder)
    assert status == 0, errors[-3000:]


def test_a_study(folder):
    options = FIT.split("--config configs/pretrain_ppo.yaml ")[1].replace(" --run_name nudge", "")
    names = shlex.split(options)
    given = {**dict(zip(names[::2], names[1::2], strict=True)), "data.num_steps": 10, "data.num_workers": 0}
    lines = [f"    {name.removeprefix('--')}: {value}" for name, value in given.items()]
    arms = ["arms:", "  farther:", "    options:", "      data.env.task_options: {distance: 0.06}"]
    head = ["config: [configs/pretrain_ppo.yaml]", "seeds: [1]", "options:"]
    (folder / "nudges.yaml").write_text("\n".join([*head, *(line[2:] for line in lines), *arms]))
    process = Warm(study, "nudges.yaml", cwd=folder, merged=True)
    output, _ = process.communicate()
    assert process.returncode == 0, output[-3000:]
    assert "All 1 runs" in output


def test_the_check(folder):
    status, _, errors = run(CHECK, folder)
    assert status == 0, errors[-3000:]
    broken = FILE.replace("self.start = torch.zeros(self.num_envs, 3, device=self.device)", "self.start = [None]")
    broken = broken.replace("self.start[env_idx] = place", "self.start[0] = place").replace(
        "self.start)", "self.start[0])"
    )
    broken = broken.replace('"start": self.start', '"start": self.start[0]')
    (folder / "my_broken.py").write_text(broken)
    _, _, errors = run(CHECK.replace("my_tasks", "my_broken"), folder)
    assert "UserError: Task Nudge-v1: from the same restored state" in errors
    assert "'start.0' of its task" in errors
