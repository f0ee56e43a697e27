"""Let SAPIEN build state-only scenes on a machine that has no rendering device.

Task code describes the looks of its objects with `sapien.render.RenderMaterial`, whose constructor needs a Vulkan
device even when nothing will ever be drawn. Where no such device exists, and only there, the class is replaced by a
stand-in that accepts and forgets everything.
"""

import warnings
from typing import Any


class _Material:
    """Accepts what `sapien.render.RenderMaterial` accepts and draws nothing."""

    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("set_"):
            return lambda *_args, **_kwargs: None
        raise AttributeError(name)


def allow_no_renderer() -> None:
    """Replaces `RenderMaterial` by a stand-in if this machine cannot create the real one. Idempotent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SAPIEN warns about its Vulkan search; nothing here renders
        import sapien.pysapien.render
        import sapien.render

    try:
        sapien.render.RenderMaterial()
    except RuntimeError:
        sapien.render.RenderMaterial = _Material
        sapien.pysapien.render.RenderMaterial = _Material
