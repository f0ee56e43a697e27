"""Runs that are killed again and again end as if nothing had happened.

python -m tests.robustness.kills --kills 30

On a Ray cluster, which RAY_ADDRESS names, `--workers Ray` kills workers and machines as well, all but the one with the
head; the outcome has to be that of local workers.
"""

import argparse
import json
import random
import re
import signal
import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import torch
from safetensors.torch import load_file

from rlft.comparison.logs import read_log
from rlft.networks.policy_files import load_policy
from rlft.runs.directory import LAST_CHECKPOINT, versions
from rlft.runs.iterations import read_iterations
from rlft.runs.status import read_status
from tests.support.hand_made import REPO
from tests.support.warm import rlft

ITERATIONS = 6
SCOPES = ["main", "all"]
KILLED = "killed on the Ray cluster"  # is printed when a worker or a machine is
TIMED = re.compile("^time/|SPS|per_second|useful|workers_replaced")  # metrics of the machine, not of learning
RUNS = {  # what is killed: every part of rlft that a run can be in
    "re-rollouts": [
        "mc_awr_onpolicy",
        "--model.critic_policy=null",
        "--data.num_workers=2",
        "--model.advantage.num_samples=2",
    ],
    "ppo": ["gae_ppo", "--data.num_workers=2"],
    "offline": ["iql_awr_offline", "--eval.every_n_iterations=1"],
    "replay": ["off_policy", "--model.critic.hidden_dim=16", "--data.num_workers=2"],
    "pictures": [
        "racing_iqn",
        "--model.actor.head_dim=16",
        "--data.minibatch_size=8",
        "--data.updates_per_step=0.1",
    ],
    "cloning": ["bc", "--model.demonstrator=null", "--eval.every_n_iterations=1"],
}


def start(what, kind, log_dir, *options):
    """Runs to the end, whichever that is, and returns the exit status and what was printed."""
    config, *own = RUNS[kind]
    overlay = {"replay": "smoke_replay", "pictures": "smoke_racing"}.get(kind, "smoke")
    configs = [f"--config={REPO / 'configs' / name}.yaml" for name in (config, overlay)]
    common = [f"--trainer.max_epochs={ITERATIONS}", f"--log_dir={log_dir}", "--run_name=run", *options]
    process = rlft(what, "fit", *configs, *own, *common, module="tests.robustness.killed_fit", merged=True)
    printed, _ = process.communicate()
    return process.returncode, printed


def left_alone(kind, folder):
    """The phases of an undisturbed run, as `killed_fit` records them, and its outcome."""
    phases = folder / "phases.json"
    status, printed = start(f"record:{phases}", kind, folder)
    assert status == 0, printed
    return json.loads(phases.read_text()), outcome(folder / "run")


def kill_until_complete(kind, log_dir, phases, moments, *options):
    """Starts a run and goes on with it until it is complete, killing it at each of the moments that come; their phases.

    Args:
        kind: key of `RUNS`.
        log_dir: of the run, which is new.
        phases: as `killed_fit` has recorded them.
        moments: iterator of `(phase, share of its times, share of its duration, scope)`; none when there are no more.
        options: of `rlft fit`, besides those of the kind.
    """
    hits = []
    while True:
        folder = log_dir / "run"
        last = ["--ckpt_path=last"] if any((path / LAST_CHECKPOINT).exists() for path in versions(folder)) else []
        phase, when, how_far, scope = next(moments, ("none", 0, 0, "main"))
        times, seconds = phases.get(phase, (0, 0))
        moment = f"{phase}:{1 + int(when * times)}:{how_far * seconds}:{scope}"
        status, printed = start(moment, kind, log_dir, *last, *options)
        check_files(folder)
        if status == -signal.SIGKILL or KILLED in printed:
            hits.append(phase if scope in SCOPES else f"{phase} ({scope})")
        if status == -signal.SIGKILL:
            continue
        if f"has done its {ITERATIONS} iterations" in printed:  # killed between the last checkpoint and the report
            return hits
        assert status == 0, printed
        assert read_status(versions(folder)[-1]).is_complete
        return hits


