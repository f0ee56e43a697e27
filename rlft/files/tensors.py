"""Files of tensors that tell whether they are still what was written.

Safetensors get a digest in their header; torch's own files are zip archives with checksums, which torch never reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rlft.errors import UserError
from rlft.files.atomic import replacing

DIGEST = "sha256"
NUMBERS_OF_NUMPY: list[Any] = [  # single ones, which checkpoints hold beside tensors, from either version of numpy
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes `path`, which appears complete or not at all; equal content makes equal files.

    Raises:
        UserError: if it cannot be written.
    """
    ours = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(ours, metadata={**metadata, DIGEST: _digest(ours, metadata)})
    with replacing(path) as temporary:
        temporary.write_bytes(_in_order(content))


def read_tensors(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file, whoever wrote it. Nothing in it is executed.

    Args:
        path: the file.
        what: how messages call it, such as `Policy file`.

    Raises:
        UserError: if it cannot be read, or is not what `write_tensors` wrote.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{what} {path} cannot be read as safetensors: {error}.") from error
    written = metadata.pop(DIGEST, None)
    if written is not None and written != _digest(tensors, metadata):
        raise UserError(f"{what} {path} is damaged: it does not hold the numbers that were written to it.")
    return tensors, metadata


def read_torch(path: Path, what: str) -> Any:
    """The content of a file of `torch.save`, whoever wrote it. Nothing in it is executed.

    Args:
        path: the file.
        what: how messages call it, such as `Policy file`.

    Raises:
        UserError: if it cannot be read so, or is damaged.
    """
    try:
        content, damaged = _loaded(path), None
        if zipfile.is_zipfile(path):  # files of very old versions are not
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
    except Exception as error:  # torch raises whatever the broken file happens to trigger
        raise UserError(
            f"{what} {path} is no checkpoint that can be read without running code in it{_reason(path)}."
        ) from error
    if damaged:
        raise UserError(f"{what} {path} is damaged: its {damaged} does not fit its checksum.")
    return content


def read_torch_member(archive: zipfile.ZipFile, member: str) -> Any:
    """The same of a file within a zip archive, which checks it.

    Raises:
        UserError: if it cannot be read so, or is damaged. Says it of "it", the archive.
    """
    try:
        return _loaded(io.BytesIO(archive.read(member)))
    except Exception as error:  # see `read_torch`
        raise UserError(f"its {member} is damaged, or cannot be read without running code in it.") from error


def _loaded(file: Path | IO[bytes]) -> Any:
    with torch.serialization.safe_globals(NUMBERS_OF_NUMPY):
        return torch.load(file, map_location="cpu", weights_only=True)


def _reason(path: Path) -> str:
    """What keeps a file of torch from being read, if that can be told."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return ": it is a program of TorchScript; save the state_dict of its module with torch.save instead"
        with torch.serialization.safe_globals(NUMBERS_OF_NUMPY):
            kinds = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it is no file of torch
        return ""
    if not kinds:
        return ""
    return (
        f": it holds Python objects ({', '.join(sorted(kinds)[:3])}); save the state_dict of the module alone instead"
    )


def _in_order(content: bytes) -> bytes:
    """Safetensors with sorted metadata, which the library writes in an order that differs from call to call."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors are aligned
    return len(text).to_bytes(8, "little") + text + content[end:]


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
