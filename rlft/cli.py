"""The command line: `rlft fit|validate` through LightningCLI, everything else without importing Lightning."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rlft.errors import UserError
from rlft.system import restart_in_utf8, wait_briefly

WITHOUT_LIGHTNING = (
    "evaluate",
    "record",
    "collect",
    "rank",
    "compare",
    "study",
    "note",
    "log",
    "configs",
    "doctor",
    "completion",
)  # modules of rlft.commands
HELP = """\
usage: rlft <command> [options]

Finetune robot policies with reinforcement learning and find out which method works.

commands:
  fit        train:                   rlft fit gae_ppo
  validate   evaluate a checkpoint:   rlft validate gae_ppo --ckpt_path FILE
  evaluate   evaluate a policy:       rlft evaluate pickcube/weak --episodes 1000
  record     film episodes:           rlft record pickcube/weak --which failed
  collect    write episodes:          rlft collect demos.h5 --policies "[pickcube/weak, pickcube/expert]"
  rank       who ranks actions?       rlft rank pickcube/weak --out studies/weak
  compare    runs and studies:        rlft compare "A=lightning_logs/*_ppo-*" "B=lightning_logs/*_awr-*" --out ab
  study      many runs of a file:     rlft study critics --jobs 2
  note       a remark on a run:       rlft note lightning_logs/<run> "critic of another policy"
  log        log.md of runs, anew:    rlft log lightning_logs
  configs    what can be run:         rlft configs; rlft configs gae_ppo > mine.yaml
  doctor     what works here?         rlft doctor
  completion Tab completes:           rlft completion bash >> ~/.bashrc

A config is a file (--config mine.yaml) or one of rlft's own by name (gae_ppo); a second one lies over the first.
Every value of a config can be overridden: --model.advantage.gamma 0.99 --data.num_envs 50 --seed_everything 2
`rlft <command> --help` lists the options; `rlft fit --model.update.help PPO` those of one plug-in.
"""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit status: 0, or 1 after a sentence about what the user can change, or 130 after Ctrl-C.
    """
    if args is None:
        restart_in_utf8()
    wait_briefly()
    args = sys.argv[1:] if args is None else list(args)
    command = args[0] if args else "--help"
    try:
        if command in ("-h", "--help", "help"):
            print(HELP, end="")
        elif command in WITHOUT_LIGHTNING:
            import_module(f"rlft.commands.{command}").run(args[1:])
        elif command in ("fit", "validate"):
            from rlft.training.cli import run

            run(args)
        else:
            *others, last = ("fit", "validate", *WITHOUT_LIGHTNING)
            raise UserError(f"There is no command {command!r}; the commands are {', '.join(others)} and {last}.")
    except UserError as error:
        print(f"rlft: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `rlft compare ... | head`: whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at exit
        return 1
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning ends an interrupted run with SystemExit; argument parsers end `--help` with it.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        print("rlft: interrupted.", file=sys.stderr)
        return 130
    return 0