def check_files(folder):
    """Everything that has its final name is whole."""
    for version in versions(folder):
        for path in version.glob("checkpoints/*.ckpt"):
            assert torch.load(path, weights_only=True)["state_dict"]
        for path in version.glob("policies/*.safetensors"):
            load_policy(str(path))
        for path in version.glob("policies/*.json"):
            assert json.loads(path.read_text())
        for path in version.glob("report.md"):
            assert path.read_text().endswith("their last iterations.\n")
        if (version / "status.json").exists():
            done = read_status(version).done
            rows = [row["iteration"] for row in read_iterations(version)]
            assert rows in (list(range(done + 1)), list(range(done + 2)))  # killed between the row and the status


def outcome(folder):
    """What must not depend on kills: last weights, the state of learning, and the curves."""
    last = versions(folder)[-1]
    checkpoint = torch.load(last / LAST_CHECKPOINT, weights_only=True)
    curves = read_log(folder, folder.name).scalars
    timeless = {tag: points for tag, points in curves.items() if not TIMED.search(tag)}
    state = {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "epoch", "global_step")}
    return {"policy": load_file(last / "policies/last.safetensors"), "state": state, "curves": timeless}


def difference(one, other, where=""):
    """Where two nested structures are not the same to the last bit; NaN equals NaN. Empty if they are."""
    if isinstance(one, torch.Tensor):
        return "" if torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0)) else where
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return f"{where}: {sorted(map(str, one.keys() ^ other.keys()))}"
        return next(filter(None, (difference(one[key], other[key], f"{where}/{key}") for key in one)), "")
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return f"{where}: {len(one)}, {len(other)}"
        return next(
            filter(None, (difference(*pair, f"{where}/{i}") for i, pair in enumerate(zip(one, other, strict=True)))), ""
        )
    return "" if one == other or (one != one and other != other) else f"{where}: {one}, {other}"


def random_moments(generator, how_many, scopes=SCOPES):
    """Moments for `kill_until_complete`: phases in turn, everything else by chance."""
    from tests.robustness.killed_fit import PHASES

    names = [name for name in PHASES if name != "re-rollout"] + ["re-rollout"]
    for number in range(how_many):
        scope = generator.choice(scopes)
        yield names[number % len(names)], 0.6 * generator.random(), generator.random(), scope


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--workers", choices=["Processes", "Ray"], default="Processes")
    options = parser.parse_args()
    extra, scopes = [], SCOPES
    if options.workers == "Ray":
        extra, scopes = ["--data.workers=Ray"], [*SCOPES, "worker", "machine"]
        options.kinds = [kind for kind in options.kinds if "--data.num_workers=2" in RUNS[kind]]
    generator, hits, numbers = random.Random(options.seed), Counter(), count()
    with tempfile.TemporaryDirectory() as place:
        alone = {}
        while hits.total() < options.kills:
            for kind in options.kinds:
                log_dir = Path(place) / f"{kind}-{next(numbers)}"
                if kind not in alone:
                    alone[kind] = left_alone(kind, Path(place) / kind)
                phases, expected = alone[kind]
                moments = random_moments(generator, generator.randint(2, 5), scopes)
                hit = kill_until_complete(kind, log_dir, phases, moments, *extra)
                where = difference(outcome(log_dir / "run"), expected)
                assert not where, f"{kind} differs in {where} after kills in {hit}"
                hits.update(hit)
                print(f"{kind}: bit-identical after kills in {', '.join(hit) or 'nothing'}", flush=True)
    print(f"{hits.total()} kills: " + ", ".join(f"{times} in {phase}" for phase, times in hits.most_common()))


if __name__ == "__main__":
    main()
