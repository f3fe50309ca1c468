"""Meshes and points to and from trimesh."""

from __future__ import annotations

from typing import Any

import numpy as np

from gen3dexport.assets.interop import Up, bytes_of, indices, to_z_up, turned, wrong
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.errors import UsageError

_NEEDS = "a trimesh.Trimesh, PointCloud or Scene"


def from_trimesh(found: Any, up: Up = "z") -> Mesh | Points:
    """A `Trimesh`, a `Scene` of such (its parts in their places), or a `PointCloud`.

    Textures become colours of vertices. A mesh that names its units has `unit`, metres.

    Raises:
        UsageError: for another object, or one without triangles.
    """
    import trimesh

    if isinstance(found, trimesh.Scene):
        parts = [p for p in found.dump() if isinstance(p, trimesh.Trimesh)]
        if not parts:
            raise UsageError("from_trimesh: the scene has no triangles")
        units, found = found.units, trimesh.util.concatenate(parts)
    elif isinstance(found, trimesh.Trimesh | trimesh.PointCloud):
        units = found.units
    else:
        raise wrong(found, "from_trimesh", _NEEDS)
    unit = None if units is None else float(trimesh.units.unit_conversion(units, "meters"))
    frame = to_z_up(up)
    if isinstance(found, trimesh.PointCloud):
        colors = found.colors if len(found.colors) else None
        return Points(turned(found.vertices, frame), None if colors is None else bytes_of(np.asarray(colors)), unit)
    if not len(found.faces):
        raise UsageError("from_trimesh: the mesh has no triangles")
    visual = found.visual.to_color() if found.visual.kind == "texture" else found.visual
    colors = bytes_of(np.asarray(visual.vertex_colors)) if found.visual.kind is not None else None
    normals = turned(found.vertex_normals, frame)
    return Mesh(turned(found.vertices, frame), indices(found.faces), normals, colors, unit=unit)


def to_trimesh(asset: Mesh | Points, up: Up = "z") -> Any:
    """A `Trimesh` or a `PointCloud`; vertices stay as many and in their order. `units` is "meters" where a unit is one;
    another unit is in `metadata["metres_per_unit"]`.

    Raises:
        UsageError: for an asset of another kind.
    """
    import trimesh

    frame = to_z_up(up).T
    if isinstance(asset, Points):
        made: Any = trimesh.PointCloud(turned(asset.positions, frame), colors=asset.colors)
    elif isinstance(asset, Mesh):
        normals = None if asset.normals is None else turned(asset.normals, frame)
        made = trimesh.Trimesh(
            turned(asset.vertices, frame),
            asset.faces,
            vertex_normals=normals,
            vertex_colors=asset.colors,
            process=False,
        )
    else:
        raise wrong(asset, "to_trimesh", "a Mesh or Points")
    if asset.unit == 1.0:
        made.units = "meters"
    elif asset.unit is not None:
        made.metadata["metres_per_unit"] = asset.unit
    return made
