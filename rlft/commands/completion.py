"""`rlft completion`: what the shell can complete, as a script for it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
from string import Template
from typing import Literal

from rlft.commands.arguments import parse
from rlft.files.own_configs import own_fits, own_names, own_studies
from rlft.networks.policy_files import zoo_names

OPTION = re.compile(r"(?<![\w-])--[a-z_][\w.]*")
FITS = ("fit", "validate")
OF_POLICIES = ("evaluate", "record", "rank", "collect")
SCRIPT = Template("""\
# Tab completes commands, options, configs and policies of rlft, if the shell reads this at its start.
${before}_rlft() {
  local command="$${COMP_WORDS[1]}" word="$${COMP_WORDS[COMP_CWORD]}" words=""
  if [ "$$COMP_CWORD" -eq 1 ]; then
    words="$commands"
  else
    case "$$command" in
$cases
    esac
  fi
  COMPREPLY=($$(compgen -W "$$words" -- "$$word"))
}
complete -o bashdefault -o default -F _rlft rlft
""")
BEFORE = {"bash": "", "zsh": "autoload -Uz bashcompinit && bashcompinit\n"}  # for zsh, which knows bash's way as well


def completion(shell: Literal["bash", "zsh"]) -> None:
    """Prints a script that has the shell complete rlft's commands, options, configs and policies.

    Args:
        shell: whose script it is; `rlft completion bash >> ~/.bashrc` is one way to use it.
    """
    words = {command: sorted(set(_words(command))) for command in commands()}
    cases = "\n".join(f'      {command}) words="{" ".join(found)}" ;;' for command, found in words.items())
    print(SCRIPT.substitute(shell=shell, before=BEFORE[shell], commands=" ".join(words), cases=cases), end="")


def commands() -> Sequence[str]:
    """All of them, as the help has them."""
    listed = printed().partition("commands:\n")[2].partition("\n\n")[0]
    return re.findall(r"^  (\w+)", listed, re.MULTILINE)


def _words(command: str) -> Iterable[str]:
    """What may follow a command: options as its help has them, and names."""
    yield from OPTION.findall(printed(command, "--help"))
    if command == "study":
        yield from own_studies()
    elif command in FITS:
        yield from own_fits()
        yield from _plugin_options()
    elif command == "configs":
        yield from own_names()
    elif command in OF_POLICIES:
        yield from zoo_names()
    elif command == "completion":
        yield from BEFORE


@cache
def _plugin_options() -> set[str]:
    """`--model.advantage.gamma`: options of everything that a module, a data module or a part of one can be."""
    known = _plugins(printed("fit", "--help"))
    return {option for part in ("model", "data") for name in known[part] for option in _of_class(part, name)}


def _of_class(part: str, name: str) -> Iterable[str]:
    """Options of a module or data module, and of its parts."""
    text = printed("fit", f"--{part}.help", name)
    yield from OPTION.findall(text)
    for option, names in _plugins(text).items():
        for plugin in names:  # whose help leaves out which part it is of
            found = OPTION.findall(printed("fit", f"--{option}.help", plugin))
            yield from (one.replace("--", f"--{part}.", 1) for one in found)


def _plugins(text: str) -> Mapping[str, Sequence[str]]:
    """The options of a help that name a class, and which of rlft's these are."""
    options = re.findall(r"--([\w.]+)\.help \[", text)
    found = {option: re.search(rf"  --{option} .*?known\s+subclasses:([^)]*)\)", text, re.DOTALL) for option in options}
    return {option: re.findall(r"rlft\.[\w.]+", match[1]) for option, match in found.items() if match}


def printed(*args: str) -> str:
    """What a command line prints: options are taken from where users read them, whichever parser says so."""
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        import_module("rlft.cli").main(args)
    return text.getvalue()


def run(args: Sequence[str]) -> None:
    """Runs `rlft completion` with command-line arguments."""
    completion(**parse(completion, "rlft completion", "Prints a script for the shell that completes with Tab.", args))
