"""From arms, grid and seeds to runs and what they need."""

from pathlib import Path

import pytest
import yaml

from rlft.errors import UserError
from rlft.studies.plan import plan
from rlft.studies.study_file import read_study
from tests.support.hand_made import REPO
from tests.support.studies import planned


def test_arms_times_grid_times_seeds_seed_by_seed(tmp_path):
    runs = planned(
        tmp_path,
        "config: BASE\nseeds: [3, 1]\ngrid: {model.gamma: [0.8, 0.99]}\n"
        "arms: {a: , b: {grid: {model.gamma: [0.5], model.policy: [x/y]}}}",
    )
    arms = ["a-gamma0.8", "a-gamma0.99", "b-gamma0.5-policy_x_y"]
    assert list(runs) == [f"{arm}-seed{seed}" for seed in (3, 1) for arm in arms]
    last = runs["b-gamma0.5-policy_x_y-seed1"]
    assert (last.arm, last.seed, last.preparation, last.needs) == (arms[2], 1, False, ())


def test_the_command_is_configs_then_seed_then_options_from_common_to_special(tmp_path):
    (tmp_path / "more.yaml").write_text("")
    run = planned(
        tmp_path,
        f"config: BASE\nseeds: [2]\noptions: {{x: 1, l+: [A]}}\ngrid: {{g: [0.5]}}\n"
        f"arms: {{a: {{config: {tmp_path}/more.yaml, options: {{x: null, y: true, l+: [{{b: 1}}], t: text}}}}}}",
    )["a-g0.5-seed2"]
    configs = [f"--config={tmp_path}/{name}.yaml" for name in ("base", "more")]
    options = ["--x=1", '--l+=["A"]', "--x=null", "--y=true", '--l+=[{"b": 1}]', "--t=text", "--g=0.5"]
    assert list(run.args) == ["fit", *configs, "--seed_everything=2", *options]


TASKS = """
config: BASE
seeds: [1, 2]
options: {env: "{id}", policy: "{task}/weak"}
expert: "{task}/{best}"
tasks:
  push: {id: PushCube-v1, best: expert}
  pull: {id: PullCube-v1, best: ppo}
prepare:
  shown: {command: [collect, "{here}/d.h5"], for_each: [task], options: {policies: "[{task}/{best}]"}}
arms:
  ppo:
  bc: {grid: {rate: [0.1]}, options: {data: "{shown}/d.h5"}}
"""


def test_every_arm_is_run_in_every_task(tmp_path):
    runs = planned(tmp_path, TASKS)
    assert [name for name, run in runs.items() if not run.preparation] == [
        f"{arm}-{task}-seed{seed}" for seed in (1, 2) for task in ("push", "pull") for arm in ("ppo", "bc-rate0.1")
    ]
    run = runs["bc-rate0.1-pull-seed2"]
    assert (run.arm, run.task, run.expert, run.needs) == ("bc-rate0.1", "pull", "pull/ppo", ("shown-pull",))
    assert list(run.args[2:]) == [
        *("--seed_everything=2", "--env=PullCube-v1", "--policy=pull/weak"),
        *("--data={shown-pull}/d.h5", "--rate=0.1"),
    ]
    assert runs["shown-push"].args == ("collect", "{here}/d.h5", "--policies=[push/expert]")


def test_a_value_of_a_task_keeps_its_type_where_it_stands_alone(tmp_path):
    runs = planned(
        tmp_path,
        """
config: BASE
seeds: [1]
tasks: {push: {stages: [a, b], share: 0.5, none: null, code: "05"}}
arms: {x: {options: {c: [{s: "{stages}", p: "{share}", n: "{none}", i: "{code}", t: "at {share}"}], d: "{stages}"}}}
""",
    )
    assert list(runs["x-push-seed1"].args[3:]) == [
        '--c=[{"s": ["a", "b"], "p": 0.5, "n": null, "i": "05", "t": "at 0.5"}]',
        '--d=["a", "b"]',
    ]


def test_a_value_of_a_task_with_a_placeholder_that_leads_nowhere(tmp_path):
    text = "config: BASE\nseeds: [1]\ntasks: {push: {id: '{task}'}}\narms: {x: {options: {env: '{id}'}}}"
    with pytest.raises(UserError, match=r"a value of its task refers to \{task\}, which is no part"):
        planned(tmp_path, text)


