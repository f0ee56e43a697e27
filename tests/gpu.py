"""Whether rlft's path over a GPU works on this machine, how fast it is, and whether it agrees with the CPU.

    python -m tests.gpu [--only parity restore ...] [--episodes 1000] [--log_dir DIR]

Every check is a process of its own, so that one that fails, hangs or leaves the GPU in a bad state ends no other; what
they print is one table in the end. Exit status 1 if a check failed. It takes about four minutes on one H100.

- `parity`: deterministic success of a policy from the zoo with each simulator; initial states differ, for each device
  draws its own, so the difference has Newcombe's interval for independent rates.
- `restore`: states of a running rollout, put into other scenes: how far the same actions lead from what they led to at
  first, and from each other when restored twice.
- `rates`: env steps per second of `collect` (policy, resets and states included) for growing numbers of scenes, and of
  ManiSkill's own vectorised environment, which only steps random actions.
- `draw`: an episode, drawn by the GPU, for each simulator; a contact sheet lands in `--log_dir`.
- `learn`: short runs that learn on the GPU and simulate on the CPU, beside the same that learn on the CPU.
- `fit`, `rerollouts`, `off_policy`: short runs that do both on the GPU; all with the seconds of each iteration's parts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import torch

from rlft.envs import ManiSkill
from rlft.envs.drawing import DrawingProcess
from rlft.envs.maniskill.building import register_tasks
from rlft.networks.policy_files import load_policy
from rlft.rollout import LocalRollouts, make_rollouts
from rlft.statistics.rates import Estimate, newcombe, wilson
from rlft.system import available_cores
from rlft.types import Rollouts
from rlft.videos.files import write_png
from rlft.videos.pictures import contact_sheet
from tests.support.hand_made import REPO

Row = tuple[str, str]  # what, and what came of it
LIMIT = 240  # seconds of one check
STEPS = 50


def parity(policy: str, episodes: int) -> list[Row]:
    """Success with each simulator, and their difference."""
    actor = load_policy(policy).actor
    rates, rows = [], []
    for device, workers, scenes in (("cuda", 0, episodes), ("cpu", available_cores(), 128)):
        rollouts = make_rollouts(ManiSkill(device=device), scenes, workers)
        acting = actor.to("cuda") if device == "cuda" else actor.to("cpu")
        started = time.perf_counter()
        results = rollouts.evaluate(acting, episodes, seed=2024, deterministic=True)
        seconds = time.perf_counter() - started
        rollouts.close()
        won = int(results.success_once.sum())
        rates.append(Estimate(won / episodes, *wilson(won, episodes)))
        rows.append((f"{policy} on {device}", f"{_shown(rates[-1])} of {episodes} episodes, {seconds:.1f} s"))
    difference = newcombe(*rates)
    agrees = difference.low <= 0 <= difference.high
    return [*rows, (f"{policy}, difference", f"{_shown(difference)}: {'agree' if agrees else 'DIFFER'}")]


def _shown(rate: Estimate) -> str:
    return f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]"


def restore(device: str, scenes: int = 64) -> list[Row]:
    """How far restored states lead from where the same actions led the first time."""
    rollouts = LocalRollouts(ManiSkill(device=device), scenes)
    actor = load_policy("pickcube/weak").actor
    _, states, _ = rollouts.collect(actor, rollouts.initial_states(1), 20, seed=1, iteration=0)
    env = rollouts.worker.env
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(20, scenes, env.spec.action_dim, generator=generator) * 2 - 1
    order = torch.randperm(scenes, generator=generator)

    def future(rows: torch.Tensor) -> torch.Tensor:
        """Observations `[T, N, D]` of states put into `rows`, by state."""
        env.restore(rows.tolist(), states)
        placed = torch.empty_like(actions)
        placed[:, rows] = actions
        return torch.stack([env.step(action).obs.state[rows] for action in placed])

    straight = torch.arange(scenes)
    first, again, moved = future(straight), future(straight), future(order)
    return [
        (f"{device}: {name} after {steps} steps", f"{(one - first)[:steps].abs().max():.2e} at most")
        for name, one in (("the same scenes", again), ("other scenes", moved))
        for steps in (1, 5, 20)
    ]


def rates(device: str, scenes: int, workers: int = 0) -> list[Row]:
    """Env steps per second of `collect`, after one that warms up."""
    rollouts: Rollouts = make_rollouts(ManiSkill(device=device), scenes, workers)
    actor = load_policy("pickcube/weak").actor.to("cuda" if device == "cuda" else "cpu")
    states = rollouts.initial_states(1)
    _, states, _ = rollouts.collect(actor, states, 5, seed=1, iteration=0)
    started = time.perf_counter()
    rollouts.collect(actor, states, STEPS, seed=1, iteration=1)
    seconds = time.perf_counter() - started
    rollouts.close()
    where = f"{device}, {scenes} scenes" + (f", {workers} processes" if workers else "")
    return [(where, f"{scenes * STEPS / seconds:,.0f} env steps/s{_memory() if device == 'cuda' else ''}")]


def _memory() -> str:
    free, total = torch.cuda.mem_get_info()
    return f", {(total - free) / 2**30:.1f} GiB of the card in use"


def stock(scenes: int) -> list[Row]:
    """Env steps per second of ManiSkill's own environment, with random actions and without resets."""
    register_tasks()
    import gymnasium

    kwargs = {"sim_backend": "physx_cuda", "render_backend": "none", "reward_mode": "sparse"}
    env = gymnasium.make("PickCube-v1", num_envs=scenes, control_mode="pd_joint_delta_pos", **kwargs)
    env.reset(seed=0)
    actions = torch.rand(STEPS, scenes, 8, device="cuda") * 2 - 1
    for action in actions[:5]:
        env.step(action)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for action in actions[:40]:
        env.step(action)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return [(f"stock ManiSkill, {scenes} scenes", f"{scenes * 40 / seconds:,.0f} env steps/s")]


