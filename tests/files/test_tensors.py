import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlft.errors import UserError
from rlft.files.tensors import read_tensors, read_torch, read_torch_member, write_tensors

TENSORS = {"a": torch.randn(3, 4).T, "b": torch.tensor([True, False]), "c": torch.tensor(7), "d": torch.zeros(0, 2)}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "file.safetensors", TENSORS, {"format": "x"})
    return tmp_path / "file.safetensors"


def test_what_was_written_is_read(path):
    tensors, metadata = read_tensors(path, "File")
    assert metadata == {"format": "x"}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_equal_content_makes_equal_files(tmp_path):
    """Also with metadata that safetensors would write in any order, and with text that JSON has to escape."""
    metadata = {name: f'{name} \u00e9 "quoted"\n\\' for name in ["format", "task", "actor", "critic", "hidden"]}
    for name in "one", "other":
        write_tensors(tmp_path / name, TENSORS, metadata)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    tensors, read = read_tensors(tmp_path / "one", "File")
    assert read == metadata
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_changed_number_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    assert load_file(path).keys() == TENSORS.keys()  # safetensors does not notice
    with pytest.raises(UserError, match=r"^File .*file\.safetensors is damaged"):
        read_tensors(path, "File")


@pytest.mark.parametrize("part", [b'"c"', b'"x"'])
def test_another_name_or_metadata_are_noticed(part, path):
    path.write_bytes(path.read_bytes().replace(part, b'"e"'))
    with pytest.raises(UserError, match="is damaged"):
        read_tensors(path, "File")


def test_files_of_others_are_read(tmp_path):
    save_file({"b": TENSORS["b"]}, tmp_path / "other.safetensors")
    tensors, metadata = read_tensors(tmp_path / "other.safetensors", "File")
    assert list(tensors) == ["b"]
    assert metadata == {}


def test_a_changed_number_in_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / "file.ckpt"
    torch.save({"a": torch.zeros(100)}, path)
    assert torch.equal(read_torch(path, "File")["a"], torch.zeros(100))
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes(100), bytes(99) + b"\x01", 1))
    assert torch.load(path, weights_only=True)["a"].any()  # torch does not notice
    with pytest.raises(UserError, match=r"^File .*file\.ckpt is damaged: its file/data/0 does not fit its checksum"):
        read_torch(path, "File")


def test_old_files_without_checksums_are_read(tmp_path):
    path = tmp_path / "file.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_torch(path, "File")["a"], torch.ones(2))


def test_numbers_of_numpy_are_read_and_nothing_else_of_it(tmp_path):
    path = tmp_path / "file.pt"
    numbers = {kind.__name__: kind(1) for kind in (np.bool_, np.int32, np.int64, np.uint8, np.float32, np.float64)}
    torch.save(numbers, path)
    assert read_torch(path, "File") == numbers
    torch.save({"a": np.ones(2)}, path)
    with pytest.raises(UserError, match=r"it holds Python objects \(numpy\..*\); save the state_dict"):
        read_torch(path, "File")


def test_a_file_of_torch_within_an_archive(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "inner.pt")
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(tmp_path / "inner.pt", "inner.pt")
    with zipfile.ZipFile(tmp_path / "outer.zip") as archive:
        assert torch.equal(read_torch_member(archive, "inner.pt")["a"], torch.ones(2))
        with pytest.raises(UserError, match=r"^its other\.pt is damaged"):
            read_torch_member(archive, "other.pt")