PREPARED = """
config: BASE
seeds: [1, 2]
grid: {gamma: [0.8, 0.9]}
prepare:
  once: {command: [collect, "{here}/d.h5"], options: {episodes: 3}}
  critic: {config: BASE, for_each: [gamma, seed], options: {data: "{once}/d.h5", seed_everything: "100{seed}"}}
arms:
  with: {options: {critic: "{critic}/policies/best.safetensors"}}
  without:
"""


def test_preparations_are_made_for_those_who_need_them(tmp_path):
    runs = planned(tmp_path, PREPARED)
    critics = [f"critic-gamma{gamma}-seed{seed}" for gamma in (0.8, 0.9) for seed in (1, 2)]
    assert {name for name, run in runs.items() if run.preparation} == {"once", *critics}
    assert runs["with-gamma0.9-seed2"].needs == ("critic-gamma0.9-seed2",)
    assert "--critic={critic-gamma0.9-seed2}/policies/best.safetensors" in runs["with-gamma0.9-seed2"].args
    assert runs["without-gamma0.9-seed2"].needs == ()
    critic = runs["critic-gamma0.9-seed2"]
    assert critic.needs == ("once",)
    seeds = ["--seed_everything=2", "--seed_everything=1002"]  # the last one counts
    assert [arg for arg in critic.args if arg.startswith(("--seed", "--gamma", "--data"))] == [
        seeds[0], "--data={once}/d.h5", seeds[1], "--gamma=0.9",
    ]  # fmt: skip
    assert runs["once"].args == ("collect", "{here}/d.h5", "--episodes=3")
    assert (runs["once"].arm, runs["once"].seed) == ("once", None)


def test_every_run_comes_after_those_it_needs(tmp_path):
    names = list(runs := planned(tmp_path, PREPARED))
    assert all(names.index(needed) < names.index(run.name) for run in runs.values() for needed in run.needs)


@pytest.mark.parametrize(
    ("file", "continues"),
    [("/checkpoints/last.ckpt", True), ("/policies/last.safetensors", True), ("/policies/best.safetensors", False),
     ("/policies/iteration_5.safetensors", False), ("", False)],
)  # fmt: skip
def test_a_run_whose_best_is_needed_never_goes_on(tmp_path, file, continues):
    """The best of a run that was continued is the best since then, which is another one."""
    text = f"config: BASE\nseeds: [1]\narms: {{a: , b: {{options: {{x: '{{a}}{file}'}}}}}}"
    runs = planned(tmp_path, text)
    assert (runs["a-seed1"].continues, runs["b-seed1"].continues) == (continues, True)


def test_every_study_of_ours_can_be_planned(monkeypatch):
    monkeypatch.chdir(REPO)
    studies = sorted(Path("configs/studies").glob("*.yaml"))
    assert len(studies) > 3
    for study in studies:
        assert plan(read_study(study))


def test_the_study_of_critics(monkeypatch):
    """2 discounts x (a new critic and three others) x 5 seeds, six arms on KL stops x 5 seeds, the 2 x 3 critics."""
    monkeypatch.chdir(REPO)
    runs = plan(read_study(REPO / "configs/studies/critics.yaml"))
    assert len([run for run in runs if run.preparation]) == 6
    assert len([run for run in runs if not run.preparation]) == 2 * 4 * 5 + 6 * 5
    by_name = {run.name: run for run in runs}
    assert by_name["expert-gamma0.99-seed3"].needs == ("critic_expert-gamma0.99",)
    assert {"--model.policy=pickcube/expert", "--model.advantage.gamma=0.99"} <= set(
        by_name["critic_expert-gamma0.99"].args
    )


def test_the_documented_study_of_several_tasks_is_one(tmp_path):
    text = (REPO / "docs/studies.md").read_text().split("## Several tasks")[1]
    block = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    content = yaml.safe_load("\n".join(block))
    content["config"] = str(REPO / content["config"])
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    runs = plan(read_study(tmp_path / "study.yaml"))
    assert len(runs) == 2 * 3 * 2
    assert {"--data.env.task=PushCube-v1", "--model.policy=pushcube/weak"} <= set(runs[-1].args)
    assert runs[-1].expert == "pushcube/expert"
