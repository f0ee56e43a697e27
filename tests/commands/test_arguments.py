"""What is typed, as the functions behind the commands get it."""

import pytest

from rlft.commands.arguments import parse
from rlft.commands.collect import collect
from rlft.commands.evaluate import evaluate
from rlft.commands.study import study
from rlft.errors import UserError


@pytest.mark.parametrize(
    ("typed", "dry_run"),
    [
        ("name", False),
        ("name --dry_run", True),
        ("--dry_run name", True),
        ("name --dry_run --jobs 2", True),
        ("--dry_run true name", True),
        ("name --dry_run=false", False),
        ("name --dry_run False", False),
        ("--dry_run no name", False),
    ],
)
def test_a_flag_needs_no_value_wherever_it_stands(typed, dry_run):
    found = parse(study, "rlft study", "", typed.split())
    assert (found["file"], found["dry_run"]) == ("name", dry_run)


def test_flags_of_all_commands():
    assert parse(evaluate, "rlft evaluate", "", ["pickcube/weak", "--legacy", "--episodes", "5"])["legacy"] is True
    typed = ["a.h5", "--overwrite", "--deterministic", "no"]
    found = parse(collect, "rlft collect", "", typed)
    assert (found["output"], found["overwrite"], found["deterministic"]) == ("a.h5", True, False)


@pytest.mark.parametrize("typed", ["name --jobs", "name --dry_run=maybe", "name --dry_run maybe", "--dry_run"])
def test_other_options_still_need_their_values(typed):
    with pytest.raises(UserError):
        parse(study, "rlft study", "", typed.split())


@pytest.mark.parametrize("typed", ["--file name", "--fil=name"])
def test_what_has_no_name_is_not_suggested_as_an_option(typed):
    """`--file` was answered with `did you mean --file?`."""
    with pytest.raises(UserError, match=r"rlft study: There is no option --file?; `--help` lists what there is"):
        parse(study, "rlft study", "", typed.split())
