"""Let SAPIEN build and reset state-only scenes where nothing can be drawn.

Task code describes the looks of its objects: it makes `sapien.render` materials and textures, whose constructors need a
Vulkan device, and it recolours what it has built, which has no visual parts where nothing is drawn. Stand-ins accept
and forget all of that.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

DRAWN_WITH = ("RenderMaterial", "RenderTexture2D")  # what task code makes to describe looks


class _Looks:
    """Accepts whatever is done to looks: every part of it is another of its kind, and a list of parts is empty."""

    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols that looks do not take part in, such as conversion to arrays
            raise AttributeError(name)
        return _Looks()

    def __call__(self, *_args: object, **_kwargs: object) -> _Looks:
        return _Looks()

    def __getitem__(self, _key: object) -> _Looks:
        return _Looks()

    def __iter__(self) -> Iterator[_Looks]:
        return iter(())

    def __len__(self) -> int:
        return 0


def allow_no_renderer() -> None:
    """Replaces materials and textures by stand-ins if this machine cannot create real ones. Idempotent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SAPIEN warns about its Vulkan search; nothing here renders
        import sapien.pysapien.render
        import sapien.render

    try:
        sapien.render.RenderMaterial()
    except RuntimeError:
        for name in DRAWN_WITH:
            setattr(sapien.render, name, _Looks)
            setattr(sapien.pysapien.render, name, _Looks)


@contextmanager
def without_looks() -> Iterator[None]:
    """While active, objects that were built without visual parts have some that accept everything."""
    import sapien

    find = sapien.Entity.find_component_by_type

    def find_or_stand_in(entity: Any, kind: Any) -> Any:
        found = find(entity, kind)
        return _Looks() if found is None and kind is sapien.render.RenderBodyComponent else found

    with patch.object(sapien.Entity, "find_component_by_type", find_or_stand_in):
        yield
