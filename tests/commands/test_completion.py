"""`rlft completion`: what a shell offers after Tab, in a real one."""

import contextlib
import io
import subprocess

import pytest

from rlft.cli import WITHOUT_LIGHTNING, main
from rlft.commands.completion import commands


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("completion") / "rlft.bash"
    path.write_text(text.getvalue())
    return path


def offered(script, *words):
    """After Tab, with these words on the line."""
    tab = f'. {script}; COMP_WORDS=(rlft "$@"); COMP_CWORD=$#; _rlft; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", tab, "bash", *words], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["stu"], ["study"]),
        (["fit", "gae_ppo_"], ["gae_ppo_512"]),
        (["fit", "gae_ppo", "--model.advantage.ga"], ["--model.advantage.gae_lambda", "--model.advantage.gamma"]),
        (["fit", "--data.env.robo"], ["--data.env.robot"]),
        (["fit", "--checkpoint.mon"], ["--checkpoint.monitor"]),
        (["study", "ladd"], ["ladder"]),
        (["evaluate", "pickcube/w"], ["pickcube/weak", "pickcube/weak-gamma0.95"]),
        (["compare", "--thr"], ["--threshold"]),
        (["completion", ""], ["--help", "bash", "zsh"]),
    ],
)
def test_tab_offers_what_can_follow(script, words, found):
    assert offered(script, *words) == found


def test_all_commands_are_offered(script):
    assert set(offered(script, "")) == {"fit", "validate", *WITHOUT_LIGHTNING} == set(commands())


def test_zsh_is_told_to_understand_bash(capsys):
    assert main(["completion", "zsh"]) == 0
    assert "bashcompinit" in capsys.readouterr().out
