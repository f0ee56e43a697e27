"""Makes a policy of the zoo anew: `python -m rlft.zoo pickcube/weak`.

Trains the recipe's config up to its iteration (or takes it from a run that has been there), sets the recipe's noise,
measures 1,000 fixed episodes with the mean action and with sampled actions, and writes the policy with its provenance.
The same processor gives the same bits; another one may round differently and need another iteration. PickCube's weak
policy and expert also learn their V under the sparse reward, `configs/pretrain_critic.yaml`; `--only_critic` does just
that. `pickcube/weak-gamma0.95` is the weak policy with its V at another discount. Those of racing are written down, or
the best of a run of a config.
"""

from __future__ import annotations

import argparse
import glob
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlft import cli
from rlft.commands.evaluate import evaluate
from rlft.envs import Racing
from rlft.envs.racing.driver import WAYPOINTS, PurePursuitDriver
from rlft.errors import UserError
from rlft.networks.policy_files import ZOO, Policy, load_policy, save_policy
from rlft.statistics.evaluations import summarize
from rlft.system import CONFIGS
from rlft.types import Actor


@dataclass(frozen=True)
class Recipe:
    """Which iteration of a pretraining run a policy is, and what its success has to be.

    Args:
        iteration: of the run, found on one machine.
        log_std: log standard deviation of every action dimension, if it is set by hand.
        deterministic: lowest and highest success with the mean action.
        stochastic: lowest and highest success with sampled actions.
        description: what the policy is for.
        critic: that of its training, its V under the sparse reward, learned apart, or none.
        config: of the run.
        options: of the run, besides.
    """

    iteration: int
    log_std: float | None
    deterministic: tuple[float, float]
    stochastic: tuple[float, float]
    description: str
    critic: Literal["trained", "of returns", "none"] = "trained"
    config: str = "pretrain_ppo.yaml"
    options: tuple[str, ...] = ()


def _of_task(task: str, weak: int, expert: int) -> dict[str, Recipe]:
    """An imperfect policy and a nearly perfect one of a run of `configs/pretrain_off_policy.yaml` in another task.

    Args:
        task: its id.
        weak: iteration of the imperfect policy.
        expert: iteration of the nearly perfect one.
    """
    name = task.removesuffix("-v1").lower()
    run: dict[str, Any] = {"critic": "none", "config": "pretrain_off_policy.yaml"}
    run["options"] = (f"--data.env.task={task}",)
    return {
        f"{name}/weak": Recipe(weak, -1.5, (0.3, 0.6), (0.0, 1.0), "imperfect mean action, little noise", **run),
        f"{name}/expert": Recipe(expert, -2.5, (0.95, 1.0), (0.0, 1.0), "the best that its run had", **run),
    }


RECIPES = {
    "pickcube/weak": Recipe(
        95,
        -1.5,
        (0.38, 0.50),
        (0.0, 1.0),
        "imperfect mean action, little noise: where every comparison starts",
        critic="of returns",
    ),
    "pickcube/noisy": Recipe(
        118, None, (0.93, 1.0), (0.0, 0.70), "good mean action under much noise: less noise would pass for progress"
    ),
    "pickcube/expert": Recipe(
        145, None, (0.99, 1.0), (0.95, 1.0), "nearly perfect with noise and without: the oracle", critic="of returns"
    ),
    **_of_task("PushCube-v1", weak=2, expert=10),
}


ON_POINTREACH = ("--data.env=PointReach", "--data.num_workers=0", "--model.critic.hidden_dim=32")
POINTREACH = {  # iteration of `configs/pretrain_pointreach.yaml`, and what the policy is for
    "pointreach/weak": (9, "imperfect: stands in for pickcube/weak where a config is tried in seconds"),
    "pointreach/expert": (20, "perfect: stands in for pickcube/expert where a config is tried in seconds"),
}


CRITICS = {  # policies of the zoo with their critic at another gamma, under names of their own
    "pickcube/weak-gamma0.95": ("pickcube/weak", 0.95),
    "pointreach/weak-gamma0.95": ("pointreach/weak", 0.95),
}

DRIVERS = {  # and where they drive; with pictures, for policies that are to learn from them
    "racing/driver": Racing(waypoints=WAYPOINTS, actions="discrete12", max_frames=1500),
    "racing/driver5": Racing(waypoints=WAYPOINTS, actions="discrete5", frame_skip=2),
}

AGENTS = {  # what learns them from scratch, what they are for, and where they drive
    "racing/iqn": ("racing_iqn.yaml", "drives from the picture and the car's own numbers", Racing()),
}


def make(name: str, run: Path, iteration: int) -> None:
    """Writes `rlft/zoo/<name>.safetensors` and `.json` from one iteration of a run.

    Raises:
        UserError: if the policy is not what its recipe asks for; nothing is written then.
    """
    recipe = RECIPES[name]
    source = run / "policies" / f"iteration_{iteration}.safetensors"
    policy = load_policy(str(source))
    if recipe.log_std is not None:
        policy.actor.set_exploration(recipe.log_std)
    info = {
        **_made_for(policy),
        "description": recipe.description,
        "provenance": {
            **_provenance(name, recipe.config, policy),
            "log_std": "trained" if recipe.log_std is None else f"set to {recipe.log_std}",
        },
    }
    candidate = run / "policies" / "candidate.safetensors"
    critic = None if recipe.critic == "none" else policy.critic
    save_policy(candidate, policy.actor, critic, info)
    measured = {kind: summarize(results) for kind, results in evaluate(str(candidate), episodes=1000).items()}
    for kind, (low, high) in (("deterministic", recipe.deterministic), ("stochastic", recipe.stochastic)):
        rate = measured[kind]["success_rate"]
        if not low <= rate <= high:
            raise UserError(
                f"Iteration {iteration} has {kind} success {rate:.1%}, but {name} should have {low:.0%} to {high:.0%}; "
                f"this processor rounds differently, so try its neighbours: --run {run} --iteration N."
            )
    save_policy(ZOO / f"{name}.safetensors", policy.actor, critic, info | {"measured": measured})


