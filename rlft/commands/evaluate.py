"""`rlft evaluate`: the success of any policy, with intervals, deterministic and stochastic."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table

from rlft.commands.arguments import parse
from rlft.commands.environments import environment_of, side_by_side, task_of
from rlft.envs.initial_states import EVALUATION_SEED
from rlft.envs.maniskill import AS_RECORDED, EnvSettings, ManiSkill
from rlft.errors import UserError
from rlft.networks.policy_checks import Mismatch, check_fits
from rlft.networks.policy_files import Policy, load_policy
from rlft.rollout import WorkerDied, Workers, make_rollouts
from rlft.runs.behaviour import failure_sentence, measures
from rlft.statistics.evaluations import legacy_success_rate, summarize
from rlft.statistics.rates import p_text, paired, wilson
from rlft.types import Behaviour, EnvFactory, EpisodeResults, Rollouts

Actions = Literal["both", "deterministic", "stochastic"]
LEGACY_ENVS, LEGACY_STEPS = 128, 50  # of the evaluation in the founding documents
PATIENCE = 30.0  # seconds between lines about progress where stderr is no terminal


def evaluate(
    policy: str,
    episodes: int = 1000,
    task: str | None = None,
    control_mode: str | None = None,
    num_envs: int = 128,
    num_workers: int | None = None,
    seed: int = EVALUATION_SEED,
    against: str | None = None,
    actions: Actions = "both",
    legacy: bool = False,
    accept_mismatch: tuple[Mismatch, ...] = (),
    env_settings: EnvSettings = AS_RECORDED,
    workers: Workers | None = None,
) -> dict[str, EpisodeResults]:
    """Measures the success of a policy, with its mean actions, with sampled ones or with both.

    One episode per fixed initial state, played to the time limit whatever happens on the way: the rates are unbiased,
    and equal on every machine with the same number of episodes.

    Args:
        policy: a zoo name such as `pickcube/weak`, a policy or checkpoint file, or the folder of a run.
        episodes: how many, each from its own initial state.
        task: ManiSkill task; by default the one the policy's file names, else PickCube-v1.
        control_mode: by default the one the policy's file names, else pd_joint_delta_pos.
        num_envs: environments stepped in parallel.
        num_workers: processes to simulate in; 0 simulates in this process, `null` uses one per processor core.
        seed: which bank of initial states.
        against: another policy to play from the same initial states; the difference is tested in pairs, which tells
            apart what the two intervals may not. Both have the reward mode and the time limit of the first one.
        actions: which to play: the policy's mean or most likely ones, which are `deterministic`, sampled ones, which
            are `stochastic`, or `both`.
        legacy: also print the biased rate of the founding documents (128 environments that reset themselves, 50 steps,
            sampled actions, average over the episodes that finish), for comparison with their figures only.
        accept_mismatch: in what the task may differ from the one that the policy's file says it was made for.
        env_settings: in what else the environment is to differ from what the policy's file says.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.

    Returns:
        The episodes of `policy` by kind of actions; under `deterministic` alone if it acts without noise.

    Raises:
        UserError: if a policy or the task cannot be had, or they do not fit together.
    """
    for name, value, least in (("episodes", episodes, 1), ("num_envs", num_envs, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"{name} is {value}; it must be at least {least}.")
    policies = [load_policy(name) for name in (policy, against) if name is not None]
    envs = [environment_of(one, task, control_mode, env_settings) for one in policies]
    if against is not None:
        envs = _of_one_reward(policies, side_by_side(policies, envs))
    results = []
    for one, env in zip(policies, envs, strict=True):
        played, behaviour = _play(one, env, episodes, num_envs, (num_workers, workers), seed, accept_mismatch, actions)
        results.append(played)
        _print(one, env, results[-1])
        _print_behaviour(results[-1], behaviour)
        if legacy:
            _print_legacy(one, env, (num_workers, workers), seed)
    if against is not None:
        _print_difference(f"{policy} less {against}", actions, *results)
    return results[0]


def _of_one_reward(policies: Sequence[Policy], envs: Sequence[EnvFactory]) -> list[EnvFactory]:
    """With that of the first one: returns of two rewards say nothing together."""
    first, last = envs
    if not (isinstance(first, ManiSkill) and isinstance(last, ManiSkill)) or first.reward_mode == last.reward_mode:
        return [first, last]
    made_with = f"{policies[1].name} was made with {last.reward_mode}"
    print(f"Returns are of reward mode {first.reward_mode} for both; {made_with}.")
    return [first, replace(last, reward_mode=first.reward_mode)]


def _play(
    policy: Policy,
    env: EnvFactory,
    episodes: int,
    num_envs: int,
    workers: tuple[int | None, Workers | None],
    seed: int,
    accepted: Sequence[Mismatch],
    actions: Actions,
) -> tuple[dict[str, EpisodeResults], Behaviour]:
    """Episodes by kind of action, and what is told of them."""
    rollouts = make_rollouts(env, min(num_envs, episodes), *workers)
    try:
        for note in check_fits(policy, env, rollouts.spec, accepted):
            print(note)
        if not policy.actor.noise_dim:
            print(f"{policy.name} acts without noise, so stochastic actions are the same.")
        kinds = _kinds(actions) if policy.actor.noise_dim else ["deterministic"]
        results = {kind: _evaluate(rollouts, policy, episodes, seed, kind) for kind in kinds}
    finally:
        rollouts.close()
    return results, rollouts.spec.behaviour


def _kinds(actions: Actions) -> list[str]:
    return ["deterministic", "stochastic"] if actions == "both" else [actions]


def _evaluate(rollouts: Rollouts, policy: Policy, episodes: int, seed: int, kind: str) -> EpisodeResults:
    """Plays in waves, and says in between how far it is."""
    console, waves = Console(stderr=True), []
    started = said = time.perf_counter()
    with console.status("") as status:
        for first in range(0, episodes, rollouts.num_envs):
            now = time.perf_counter()
            text = f"{policy.name}: {first:,} of {episodes:,} episodes with {kind} actions  {now - started:.0f} s"
            status.update(text)
            if not console.is_terminal and now - said > PATIENCE:
                print(text, file=sys.stderr, flush=True)
                said = now
            count = min(rollouts.num_envs, episodes - first)
            waves.append(
                rollouts.evaluate(policy.actor, count, seed=seed, deterministic=kind == "deterministic", first=first)
            )
    return EpisodeResults.cat(waves)


def _print(policy: Policy, env: EnvFactory, results: dict[str, EpisodeResults]) -> None:
    table = _table(
        "success at any step; steps: until success, where there is one",
        ("actions", "success", "95% interval", "at end", "return", "steps"),
    )
    for kind, episodes in results.items():
        s = summarize(episodes)
        steps = episodes.length[episodes.success_once].double()
        table.add_row(
            kind,
            f"{s['success_rate']:.1%}",
            f"{s['success_rate_low']:.1%} - {s['success_rate_high']:.1%}",
            f"{s['success_at_end']:.1%}",
            f"{s['return']:.3f}",
            f"{steps.mean():.1f}" if len(steps) else "-",
        )
    _show(f"{policy.name} on {task_of(env)}, {len(next(iter(results.values())))} episodes", table)


def _print_behaviour(results: dict[str, EpisodeResults], behaviour: Behaviour) -> None:
    """What the policy does, as far as the task tells."""
    if not behaviour.measures:
        return
    found = {kind: summarize(episodes, behaviour) for kind, episodes in results.items()}
    table = _table("means over the episodes, each up to its end", ("actions", *found))
    for name in behaviour.names:
        table.add_row(name, *(f"{measures(metrics, '')[name]:.3g}" for metrics in found.values()))
    _show("What it does", table)
    for kind, metrics in found.items():
        if sentence := failure_sentence(metrics, ""):
            print(f"{kind}: {sentence}")


def _print_difference(
    title: str, actions: Actions, first: dict[str, EpisodeResults], second: dict[str, EpisodeResults]
) -> None:
    table = _table(
        "points of success; won, lost: initial states from which only the first, only the second succeeded; Newcombe's "
        "interval for pairs, McNemar's exact test",
        ("actions", "difference", "95% interval", "won", "lost", "p"),
    )
    # without noise, stochastic actions are the deterministic ones
    for kind in [kind for kind in _kinds(actions) if kind in {**first, **second}] or ["deterministic"]:
        one, other = (
            (results[kind] if kind in results else results["deterministic"]).success_once.tolist()
            for results in (first, second)
        )
        found = paired(one, other)
        points = [
            f"{100 * share:+.1f}" for share in (found.difference.value, found.difference.low, found.difference.high)
        ]
        table.add_row(kind, points[0], " to ".join(points[1:]), str(found.won), str(found.lost), p_text(found.p))
    _show(title, table)


def _show(title: str, table: Table) -> None:
    print(title)  # a title of the table's own would be cut to its width, in the middle of a path
    Console().print(table)


def _table(caption: str, columns: Sequence[str]) -> Table:
    table = Table(caption=caption)
    for column in columns:
        table.add_column(column, justify="left" if column == "actions" else "right")
    return table


def _print_legacy(policy: Policy, env: EnvFactory, workers: tuple[int | None, Workers | None], seed: int) -> None:
    rollouts: Rollouts = make_rollouts(env, LEGACY_ENVS, *workers)
    try:
        rollout, *_ = rollouts.collect(policy.actor, rollouts.initial_states(seed), LEGACY_STEPS, seed, iteration=0)
    finally:
        rollouts.close()
    rate, finished = legacy_success_rate(rollout)
    first = int(_first_episode_success(rollout.success, rollout.done).sum())
    low, high = wilson(first, LEGACY_ENVS)
    print(
        f"legacy estimator: {rate:.1%} of the {finished} episodes that finished; the same run counted once per "
        f"environment: {first / LEGACY_ENVS:.1%} [{low:.1%}, {high:.1%}]"
    )


def _first_episode_success(success: torch.Tensor, done: torch.Tensor) -> torch.Tensor:
    """[N] bool: the first episode of each environment succeeded; `success` and `done` are `[T, N]`."""
    earlier_dones = done.int().cumsum(0) - done.int()
    return (success & (earlier_dones == 0)).any(0)


def run(args: Sequence[str]) -> None:
    """Runs `rlft evaluate` with command-line arguments."""
    description = "Measures the success of a policy, deterministic and stochastic."
    options = parse(evaluate, "rlft evaluate", description, args)
    try:
        evaluate(**options)
    except WorkerDied as error:
        raise UserError(str(error)) from error
