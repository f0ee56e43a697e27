"""Makes a policy of the zoo anew: `python -m rlft.zoo pickcube/weak`.

Trains `configs/pretrain_ppo.yaml` up to the recipe's iteration (or takes it from a run that has been there), sets the
recipe's noise, measures 1,000 fixed episodes with the mean action and with sampled actions, and writes the policy with
its provenance. The same processor gives the same bits; another one rounds differently and will need another iteration.
"""

from __future__ import annotations

import argparse
import glob
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from rlft import cli
from rlft.errors import UserError
from rlft.evaluate import evaluate
from rlft.policies import ZOO, load_policy, save_policy
from rlft.statistics import summarize

CONFIG = Path(__file__).parents[2] / "configs" / "pretrain_ppo.yaml"


@dataclass(frozen=True)
class Recipe:
    """Which iteration of the pretraining run a policy is, and its log standard deviation if that is set by hand."""

    iteration: int
    log_std: float | None
    description: str


RECIPES = {
    "pickcube/weak": Recipe(67, -1.5, "imperfect mean action, little noise: where every comparison starts"),
    "pickcube/noisy": Recipe(90, None, "good mean action under much noise: less noise would pass for progress"),
    "pickcube/expert": Recipe(160, None, "nearly perfect with noise and without: the oracle"),
}


def make(name: str, run: Path) -> None:
    """Writes `rlft/zoo/<name>.safetensors` and `.json` from the run's policy."""
    recipe = RECIPES[name]
    source = run / "policies" / f"iteration_{recipe.iteration}.safetensors"
    policy = load_policy(str(source))
    if recipe.log_std is not None:
        with torch.no_grad():
            policy.actor.log_std.fill_(recipe.log_std)
    path = ZOO / f"{name}.safetensors"
    info = {
        "task": policy.info["task"],
        "control_mode": policy.info["control_mode"],
        "description": recipe.description,
        "provenance": {
            "command": f"python -m rlft.zoo {name}",
            "config": "configs/pretrain_ppo.yaml",
            "iteration": policy.info["iteration"],
            "env_steps": policy.info["env_steps"],
            "log_std": "trained" if recipe.log_std is None else f"set to {recipe.log_std}",
        },
    }
    save_policy(path, policy.actor, policy.critic, info)
    results = evaluate(str(path), episodes=1000)
    save_policy(path, policy.actor, policy.critic, info | {"measured": {k: summarize(r) for k, r in results.items()}})


def main() -> int:
    """Parses the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rlft.zoo", description="Makes a policy of the zoo anew.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--run", type=Path, help="directory of a pretraining run to take it from, instead of training")
    options = parser.parse_args()
    run = options.run
    if run is None:
        iterations = str(RECIPES[options.name].iteration)
        status = cli.main(["fit", "--config", str(CONFIG), "--trainer.max_epochs", iterations, "--run_name", "zoo"])
        if status:
            return status
        run = Path(max(glob.glob("lightning_logs/zoo/version_*"), key=lambda p: int(p.rsplit("_", 1)[1])))
    try:
        make(options.name, run)
    except UserError as error:
        print(f"rlft: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
