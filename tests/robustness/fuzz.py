"""Readers of files, fed with damaged ones: each is read or refused with a sentence, soon, and nothing else happens.

python -m tests.robustness.fuzz --mutations 10000
"""

import argparse
import json
import random
import re
import resource
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from rlft.comparison.comparison import Question, compare_groups
from rlft.comparison.report import markdown
from rlft.comparison.run_groups import select
from rlft.data.dataset_file import read_dataset
from rlft.errors import UserError
from rlft.networks import GaussianActor, ValueCritic
from rlft.networks.policy_files import load_policy, save_policy
from rlft.ranking.parts import Parts
from rlft.runs import log
from rlft.studies.folder import StudyFolder
from rlft.studies.plan import plan
from rlft.studies.study_file import read_study
from rlft.training.cli import SECTIONS
from rlft.training.config_tree import walk
from rlft.training.resuming import check_continues, read_checkpoint, summary
from tests.data.test_trajectories import EPISODES, read, write
from tests.support.hand_made import REPO, is_sentence
from tests.support.training import run
from tests.support.warm import Warm
from tests.support.warm_study import study as study_with_warm_runs


@dataclass(frozen=True)
class Returns:
    """Something that `rlft rank` would simulate."""

    values: torch.Tensor


SECONDS = 10  # that reading a small file may take
MEMORY = 16 * 2**30  # of address space
FORBIDDEN = re.compile(r"os\.(system|exec|fork|forkpty|posix_spawn|kill|remove)|subprocess\.Popen|socket\.connect")
CODE = b"!!python/name:os.system"
NUMBERS = [b"-1", b"0", b"1e999", b"NaN", b"99999999999999999999", b"2147483648", b"null", b"{}", b"[]", b'"', CODE]


# ---- readers: each makes intact files in a folder and returns them with the function that reads them -------------


def policy(folder):
    path = folder / "policy.safetensors"
    save_policy(path, GaussianActor(6, 2, 8, 2), ValueCritic(6, 8, 2), {"task": "PointReach"})
    return [path, path.with_suffix(".json")], lambda: load_policy(str(path))


