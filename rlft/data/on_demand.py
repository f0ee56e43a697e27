"""Minibatches that are made when they are taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class OnDemand(Sequence[T]):
    """A sequence whose elements take memory only while somebody uses them: pictures of many minibatches would fill it.

    Args:
        count: how many elements.
        make: makes one, by its place.
    """

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        """The element at a place, from 0."""
        if not 0 <= place < self._count:
            raise IndexError(place)
        return self._make(place)