def make_pointreach(name: str) -> None:
    """Writes a policy of the task that needs no simulator, as its run has measured it."""
    iteration, description = POINTREACH[name]
    config = "pretrain_pointreach.yaml"
    run = _train(config, "--trainer.max_epochs", str(iteration))
    policy = load_policy(str(run / "policies" / f"iteration_{iteration}.safetensors"))
    measured = {k.removeprefix("eval/"): v for k, v in policy.info["metrics"].items()}
    info = {**_made_for(policy), "description": description, "provenance": _provenance(name, config, policy)}
    info |= {"measured": {"deterministic": measured}}
    save_policy(ZOO / f"{name}.safetensors", policy.actor, policy.critic, info)


def make_driver(name: str) -> None:
    """Writes a scripted driver, which there is nothing to train of."""
    env = DRIVERS[name]
    actor = PurePursuitDriver(env.actions)
    info = {
        **env.describe(env.spec()),
        "description": "scripted, from waypoints: a demonstrator, and what a lap can be",
        "provenance": {"command": f"python -m rlft.zoo {name}"},
    }
    _save_measured(name, actor, info, env)


def make_agent(name: str, run: Path | None) -> None:
    """Writes the best policy of a run, or of one that is begun now."""
    config, description, env = AGENTS[name]
    policy = load_policy(str((run or _train(config)) / "policies" / "best.safetensors"))
    info = {**env.describe(env.spec()), "description": description, "provenance": _provenance(name, config, policy)}
    _save_measured(name, policy.actor, info, env)


def _save_measured(name: str, actor: Actor, info: dict[str, Any], env: Racing) -> None:
    """Writes a policy, and then what it does in 100 episodes beside it."""
    path = ZOO / f"{name}.safetensors"
    save_policy(path, actor, None, info)
    results = evaluate(name, episodes=100)["deterministic"]
    save_policy(path, actor, None, info | {"measured": {"deterministic": summarize(results, env.spec().behaviour)}})


def learn_critic(name: str, policy_name: str, *options: str) -> None:
    """Writes a policy of the zoo, as `name`, with the critic of its own returns."""
    config = "pretrain_critic.yaml"
    run = _train(config, "--model.policy", policy_name, *options)
    policy, learned = load_policy(policy_name), load_policy(str(run / "policies" / "best.safetensors"))
    info = policy.info | {"critic": learned.info["critic"], "critic_provenance": _provenance(name, config, learned)}
    save_policy(ZOO / f"{name}.safetensors", policy.actor, learned.critic, info)


def _made_for(policy: Policy) -> dict[str, Any]:
    """What the file of a run says of the environment, but the reward: the zoo's are measured with the sparse one."""
    of_run = {"format", "run", "iteration", "env_steps", "metrics", "critic", "networks", "reward_mode"}
    return {key: value for key, value in policy.info.items() if key not in of_run}


def _provenance(name: str, config: str, policy: Policy) -> dict[str, Any]:
    """How a policy that a run of a config has trained comes about."""
    trained = {k: policy.info[k] for k in ("iteration", "env_steps")}
    return {"command": f"python -m rlft.zoo {name}", "config": f"configs/{config}", **trained}


def _train(config: str, *options: str) -> Path:
    """Runs a config and returns the run's directory; a run that fails ends the program with its status."""
    status = cli.main(["fit", "--config", str(CONFIGS / config), "--run_name", "zoo", *options])
    if status:
        sys.exit(status)
    return Path(max(glob.glob("lightning_logs/zoo/version_*"), key=lambda p: int(p.rsplit("_", 1)[1])))


def main() -> int:
    """Parses the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rlft.zoo", description="Makes a policy of the zoo anew.")
    parser.add_argument("name", choices=sorted([*RECIPES, *POINTREACH, *CRITICS, *DRIVERS, *AGENTS]))
    parser.add_argument("--run", type=Path, help="directory of a run to take it from, instead of training")
    parser.add_argument("--iteration", type=int, help="iteration to take, instead of the recipe's")
    parser.add_argument("--only_critic", action="store_true", help="keep the policy, and learn its critic anew")
    options = parser.parse_args()
    if options.name not in RECIPES and (options.iteration or (options.run and options.name not in AGENTS)):
        parser.error(f"{options.name} is made in one way; it takes no --run or --iteration.")
    if options.name in AGENTS:
        make_agent(options.name, options.run)
        return 0
    if options.name in DRIVERS:
        make_driver(options.name)
        return 0
    if options.name in POINTREACH:
        if not options.only_critic:
            make_pointreach(options.name)
        learn_critic(options.name, options.name, *ON_POINTREACH)
        return 0
    if options.name in CRITICS:
        policy_name, gamma = CRITICS[options.name]
        elsewhere = ON_POINTREACH if options.name.startswith("pointreach/") else ()
        learn_critic(options.name, policy_name, "--model.advantage.gamma", str(gamma), *elsewhere)
        return 0
    recipe = RECIPES[options.name]
    if not options.only_critic:
        iteration = options.iteration or recipe.iteration
        run = options.run or _train(recipe.config, *recipe.options, "--trainer.max_epochs", str(iteration))
        try:
            make(options.name, run, iteration)
        except UserError as error:
            print(f"rlft: {error}", file=sys.stderr)
            return 1
    if recipe.critic == "of returns" or options.only_critic:
        learn_critic(options.name, options.name, *recipe.options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