def checkpoint(folder):
    path = trained(folder) / "checkpoints/last.ckpt"
    config = yaml.safe_load((path.parents[1] / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 9
    settings = list(walk(config, SECTIONS))

    def both():
        content = read_checkpoint(path)
        check_continues(path, content, settings)
        summary(path, content, settings, resets_optimizer=False)
        load_policy(str(path))

    return [path], both


def trajectories(folder):
    path = write(folder / "demos.h5", EPISODES[:1])
    return [path, path.with_suffix(".json")], lambda: read(path)


def dataset(folder):
    path = trained(folder, "iql_awr_offline") / "dataset.safetensors"
    return [path], lambda: read_dataset(path)


def study(folder):
    path = folder / "study.yaml"
    path.write_text((REPO / "configs/studies/critics.yaml").read_text().replace("configs/", f"{REPO}/configs/"))
    return [path], lambda: plan(read_study(path))


def logs(folder):
    version = trained(folder)
    (events,) = version.glob("events*")
    question = Question("eval/success_rate", "env_steps", 0.5, 0.2)
    return [events], lambda: markdown(compare_groups(select([str(version.parent)], question.metric), question))


def experiment_index(folder):
    version = trained(folder)
    index = version.parent.parent / log.INDEX
    records = [version / "status.json", version / "iterations.jsonl"]
    return [index, *records], lambda: log.write_page(index.parent)


def old_run(folder):
    """As older code left it, whose page and curve are made with what its report and configuration say."""
    version = trained(folder)
    for record in ("status.json", "iterations.jsonl"):
        (version / record).unlink()

    def both():
        log.write_page(version.parent.parent)
        select([str(version.parent)], "eval/success_rate")

    return [version / "report.md", version / "config.yaml"], both


def study_folder(folder):
    (folder / "one.yaml").write_text(
        f"config: [{REPO}/configs/gae_ppo.yaml, {REPO}/configs/smoke.yaml]\noptions: {{trainer.max_epochs: 1}}\n"
        "seeds: [1]\narms: {a: }\n"
    )
    process = Warm(study_with_warm_runs, "one.yaml", "--log_dir=.", cwd=folder, merged=True)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    study = folder / "one"
    run = study / "a-seed1"
    version = run / "version_0"

    def resumed():
        file = read_study(folder / "one.yaml")
        made = StudyFolder(study, file.name, plan(file))
        (planned,) = made.runs.values()
        made.result(planned)
        made.arguments(planned)
        select([str(study)], "eval/success_rate")

    return [study / "study.json", run / "run.json", version / "status.json"], resumed


def simulation(folder):
    path = folder / "simulation.safetensors"
    settings = {"policy": "pickcube/weak", "states": 3}

    def resumed():
        return Parts(path, settings).get("returns", Returns, lambda: (Returns(torch.zeros(3, 2)), 5))

    resumed()
    return [path], resumed


READERS = {
    f.__name__: f
    for f in (
        policy,
        checkpoint,
        trajectories,
        dataset,
        study,
        logs,
        experiment_index,
        old_run,
        study_folder,
        simulation,
    )
}


def trained(folder, config="gae_ppo", *options):
    """A run of one iteration with small networks."""
    sizes = ["--model.actor.hidden_dim=8", "--model.critic.hidden_dim=8"] if config == "gae_ppo" else []
    small = ["--data.num_envs=4", "--data.num_steps=8", "--data.num_minibatches=1", "--trainer.max_epochs=1"]
    return run(folder, *sizes, *small, *options, config=config)


# ---- damage ------------------------------------------------------------------------------------------------------


def damaged(content, generator):
    """Another content: changed bytes, a part lost, repeated, moved or overwritten, or other numbers in a text."""
    start = generator.randrange(len(content) + 1)
    end = min(len(content), start + int(2 ** generator.uniform(0, 12)))
    part = content[start:end]
    kind = generator.randrange(7)
    if kind == 0:
        changed = bytearray(content)
        for _ in range(generator.choice([1, 1, 2, 8, 64])):
            if changed:
                changed[generator.randrange(len(changed))] = generator.randrange(256)
        return bytes(changed)
    if kind == 1:
        return content[:start]
    if kind == 2:
        return content[:start] + content[end:]
    if kind == 3:
        return content[:end] + part + content[end:]
    if kind == 4:
        return content[:start] + bytes([generator.choice([0, 255, 32])]) * len(part) + content[end:]
    if kind == 5:
        other = generator.randrange(len(content) + 1)
        return content[:other] + part + content[other + len(part) :]
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?|null|true|false", content[: 1 << 16]))
    if not numbers:
        return content[::-1]
    found = generator.choice(numbers)
    return content[: found.start()] + generator.choice(NUMBERS) + content[found.end() :]


@contextmanager
def guarded():
    """Within, it is an error to take long, to take much memory, to start a process, to connect or to delete a file."""

    def alarm(number, frame):
        raise AssertionError(f"still reading after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    Watch.on = True
    try:
        yield
    finally:
        Watch.on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Watch:
    """What the interpreter does while a file is read. An audit hook cannot be taken back, so there is one for all."""

    on = False
    installed = False

    @classmethod
    def install(cls):
        if not cls.installed:
            sys.addaudithook(cls.hook)
            cls.installed = True

    @classmethod
    def hook(cls, event, args):
        if cls.on and FORBIDDEN.fullmatch(event) and not str(args[0] if args else "").endswith(".tmp"):
            cls.on = False
            raise AssertionError(f"reading did {event} {args}")


def fuzz(name, folder, mutations, seed=0):
    """Reads damaged files of one kind.

    Returns:
        How many were refused, and the longest time that one took.
    """
    Watch.install()
    files, reads = READERS[name](folder)
    intact = {file: file.read_bytes() for file in files}
    reads()
    generator, refused, longest = random.Random(f"{name} {seed}"), 0, 0.0
    for trial in range(mutations):
        victim = files[trial % len(files)]
        victim.write_bytes(damaged(intact[victim], generator))
        started = time.monotonic()
        try:
            with guarded():
                reads()
        except UserError as error:
            assert is_sentence(str(error)), error  # noqa: PT017  some mutations are harmless
            refused += 1
        except BaseException as error:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{name}-{seed}-{trial}{victim.suffix}"
            kept.write_bytes(victim.read_bytes())
            raise AssertionError(f"{name}, mutation {trial}: {type(error).__name__} {error}; see {kept}") from error
        longest = max(longest, time.monotonic() - started)
        for file in files:
            file.write_bytes(intact[file])
    return refused, longest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=10_000, help="of every reader")
    parser.add_argument("--readers", nargs="*", choices=READERS, default=list(READERS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in options.readers:
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            refused, longest = fuzz(name, Path(folder), options.mutations, options.seed)
            result = {"reader": name, "mutations": options.mutations, "refused": refused, "longest": round(longest, 2)}
            print(json.dumps(result | {"seconds": round(time.monotonic() - started)}), flush=True)


if __name__ == "__main__":
    main()
