"""The pictures of a rollout in a file: each once, compressed."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from rlft.data.frames import differing
from rlft.errors import UserError
from rlft.types import Experience, Rollout

S = TypeVar("S", Experience, Rollout)
PACKED, SIZES, APART = ENTRIES = "frames.zlib", "frames.sizes", "frames.apart"  # of the file
LEVEL = 1  # of zlib: the fastest, at which drawn pictures take a small part of their size already


def packed(steps: Experience | Rollout) -> dict[str, Tensor]:
    """The pictures of steps `[T, N]`, as the entries of a file; nothing if there are none."""
    image, next_image = steps.obs.image.cpu(), steps.next_obs.image.cpu()
    if not image.shape[-1]:
        return {}
    apart = differing(image, next_image)  # [T, N]
    pictures = torch.cat([image.flatten(0, 1), next_image[apart]])  # [T * N + M, C, H, W]
    content = zlib.compress(pictures.contiguous().numpy().data, LEVEL)
    return {
        PACKED: torch.frombuffer(bytearray(content), dtype=torch.uint8),
        SIZES: torch.tensor(image.shape[2:]),
        APART: apart,
    }


def with_pictures(steps: S, entries: Mapping[str, Tensor]) -> S:
    """Steps `[T, N]` with the pictures among the entries of their file.

    Raises:
        UserError: if there are other ones than those that the file speaks of.
    """
    if PACKED not in entries:
        return steps
    apart, sizes = entries[APART], entries[SIZES].tolist()
    try:
        pictures = torch.frombuffer(bytearray(zlib.decompress(entries[PACKED].numpy().data)), dtype=torch.uint8)
        pictures = pictures.reshape(-1, *sizes)
        image = pictures[: apart.numel()].reshape(*apart.shape, *sizes)
        next_image = torch.cat([image[1:], image[-1:]])
        next_image[apart] = pictures[apart.numel() :]
    except (zlib.error, RuntimeError) as error:
        raise UserError(f"The pictures of a replay file are not those that it speaks of: {error}.") from error
    obs, next_obs = replace(steps.obs, image=image), replace(steps.next_obs, image=next_image)
    return replace(steps, obs=obs, next_obs=next_obs)
