"""`rlft collect`: episodes of one or several policies, in ManiSkill's trajectory format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from rich.console import Console
from rich.table import Table

from rlft.commands.arguments import parse
from rlft.commands.environments import environment_of
from rlft.envs.initial_states import TRAINING, InitialStates
from rlft.envs.maniskill import AS_RECORDED, EnvSettings
from rlft.errors import UserError
from rlft.files.folders import typed_path
from rlft.networks import DeterministicActor
from rlft.networks.policy_checks import Mismatch, check_fits
from rlft.networks.policy_files import Policy, load_policy
from rlft.networks.privileged import demonstrating
from rlft.rollout import WorkerDied, Workers, make_rollouts
from rlft.statistics.rates import wilson
from rlft.trajectories import TrajectoryWriter, check_output, writing_trajectories
from rlft.trajectories.playing import Episode, play_episodes
from rlft.types import EnvFactory, EnvStates, Rollouts, seen_with

SCENES = 64  # in which states are described


@dataclass(frozen=True)
class Collected:
    """What came of one policy."""

    policy: str
    episodes: int
    transitions: int
    successes: int
    sim_steps: int  # also those of episodes that were begun and not needed


@runtime_checkable
class Describable(Protocol):
    """Environments that ManiSkill can build and restore as well."""

    def state_dicts(self, rows: Sequence[int]) -> dict[str, Any]:
        """ManiSkill's state dictionary: nested, with arrays `[M, ...]`."""
        ...

    def gym_kwargs(self) -> dict[str, Any]:
        """Arguments of `gymnasium.make`."""
        ...


