"""`rlft rank`: can an estimator of A or Q rank the actions of a state?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rlft.commands.arguments import parse
from rlft.commands.environments import environment_of
from rlft.envs.maniskill import AS_RECORDED, EnvSettings
from rlft.envs.snapshots import require_snapshots
from rlft.errors import UserError
from rlft.files.atomic import replacing
from rlft.files.folders import output_folder
from rlft.networks.policy_checks import Mismatch, check_fits
from rlft.networks.policy_files import Policy, load_policy
from rlft.ranking.experiment import SEED, Report, Settings, Study
from rlft.ranking.parts import Parts
from rlft.ranking.ranking import INDEPENDENT, SHARED, Ranking, rank_estimators, trajectory_estimates
from rlft.ranking.report import as_json, markdown, rich_table, summary
from rlft.ranking.scorers import Critics, load_critics, scorers
from rlft.rollout import WorkerDied, Workers, make_rollouts
from rlft.types import EnvFactory

Protocols = Literal["both", "independent", "shared"]


def rank(
    policy: str,
    out: str = "ranking",
    states: int = 200,
    actions: int = 8,
    samples: int = 64,
    trajectories: int = 16,
    gamma: float = 0.8,
    protocol: Protocols = "both",
    critic: str | None = None,
    iql: str | None = None,
    sarsa: str | None = None,
    off_policy: str | None = None,
    tolerance: float = 1e-3,
    training_steps: int = 400,
    training_states: int = 200,
    training_samples: int = 8,
    task: str | None = None,
    control_mode: str | None = None,
    num_envs: int = 128,
    num_workers: int | None = None,
    seed: int = SEED,
    accept_mismatch: tuple[Mismatch, ...] = (),
    env_settings: EnvSettings = AS_RECORDED,
    workers: Workers | None = None,
) -> Ranking:
    """Measures how well estimators of A or Q rank the actions of one state.

    Samples actions in states that a policy visits, measures what each is worth by many re-rollouts, and correlates
    that with what estimators say. Writes `ranking.md`, `ranking.json` and `ranking.png`. What was simulated is kept in
    `simulation.safetensors`: the same command again goes on where it was interrupted.

    Args:
        policy: the policy to be improved: a zoo name such as `pickcube/weak`, or a policy or checkpoint file.
        out: directory for results.
        states: how many, from rollouts of the policy, spread over elapsed time.
        actions: per state, sampled from the policy.
        samples: re-rollouts per action that are the ground truth, independent of all that estimators see.
        trajectories: per action, for estimators.
        gamma: discount per env step.
        protocol: `independent` ground truth, the mean return of (up to ten) trajectories that is `shared` with the
            estimators, as in the founding documents, or `both`.
        critic: policy file whose critic GAE and TD use; by default one is fitted to Monte-Carlo returns.
        iql: policy file whose critic was trained by IQL: ranks with its Q, and with GAE from its V.
        sarsa: policy file whose critic was trained by SARSA.
        off_policy: policy file whose critics were trained by an `OffPolicyModule`: ranks with their mean Q.
        tolerance: trajectories end once gamma^steps is below this.
        training_steps: env steps in each environment that the regressed networks are trained on.
        training_states: further states for the networks that are trained to compare the actions of a state.
        training_samples: re-rollouts per action in these.
        task: ManiSkill task; by default the one the policy's file names, else PickCube-v1.
        control_mode: by default the one the policy's file names, else pd_joint_delta_pos.
        num_envs: environments stepped in parallel.
        num_workers: processes to simulate in; 0 simulates in this process, `null` uses one per processor core.
        seed: addresses initial states and all noise.
        accept_mismatch: in what the task may differ from the one that the policy's file says it was made for.
        env_settings: in what else the environment is to differ from what the policy's file says.
        workers: where these live, as `Ray` for a cluster; by default they are processes of this machine.

    Returns:
        All correlations.

    Raises:
        UserError: if the policies or the task cannot be had, do not fit together, or `out` holds another study.
    """
    loaded = load_policy(policy)
    env = environment_of(loaded, task, control_mode, env_settings)
    settings = Settings(
        states=states,
        actions=actions,
        samples=samples,
        trajectories=trajectories,
        gamma=gamma,
        tolerance=tolerance,
        training_steps=training_steps,
        training_states=training_states,
        training_samples=training_samples,
        num_envs=num_envs,
        seed=seed,
    )
    return rank_in(
        env,
        loaded,
        settings,
        output_folder(out, ".png", ".md", ".csv", ".json"),
        Critics(critic, iql, sarsa, off_policy),
        protocol,
        num_workers,
        accept_mismatch,
        workers,
    )


def rank_in(
    env: EnvFactory,
    policy: Policy,
    settings: Settings,
    out: Path,
    critics: Critics,
    protocol: Protocols,
    num_workers: int | None,
    accepted: Sequence[Mismatch] = (),
    workers: Workers | None = None,
) -> Ranking:
    """The study in any environment; see `rank`."""
    console = Console()
    made_of = {**asdict(settings), "policy": _digest(policy), "env": _description(env)}
    parts = Parts(out / "simulation.safetensors", made_of)
    with _progress(console) as report:
        with closing(make_rollouts(env, settings.num_envs, num_workers, workers)) as rollouts:
            spec = rollouts.spec
            require_snapshots(spec, "rlft rank")
            if spec.image is not None:
                raise UserError(f"rlft rank plays on from states, and {spec.task} is observed in pictures here.")
            for note in check_fits(policy, env, spec, accepted):
                console.print(note)
            given = load_critics(critics, spec, settings.gamma, getattr(env, "reward_mode", None))
            study = Study(rollouts, policy.actor, settings, parts, report, console.print)
            simulated = study.simulate()
        report("networks")
        values, learned = scorers(simulated, study.simulator, given)
        report("estimates")
        estimates = trajectory_estimates(simulated.actions, simulated.paths, settings.gamma, values)
        protocols = (INDEPENDENT, SHARED) if protocol == "both" else (protocol,)
        ranking = rank_estimators(simulated.actions, simulated.truth, estimates, learned, values, protocols)
    _write(ranking, f"Ranking the actions of {policy.name}, gamma {settings.gamma:g}", out, parts, console)
    return ranking


def _write(ranking: Ranking, title: str, out: Path, parts: Parts, console: Console) -> None:
    """The table, and the three files."""
    for protocol in dict.fromkeys(score.protocol for score in ranking.scores):
        console.print(rich_table(ranking, protocol, title))
    cost = f"{sum(parts.sim_steps.values()):,} simulator steps in all."
    for line in (*summary(ranking), cost):
        console.print(line, highlight=False)
    has_figure = _draw(ranking, title, out / "ranking.png")
    if not has_figure:
        console.print("There is no ranking.png: matplotlib is missing, which pip install 'rlft\\[docs]' adds.")
    for name, text in (
        ("ranking.md", markdown(ranking, title, cost, has_figure)),
        ("ranking.json", as_json(ranking, parts.settings, parts.sim_steps)),
    ):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
    console.print(f"Written to {out}.")


def _draw(ranking: Ranking, title: str, path: Path) -> bool:
    """Whether there is a picture now."""
    try:
        from rlft.ranking.figure import draw
    except ImportError:  # matplotlib is an extra
        return False
    with replacing(path) as temporary:
        draw(ranking, title, temporary)
    return True


@contextmanager
def _progress(console: Console) -> Iterator[Report]:
    """A line with a bar for each part of the study."""
    columns = TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:

        def finish() -> None:
            for task in progress.task_ids:
                progress.update(task, total=1, completed=1)

        def report(name: str) -> Callable[[int, int], None]:
            finish()
            task = progress.add_task(name, total=None)
            return lambda begun, total: progress.update(task, completed=begun, total=total)

        yield report
        finish()


def _description(env: EnvFactory) -> str:
    """Tells environments apart, also by what is in modules that they import."""
    imports = env.data_settings().get("imports")
    return repr(env) if imports is None else f"{env!r}, imports {imports}"


def _digest(policy: Policy) -> str:
    """Tells policies apart by their weights."""
    weights = policy.actor.state_dict()
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()[:16]


def run(args: Sequence[str]) -> None:
    """Runs `rlft rank` with command-line arguments."""
    description = "Measures how well estimators of A or Q rank the actions of one state."
    options = parse(rank, "rlft rank", description, args)
    try:
        rank(**options)
    except (WorkerDied, OSError) as error:
        raise UserError(str(error)) from error
