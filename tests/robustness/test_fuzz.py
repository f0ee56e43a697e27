"""Some of the mutations of `fuzz.py`, which makes as many as one likes."""

import pytest

from tests.robustness.fuzz import READERS, fuzz

FORGIVING = {"old_run"}  # what of a report cannot be read is not known; a page is made of the rest


@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused_with_a_sentence(reader, tmp_path):
    refused, _ = fuzz(reader, tmp_path, mutations=150)
    assert refused > 0 or reader in FORGIVING
