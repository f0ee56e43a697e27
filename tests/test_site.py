"""The documentation as a site: it builds without a warning, so every link and every name in it leads somewhere.

It is one test, since building takes half a minute and the workers of a test run share nothing.
"""

import os
import subprocess
import sys

from rlft.cli import WITHOUT_LIGHTNING
from tests.support.hand_made import REPO

PACKAGES = ("advantage", "callbacks", "data", "envs", "modules", "off_policy", "update")


def test_the_site(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    every_command_has_its_help(tmp_path)
    nothing_is_fetched_from_elsewhere(tmp_path)
    every_plug_in_is_in_the_reference(tmp_path)


def every_command_has_its_help(site):
    page = (site / "reference/commands.html").read_text()
    for command in ("fit", "validate", *WITHOUT_LIGHTNING):
        assert f'id="rlft-{command}"' in page
    assert "--seed_everything" in page
    assert "help of" not in page


def nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" href="http' not in text, page


def every_plug_in_is_in_the_reference(site):
    bases = {"ActorObjective", "AdvantageEstimator", "IterationProgress", "PolicyUpdate", "RunReport", "Values"}
    pages = "".join(page.read_text() for room in ("methods", "reference") for page in (site / room).glob("*.html"))
    for package in PACKAGES:
        module = __import__(f"rlft.{package}", fromlist=["__all__"])
        assert not [name for name in set(module.__all__) - bases if f'id="rlft.{package}.{name}"' not in pages]
