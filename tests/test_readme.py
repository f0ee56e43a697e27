"""The promises of the README, and of the tables it sends readers to, that can be read off the repository."""

import re
from pathlib import Path

import pytest

from rlft.networks.policy_files import load_policy, zoo_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGS, POLICIES = ((ROOT / "docs" / name).read_text() for name in ("configs.md", "policies.md"))


def test_every_config_it_names_exists():
    cells = re.findall(r"^\| (`\w+\.yaml`[^|]*)\|", CONFIGS, re.M)
    named = set(re.findall(r"configs/([\w]+\.yaml)", README)) | set(re.findall(r"`(\w+\.yaml)`", " ".join(cells)))
    assert named == {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_every_file_it_sends_readers_to_exists():
    for name in re.findall(r"`((?:rlft|configs|callbacks|docs|tests)/[\w/.]+\.\w+)`", README):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("name", zoo_names())
def test_its_policy_table_says_what_was_measured(name):
    row = next(line for line in POLICIES.splitlines() if line.startswith(f"| `{name}`"))
    measured = load_policy(name).info["measured"]
    assert "deterministic" in measured
    for of_kind in measured.values():
        rate, low, high = (100 * of_kind[f"success_rate{end}"] for end in ("", "_low", "_high"))
        assert f"{rate:.1f}% [{low:.1f}, {high:.1f}]" in row