def draw(log_dir: str, device: str) -> list[Row]:
    """Pictures of an episode."""
    config = ManiSkill(device=device)
    rollouts = LocalRollouts(config, 4)
    actor = load_policy("pickcube/expert").actor.to(device)
    recorded = rollouts.record(actor, [0], seed=2024, deterministic=True)
    states = recorded.states[0][::5]
    began = time.perf_counter()
    with closing(DrawingProcess(config, 256)) as renderer:
        renderer.aim(states)
        renderer.frames(states[:1])
        first, started = time.perf_counter() - began, time.perf_counter()
        pictures = renderer.frames(states)
        rate = len(pictures) / (time.perf_counter() - started)
    path = Path(log_dir) / f"drawn-{device}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, contact_sheet([list(pictures)]))
    said = f"first picture after {first:.1f} s, then {rate:.0f} of 256 x 256 a second"
    return [(f"{device}, drawn by {renderer.device}", said)]


def fit(log_dir: str, config: str, *options: str) -> list[Row]:
    """A short run, whose log says where its time went."""
    name = "-".join([config, *(option.rpartition("=")[2] for option in options)])
    command = [sys.executable, "-m", "rlft", "fit", f"--config={REPO / 'configs' / config}.yaml"]
    own = [f"--log_dir={log_dir}", f"--run_name={name}", "--eval.num_episodes=256", *options]
    started = time.perf_counter()
    ended = subprocess.run([*command, *own], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise RuntimeError(ended.stdout[-1500:])
    seconds = time.perf_counter() - started
    report = next(Path(log_dir).glob(f"{name}*/version_0/iterations.jsonl"))
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    timed = {key: value for key, value in lines[-1].items() if key.startswith("time/")}
    parts = ", ".join(f"{key.removeprefix('time/')} {value:.1f}" for key, value in timed.items())
    success = [f"{line['eval/success_rate']:.1%}" for line in lines if "eval/success_rate" in line]
    return [(name, f"{seconds:.0f} s; success {' '.join(success)}; last iteration, s: {parts}")]


CHECKS: dict[str, Callable[..., list[Row]]] = {
    "parity": parity,
    "restore": restore,
    "rates": rates,
    "stock": stock,
    "draw": draw,
    "fit": fit,
}


def plan(episodes: int, log_dir: str) -> dict[str, list[list[str]]]:
    """The processes of every check, as arguments of this module."""
    cuda = "--data.env.device=cuda"
    cores = str(available_cores())
    return {
        "parity": [["parity", "pickcube/expert", str(episodes)], ["parity", "pickcube/weak", str(episodes)]],
        "restore": [["restore", "cuda"], ["restore", "cpu"]],
        "rates": [
            *(["rates", "cuda", str(scenes)] for scenes in (64, 512, 4096)),
            *(["stock", str(scenes)] for scenes in (512, 4096)),
            ["rates", "cpu", "64"],
            ["rates", "cpu", "512", cores],
        ],
        "draw": [["draw", log_dir, "cuda"], ["draw", log_dir, "cpu"]],
        "learn": [
            [
                "fit",
                log_dir,
                config,
                f"--trainer.max_epochs={epochs}",
                "--data.env.device=cpu",
                f"--trainer.accelerator={where}",
            ]
            for config, epochs in (("gae_ppo", 3), ("off_policy", 4))
            for where in ("gpu", "cpu")
        ],
        "fit": [
            ["fit", log_dir, "gae_ppo", cuda, "--trainer.max_epochs=3"],
            ["fit", log_dir, "gae_ppo_512", cuda, "--data.num_envs=2048", "--data.total_timesteps=204800"],
        ],
        "rerollouts": [["fit", log_dir, "mc_rerollout_ppo", cuda, "--trainer.max_epochs=1"]],
        "off_policy": [["fit", log_dir, "off_policy", cuda, "--trainer.max_epochs=3"]],
    }


def main() -> None:
    """Runs the checks one after the other and prints the table; or one of them, for which it is called again."""
    if len(sys.argv) > 1 and sys.argv[1] in CHECKS:
        name, *arguments = sys.argv[1:]
        values = [int(value) if value.isdigit() else value for value in arguments]
        print(json.dumps(CHECKS[name](*values)))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(plan(1, "")), help="which checks")
    parser.add_argument("--episodes", type=int, default=1000, help="of each side of parity")
    parser.add_argument("--log_dir", help="where runs are kept; by default nowhere")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This machine has no CUDA device that PyTorch can use, so there is nothing to check.")
    card = torch.cuda.get_device_name()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "mani_skill", "sapien"))
    print(f"{card}, {available_cores()} cores, Python {platform.python_version()}, {versions}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        processes = plan(args.episodes, args.log_dir or folder)
        outcomes = [_outcome(process) for name in args.only or processes for process in processes[name]]
    rows = [row for outcome in outcomes for row in outcome or ()]
    print("\n| check | result |\n|---|---|\n" + "\n".join(f"| {what} | {result} |" for what, result in rows))
    sys.exit(any(outcome is None for outcome in outcomes))


def _outcome(process: list[str]) -> list[Row] | None:
    """What a check says, `None` if it failed; either is printed at once."""
    started = time.perf_counter()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.gpu", *process],
            text=True,
            capture_output=True,
            timeout=LIMIT,
            cwd=REPO,
            env={**os.environ, "PYTHONPATH": f"{REPO}:{os.environ.get('PYTHONPATH', '')}"},
        )
        rows: list[Row] = [tuple(row) for row in json.loads(ended.stdout.splitlines()[-1])]
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        why = f"no end after {LIMIT} s" if isinstance(error, subprocess.TimeoutExpired) else ended.stderr[-3000:]
        print(f"FAILED {' '.join(process)}: {why}", flush=True)
        return None
    for what, result in rows:
        print(f"{what}: {result} ({time.perf_counter() - started:.0f} s in all)", flush=True)
    return rows


if __name__ == "__main__":
    main()
