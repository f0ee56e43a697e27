"""`rlft configs`, and what names of configs stand for."""

import pytest

from rlft.cli import main
from rlft.errors import UserError
from rlft.files.own_configs import config_path, own_config, own_names, summary
from rlft.system import CONFIGS
from rlft.training.argv import configs_by_name


def listed(capsys):
    assert main(["configs"]) == 0
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}


def test_every_config_is_listed_once_with_a_line_about_it(capsys):
    lines = listed(capsys)
    assert sorted(lines) == sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))
    assert all(line.endswith(summary(own_config(name))) for name, line in lines.items())


def test_a_terminal_has_a_line_for_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = listed(capsys)
    assert max(len(line) for line in lines.values()) == 70
    assert lines["gae_ppo"].endswith("…")


def test_a_config_is_printed_as_it_is(capsys):
    assert main(["configs", "gae_ppo"]) == 0
    assert capsys.readouterr().out == (CONFIGS / "gae_ppo.yaml").read_text()


def test_an_unknown_one_is_refused(capsys):
    assert main(["configs", "gae"]) == 1
    assert "There is no config gae; did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("fit offpolicy", "config offpolicy; did you mean off_policy or pretrain_off_policy? "),
        ("study offpolicy", "study offpolicy; did you mean off_policy or off_policy_peers? "),
        ("configs studies/laddr", "config studies/laddr; did you mean studies/ladder"),
        ("fit zzz", "config zzz; `rlft configs`"),
    ],
)
def test_near_names_are_those_that_the_command_takes(command, meant, capsys):
    assert main(command.split()) == 1
    assert f"There is no {meant}" in capsys.readouterr().err


def test_a_near_name_of_an_option(capsys):
    assert main(["evaluate", "pickcube/weak", "--episode", "3"]) == 1
    assert "There is no option --episode; did you mean --episodes? `--help` lists" in capsys.readouterr().err


def test_a_line_is_the_first_sentence_of_the_comment():
    text = "# RLPD (Ball et al. 2023): from scratch,\n# with data. More of it.\n# rlft fit --config x\nseed: 1\n"
    assert summary(text) == "RLPD (Ball et al. 2023): from scratch, with data"
    assert all(summary(own_config(name)) for name in own_names())


@pytest.mark.parametrize(
    ("name", "folder", "path"),
    [
        ("gae_ppo", "", CONFIGS / "gae_ppo.yaml"),
        ("gae_ppo.yaml", "", CONFIGS / "gae_ppo.yaml"),
        ("configs/gae_ppo.yaml", "", CONFIGS / "gae_ppo.yaml"),
        ("studies/ladder", "", CONFIGS / "studies/ladder.yaml"),
        ("ladder", "studies", CONFIGS / "studies/ladder.yaml"),
        ("studies/ladder", "studies", CONFIGS / "studies/ladder.yaml"),  # what `rlft configs` lists
        ("gae_ppo", "studies", CONFIGS / "studies/gae_ppo.yaml"),
        ("configs/studies/ladder.yaml", "studies", CONFIGS / "studies/ladder.yaml"),
    ],
)
def test_names_and_the_files_they_stand_for(name, folder, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path(name, folder) == path


@pytest.mark.parametrize("given", [["--config="], ["--config", ""]])
def test_an_empty_name_is_refused(given):
    with pytest.raises(UserError, match="--config is empty; it must name a config, such as gae_ppo; `rlft configs`"):
        configs_by_name(["fit", *given])


def test_what_is_no_name_stays_as_it_was_given():
    text = '{"data": {"a//b": 1}}'
    given = ["fit", "--config", text, "--config=./missing//x.yaml", "--model.update", "PPO", "--config"]
    assert configs_by_name(given) == ["fit", f"--config={text}", *given[3:]]
