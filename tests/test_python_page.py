"""docs/python.md as a user takes it: the file run as it stands there."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.hand_made import REPO

PAGE = (REPO / "docs/python.md").read_text()
(FILE,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.maniskill
@pytest.mark.slow
def test_the_file_finetunes_the_weak_policy(tmp_path):
    (tmp_path / "one_iteration.py").write_text(FILE)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "one_iteration.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    before, after = (float(rate) for rate in re.findall(r"(\d+\.\d)%", done.stdout))
    assert before == 44.5  # as on every machine
    assert 45 < after < 70


def test_the_names_in_the_table_are_there():
    for name in re.findall(r"`(rlft\.[\w.]+)`", PAGE):
        module, _, attribute = name.rpartition(".")
        __import__(module)
        assert hasattr(sys.modules[module], attribute) or __import__(name)
