"""Scenes that a CPU draws fast: what has a mesh is drawn as it collides.

Of the Panda arm 26 MB of meshes become hulls of 2,332 triangles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sapien import physx, render


def lighten(entities: Sequence[Any]) -> None:
    """Gives everything that has a mesh, and shapes it collides with, the looks of these shapes."""
    for entity in entities:
        looks = entity.find_component_by_type(render.RenderBodyComponent)
        body = entity.find_component_by_type(physx.PhysxRigidBaseComponent)
        if looks is None or body is None or not body.collision_shapes:
            continue
        meshes = [shape for shape in looks.render_shapes if isinstance(shape, render.RenderShapeTriangleMesh)]
        if meshes:
            _replace(entity, looks, body.collision_shapes, _colour(meshes))


def _replace(entity: Any, looks: Any, shapes: Sequence[Any], colour: Any) -> None:
    light = render.RenderBodyComponent()
    material = render.RenderMaterial()
    material.base_color = colour
    for shape in shapes:
        drawn = DRAWN[type(shape)](shape, material)
        drawn.local_pose = shape.local_pose
        light.attach(drawn)
    entity.remove_component(looks)
    entity.add_component(light)


def _colour(meshes: Sequence[Any]) -> Any:
    """The mean of their parts' colours, of a texture white: red, green, blue, opacity."""
    return np.mean([part.material.base_color for mesh in meshes for part in mesh.parts], 0)


def _mesh(shape: Any, material: Any) -> Any:
    """Flat faces: corners that are shared would have no normal of their own."""
    corners = (np.asarray(shape.vertices) * np.asarray(shape.scale))[np.asarray(shape.triangles)]  # [T, 3, 3]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    vertices = corners.reshape(-1, 3).astype(np.float32)
    triangles = np.arange(len(vertices), dtype=np.uint32).reshape(-1, 3)
    flat = np.repeat(normals, 3, 0).astype(np.float32)
    return render.RenderShapeTriangleMesh(vertices, triangles, flat, np.zeros((len(vertices), 2), np.float32), material)


DRAWN: dict[type, Callable[[Any, Any], Any]] = {
    physx.PhysxCollisionShapeBox: lambda shape, material: render.RenderShapeBox(shape.half_size, material),
    physx.PhysxCollisionShapeSphere: lambda shape, material: render.RenderShapeSphere(shape.radius, material),
    physx.PhysxCollisionShapeCapsule: lambda shape, material: render.RenderShapeCapsule(
        shape.radius, shape.half_length, material
    ),
    physx.PhysxCollisionShapeCylinder: lambda shape, material: render.RenderShapeCylinder(
        shape.radius, shape.half_length, material
    ),
    physx.PhysxCollisionShapePlane: lambda _, material: render.RenderShapePlane([PLANE] * 3, material),
    physx.PhysxCollisionShapeConvexMesh: _mesh,
    physx.PhysxCollisionShapeTriangleMesh: _mesh,
}
PLANE = 40.0  # metres from the middle to the edge, of a ground
