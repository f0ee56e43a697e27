"""Runs as rlft, ManiSkill and CleanRL log them, written with TensorBoard's own writer."""

from dataclasses import replace

from torch.utils.tensorboard import SummaryWriter

from rlft.comparison.histories import choose, histories
from rlft.comparison.reading import read_folder, read_history
from rlft.comparison.run_names import named
from rlft.runs.identity import Identity
from rlft.runs.status import Status, write_status
from rlft.statistics.rates import wilson


def write(folder, scalars):
    """An event file with `{tag: {step: value}}`; returns the folder."""
    writer = SummaryWriter(folder)
    for tag, points in scalars.items():
        for step, value in points.items():
            writer.add_scalar(tag, value, step)
    writer.close()
    return folder


def iterations(rates, begin=1, env_steps=100, seconds=36.0, sim_steps=None):
    """What rlft logs of iterations `begin, begin + 1, ...`, each with an evaluation of 128 episodes."""
    numbers = range(begin, begin + len(rates))
    bounds = [wilson(round(rate * 128), 128) for rate in rates]
    return {
        "eval/success_rate": {env_steps * i: rate for i, rate in zip(numbers, rates, strict=True)},
        "eval/success_rate_low": {env_steps * i: low for i, (low, _) in zip(numbers, bounds, strict=True)},
        "eval/success_rate_high": {env_steps * i: high for i, (_, high) in zip(numbers, bounds, strict=True)},
        "charts/actor_updates": {env_steps * i: 3 for i in numbers},
        "time/iteration": {env_steps * i: seconds for i in numbers},
        "steps/env": {env_steps * i: env_steps * i for i in numbers},
        "steps/sim": {env_steps * i: (sim_steps or env_steps) * i for i in numbers},
    }


def logged(rates, **options):
    """A run of rlft from its start: `rates[0]` is the start policy's, which is evaluated before any iteration."""
    scalars = iterations(rates[1:], **options)
    low, high = wilson(round(rates[0] * 128), 128)
    for tag, value in (("", rates[0]), ("_low", low), ("_high", high)):
        scalars[f"eval/success_rate{tag}"] = {0: value, **scalars[f"eval/success_rate{tag}"]}
    return scalars


def begun(folder, settings, seed=1, done=2, state="completed", **more):
    """A status in the version of a run; `more` are further attributes of it."""
    time = more.pop("started", "2026-01-01 00:00:00")
    identity = Identity(settings, seed, more.get("continues", ""))
    status = Status(state, ["fit"], time, time, more.pop("iterations", done), done, seed, identity.digest, settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_status(folder, replace(status, **more))
    return folder


def run_folder(logs, name, rates, **options):
    """A complete run of rlft in a single version; its settings are what its name says, but for the seed."""
    version = write(logs / name / "version_0", logged(rates, **options))
    stem, seed = named(name)
    begun(version, {"model.method": stem}, seed, done=len(rates) - 1)
    return logs / name


def version(run, number, rates, settings, *, begin=0, seconds=36.0, **status):
    """A version of a run, from its start or with its first row after iteration `begin`.

    It goes on from `checkpoint`, if that is given; `done` is as far as its rates tell.
    """
    folder = run / f"version_{number}"
    write(folder, iterations(rates, begin=begin + 1, seconds=seconds) if begin else logged(rates, seconds=seconds))
    done = begin + len(rates) - (not begin)
    return begun(folder, settings, **{"done": done, "checkpoint_iterations": begin, **status})


def read_run(folder):
    """The one run that is in a folder."""
    used = choose(histories(folder), repeats=False).used
    if not used:
        return read_folder(folder)
    (history,) = used
    return read_history(history, history.run.name)
