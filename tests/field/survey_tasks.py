"""Tries every task that ManiSkill registers: build, reset, three steps, save and restore.

    python -m tests.field.survey_tasks [task ...]

Prints one line per task: works, refused and with which sentence, or what broke; then how many of each. A broken one is
a bug of rlft's: whatever a task needs and does not have is to be said in a sentence.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import traceback
from collections import Counter

import torch

from rlft.envs import ManiSkill
from rlft.envs.maniskill.building import registered
from rlft.envs.maniskill.rewards import listed_reward_modes
from rlft.errors import UserError
from rlft.types import EnvStates

PATIENCE = 600  # seconds per task


def attempt(task: str) -> str:
    """What comes of a task, in one line that begins with works, refused or broken."""
    try:
        mode = next(iter(listed_reward_modes(registered(task).cls)), "sparse")
        try:
            return use(ManiSkill(task, None, mode, device="cpu"))
        except UserError as error:
            if not (better := re.search(r"set reward_mode of the environment to (\w+)", str(error))):
                raise
            return use(ManiSkill(task, None, better[1], device="cpu"))
    except UserError as error:
        return f"refused: {error}"
    except BaseException:
        return f"broken: {' | '.join(traceback.format_exc().splitlines()[-4:])}"


def use(config: ManiSkill) -> str:
    """Plays a little, goes back and plays on."""
    batch = config.make(4)
    low, high = batch.spec.action_low.clamp(-1, 1), batch.spec.action_high.clamp(-1, 1)
    batch.initial_states(0)
    for _ in range(3):
        step = batch.step(low + (high - low) * torch.rand(4, len(low)))
    physics, task = batch.save(range(4))
    count = torch.zeros(4, dtype=torch.int64)
    batch.restore([3, 1, 0, 2], EnvStates(physics, task, step.obs, count + 3, count))
    assert batch.step(torch.zeros(4, len(low))).obs.isfinite().all()
    sizes = (
        f"{batch.spec.obs_dim} observations, {batch.spec.action_dim} actions, {task.shape[1]} numbers beside physics"
    )
    return f"works: reward {config.reward_mode}, {sizes}"


def in_a_process(task: str) -> str:
    """`attempt` in a process of its own, which a task may take down."""
    command = [sys.executable, "-m", "tests.field.survey_tasks", "--one", task]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"broken: no answer within {PATIENCE} s"
    return done.stdout.strip() or f"broken: exit status {done.returncode}: {done.stderr[-300:]}"


def main(tasks: list[str]) -> None:
    """Prints the table."""
    results = {}
    for task in tasks or list(_registry()):
        results[task] = in_a_process(task)
        print(f"{task:45} {results[task]}", flush=True)
    print(dict(Counter(result.split(":")[0] for result in results.values())))


def _registry() -> list[str]:
    registered("PickCube-v1")
    from mani_skill.utils.registration import REGISTERED_ENVS

    return list(REGISTERED_ENVS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        torch.set_num_threads(1)
        saved = os.dup(1)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            os.dup2(nowhere.fileno(), 1)  # ManiSkill and SAPIEN print
            answer = attempt(sys.argv[2])
        os.write(saved, answer.encode())
    else:
        main(sys.argv[1:])
