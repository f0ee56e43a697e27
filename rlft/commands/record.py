"""`rlft record`: films of evaluation episodes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console

from rlft.commands.arguments import parse
from rlft.commands.environments import environment_of, side_by_side
from rlft.envs import ManiSkill
from rlft.envs.drawing import DrawingProcess, check_size
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.envs.maniskill import AS_RECORDED, EnvSettings
from rlft.errors import UserError
from rlft.files.folders import check_folder
from rlft.networks.policy_checks import Mismatch, check_fits
from rlft.networks.policy_files import Policy, load_policy
from rlft.rollout import WorkerDied, Workers, make_rollouts
from rlft.types import EnvFactory, RecordedEpisodes, Rollouts
from rlft.videos.choice import Choice, Which
from rlft.videos.file_names import label, stem
from rlft.videos.files import check_encoder
from rlft.videos.film import Film, Take, frames, make_film

SCENES = 128  # in which episodes are played


def record(
    policy: str,
    episodes: int | None = None,
    which: Which = "first",
    among: int | None = None,
    beside: str | None = None,
    out: str = "videos",
    size: int = 256,
    deterministic: bool = True,
    task: str | None = None,
    control_mode: str | None = None,
    env_settings: EnvSettings = AS_RECORDED,
    num_workers: int | None = None,
    seed: int = EVALUATION_SEED,
    accept_mismatch: tuple[Mismatch, ...] = (),
    workers: Workers | None = None,
) -> Film:
    """Writes a film and a contact sheet of evaluation episodes of a policy.

    The episodes are those of `rlft evaluate`, by their numbers: the same code plays them, in batches and without
    pictures, and keeps every packed state. Then each state is restored in one scene and drawn, and what the scene holds
    is compared with it. A GPU draws, or SwiftShader on a CPU, which Debian's `apt-get install chromium` brings.

    Args:
        policy: a zoo name such as `pickcube/weak`, a policy or checkpoint file, or the folder of a run.
        episodes: how many to record; by default 4.
        which: the `first` ones, the first that `failed`, or numbers, as `[3, 17]`.
        among: how many evaluation episodes are played to find those that failed; by default 128.
        beside: another policy to show from the same initial states, on the right.
        out: folder for the files, `<policy>.mp4` and `<policy>.png`; earlier ones of these names are replaced.
        size: of a picture, in pixels.
        deterministic: take the mean or most likely action, in place of a sample.
        task: ManiSkill task; by default the one the policy's file names, else PickCube-v1.
        control_mode: by default the one the policy's file names, else pd_joint_delta_pos.
        env_settings: in what else the environment is to differ from what the policy's file says.
        num_workers: processes to simulate in; 0 simulates in this process, `null` uses one per processor core.
        seed: which bank of initial states.
        accept_mismatch: in what the task may differ from the one that the policy's file says it was made for.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.

    Returns:
        What was written.

    Raises:
        UserError: if a policy or the task cannot be had, nothing can draw here, or no episode is as asked.
    """
    choice = Choice(which, episodes, among)
    check_size(size, "--size")
    if seed < 0:
        raise UserError(f"--seed is {seed}; it must be at least 0.")
    policies = [load_policy(name) for name in (policy, beside) if name is not None]
    envs = [environment_of(one, task, control_mode, env_settings) for one in policies]
    if beside is not None:
        envs = side_by_side(policies, envs)
        if not isinstance(envs[0], ManiSkill) and envs[0] != envs[1]:
            raise UserError(f"{policy} plays in {envs[0]}, {beside} in {envs[1]}; a film shows both in the same.")
    check_encoder()
    folder = check_folder(out, ".mp4", ".png", ".gif")
    stages = _Stages()
    with stages.status, closing(DrawingProcess(envs[0], size)) as renderer:
        playing = _Playing(choice, (num_workers, workers), seed, deterministic, tuple(accept_mismatch), stages)
        takes = playing.takes(policies, envs)
        stages.begin_drawing(renderer.device, frames(takes))
        name = stem([one.name for one in policies], which, deterministic=deterministic)
        film = make_film(renderer, takes, folder / name, stages.drawn)
    print(f"{film.video}  {film.video.stat().st_size / 1e6:.2f} MB\n{film.sheet}\n{stages.summary()}")
    return film


@dataclass(frozen=True)
class _Playing:
    """How episodes are chosen and played."""

    choice: Choice
    workers: tuple[int | None, Workers | None]  # how many, and where
    seed: int
    deterministic: bool
    accepted: tuple[Mismatch, ...]
    stages: _Stages

    def takes(self, policies: Sequence[Policy], envs: Sequence[EnvFactory]) -> list[Take]:
        """The same episodes of every policy; the first one's successes decide which."""
        takes: list[Take] = []
        for policy, env in zip(policies, envs, strict=True):
            numbers = takes[0].numbers if takes else self.choice.to_play
            with closing(make_rollouts(env, min(SCENES, len(numbers)), *self.workers)) as rollouts:
                for note in check_fits(policy, env, rollouts.spec, self.accepted):
                    print(note)
                played = self._play(policy, rollouts, numbers)
            chosen = played if takes else self.choice.of(played, policy.name)
            takes.append(Take(label(policy.name) + ("" if self.deterministic else ", sampled"), chosen))
        print(f"recorded: episodes {', '.join(map(str, takes[0].numbers))}")
        return takes

    def _play(self, policy: Policy, rollouts: Rollouts, numbers: Sequence[int]) -> RecordedEpisodes:
        self.stages.say(f"{policy.name}: {len(numbers)} evaluation episodes")
        played = rollouts.record(policy.actor, numbers, seed=self.seed, deterministic=self.deterministic)
        print(f"{policy.name}: success in {int(played.results.success_once.sum())} of {len(numbers)} episodes played")
        return played


class _Stages:
    """Says what is going on, and how long drawing takes."""

    def __init__(self) -> None:
        self.status = Console().status("looking for something to draw with")
        self._began = time.perf_counter()
        self._device = ""
        self._total = self._drawn = 0
        self._first = 0.0  # seconds until the first picture was there

    def say(self, text: str) -> None:
        """On the terminal, if there is one."""
        self.status.update(text)

    def begin_drawing(self, device: str, total: int) -> None:
        """From now on `total` pictures are drawn."""
        self._device, self._total = device, total
        print(f"{total} pictures to draw with {device}")
        self.say("waiting for the first one")

    def drawn(self) -> None:
        """One more picture is there."""
        self._drawn += 1
        if self._drawn == 1:
            self._first = time.perf_counter() - self._began
        self.say(f"{self._drawn} of {self._total} pictures, {self._rate:.1f} per second")

    @property
    def _rate(self) -> float:
        seconds = time.perf_counter() - self._began - self._first
        return (self._drawn - 1) / max(seconds, 1e-9)

    def summary(self) -> str:
        """What it has cost."""
        return (
            f"{self._drawn} pictures by {self._device}: the first after {self._first:.0f} s, then {self._rate:.1f} per "
            "second"
        )


def run(args: Sequence[str]) -> None:
    """Runs `rlft record` with command-line arguments."""
    options = parse(record, "rlft record", "Writes a film and a contact sheet of evaluation episodes.", args)
    try:
        record(**options)
    except WorkerDied as error:
        raise UserError(str(error)) from error