def collect(
    output: str,
    policies: tuple[str, ...] | str = "pickcube/weak",
    shares: tuple[float, ...] = (),
    episodes: int = 1000,
    deterministic: bool = False,
    env: EnvFactory | None = None,
    num_envs: int = 100,
    num_workers: int | None = None,
    seed: int = 1,
    overwrite: bool = False,
    accept_mismatch: tuple[Mismatch, ...] = (),
    env_settings: EnvSettings = AS_RECORDED,
    workers: Workers | None = None,
) -> list[Collected]:
    """Plays complete episodes and writes them as ManiSkill does, for offline learning and for ManiSkill's own tools.

    Every environment plays a fixed number of episodes, so short ones are not preferred. Episode `k` of the file begins
    in initial state `k` of the training bank of `seed`, whatever the number of environments and workers.

    Args:
        output: the `.h5` file to write; a `.json` of the same name says where it comes from.
        policies: zoo name such as `pickcube/weak`, or policy or checkpoint file; or several, as `[one, other]`.
        shares: of the episodes, one number per policy; by default equal.
        episodes: how many in all.
        deterministic: take the mean or most likely action, in place of a sample.
        env: the environment; by default the one that the first policy's file describes.
        num_envs: environments stepped in parallel.
        num_workers: processes to simulate in; 0 simulates in this process, `null` uses one per processor core.
        seed: addresses initial states and action noise.
        overwrite: replace existing files.
        accept_mismatch: in what the environment may differ from those that the policies' files say they were made for.
        env_settings: in what the environment is to differ from what the first policy's file says.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.

    Returns:
        The accounts, one per policy.

    Raises:
        UserError: if a policy or the task cannot be had, they do not fit together, or the output cannot be written.
    """
    for name, value, least in (("num_envs", num_envs, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name} is {value}; it must be at least {least}.")
    policies = (policies,) if isinstance(policies, str) else policies
    path, counts = typed_path(output), split(episodes, policies, shares)
    check_output(path, overwrite=overwrite)
    loaded = [load_policy(name) for name in policies]
    if env is not None and env_settings != AS_RECORDED:
        raise UserError("env_settings change what a policy's file says of its environment; with --env leave them out.")
    env = env or environment_of(loaded[0], settings=env_settings)
    with closing(make_rollouts(env, min(num_envs, max(counts)), num_workers, workers)) as rollouts:
        for policy in loaded:
            for note in check_fits(policy, env, rollouts.spec, accept_mismatch, demonstrates=True):
                print(note)
        described = ", ".join(f"{count} of {policy.name}" for count, policy in zip(counts, loaded, strict=True))
        described_env = env.describe(rollouts.spec)
        imports = {"imports": described_env["imports"]} if "imports" in described_env else {}
        made_with = {"task_options": seen_with(described_env), **imports}
        header = {
            "source_type": "rl",
            "source_desc": f"rlft collect: {described}",
            "rlft": {"version": version("rlft"), "seed": seed, "num_envs": rollouts.num_envs, **made_with},
        }
        collector = _Collector(env, rollouts, seed, deterministic=deterministic)
        with writing_trajectories(path, rollouts.spec, collector.gym_kwargs, header) as writer:
            accounts = [
                collector.play(policy, range(sum(counts[:i]), sum(counts[: i + 1])), writer)
                for i, policy in enumerate(loaded)
            ]
    _print(path, accounts)
    return accounts


def split(episodes: int, policies: Sequence[str], shares: Sequence[float]) -> list[int]:
    """How many episodes each policy plays: by share, rounded so that they add up (largest remainders).

    Raises:
        UserError: if there is not a positive share for every policy, or too few episodes.
    """
    shares = shares or [1.0] * len(policies)
    if not policies or len(shares) != len(policies) or not all(0 < share < float("inf") for share in shares):
        raise UserError(f"shares is {list(shares)}; it must be one positive number for each of {list(policies)}.")
    exact = [episodes * share / sum(shares) for share in shares]
    counts = [int(number) for number in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_remainder[: episodes - sum(counts)]:
        counts[i] += 1
    if min(counts) < 1:
        raise UserError(f"episodes is {episodes}; with these shares some policy would play none.")
    return counts


class _Collector:
    """Plays episodes and describes their states as ManiSkill does, where it can."""

    def __init__(self, env: EnvFactory, rollouts: Rollouts, seed: int, *, deterministic: bool) -> None:
        self.rollouts = rollouts
        self.seed = seed
        self.deterministic = deterministic
        self._bank = InitialStates(env)
        self._iterations: Iterator[int] = itertools.count()
        self._scenes = env.make(SCENES)
        self.gym_kwargs = self._scenes.gym_kwargs() if isinstance(self._scenes, Describable) else vars(env)

    def play(self, policy: Policy, numbers: range, writer: TrajectoryWriter) -> Collected:
        """Episodes `numbers` of the bank, played by `policy`."""
        spec = self.rollouts.spec
        actor = demonstrating(policy.actor, spec.obs_dim, spec.privileged_dim)
        actor = DeterministicActor(actor) if self.deterministic else actor
        num_envs, horizon = self.rollouts.num_envs, spec.max_episode_steps
        starts = self._bank.get(TRAINING, self.seed, range(numbers.start, numbers.start + num_envs))
        episodes = transitions = successes = sim_steps = 0
        with Console().status(policy.name) as status:
            for played in play_episodes(self.rollouts, actor, starts, len(numbers), self.seed, self._iterations):
                for episode in played:
                    self._write(writer, policy, episode)
                episodes += len(played)
                transitions += sum(len(episode.steps) for episode in played)
                successes += sum(bool(episode.steps.success.any()) for episode in played)
                sim_steps += num_envs * horizon
                status.update(f"{policy.name}: {episodes} of {len(numbers)} episodes")
        return Collected(policy.name, episodes, transitions, successes, sim_steps)

    def _write(self, writer: TrajectoryWriter, policy: Policy, episode: Episode) -> None:
        info = {
            "control_mode": self.gym_kwargs.get("control_mode", self.rollouts.spec.control_mode),
            "episode_seed": episode.number,  # ManiSkill wants one; that it does not reset to this state is why ...
            "bank_seed": self.seed,
            "bank_episode": episode.number,
            "policy": policy.name,
            "actions": "deterministic" if self.deterministic else "sampled",
        }
        env_states = self._describe(episode.states)  # ... replaying needs --use-first-env-state
        writer.add(episode.number, episode.steps, env_states, info)

    def _describe(self, states: EnvStates) -> dict[str, Any]:
        """ManiSkill's dictionary of `states [M]`; nothing if the environment has none."""
        if not isinstance(self._scenes, Describable):
            return {}
        parts = []
        for part in (states[i : i + SCENES] for i in range(0, len(states), SCENES)):
            self._scenes.restore(range(len(part)), part)
            parts.append(self._scenes.state_dicts(range(len(part))))
        joined: dict[str, Any] = _join(parts)
        return joined


def _join(parts: Sequence[Any]) -> Any:
    """Nested dictionaries of arrays, joined along the first dimension."""
    if isinstance(parts[0], dict):
        return {name: _join([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def _print(path: Path, accounts: Sequence[Collected]) -> None:
    table = Table(
        caption="success at any step; sim steps: simulated, with those of episodes that were begun and not needed"
    )
    table.add_column("policy", overflow="fold")
    for column in ("episodes", "transitions", "success", "95% interval", "sim steps"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in accounts:
        low, high = wilson(one.successes, one.episodes)
        table.add_row(
            one.policy,
            f"{one.episodes:,}",
            f"{one.transitions:,}",
            f"{one.successes / one.episodes:.1%}",
            f"{low:.1%} - {high:.1%}",
            f"{one.sim_steps:,}",
        )
    print(path)  # a title of the table's own would be cut to its width
    Console().print(table)


def run(args: Sequence[str]) -> None:
    """Runs `rlft collect` with command-line arguments."""
    description = "Writes episodes of policies in ManiSkill's trajectory format."
    options = parse(collect, "rlft collect", description, args)
    try:
        collect(**options)
    except (WorkerDied, OSError) as error:
        raise UserError(str(error)) from error
