"""Meshes and points to and from Open3D."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from gen3dexport.assets.interop import Light, Up, bytes_of, fractions_of, indices, to_z_up, turned, wrong
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.errors import MissingError, UsageError


def _open3d() -> Any:
    try:
        return import_module("open3d")
    except ImportError as error:
        raise MissingError(f"open3d cannot be imported ({error}); run: pip install 'gen3dexport[open3d]'") from error


def from_open3d(found: Any, up: Up = "z", light: Light = "srgb") -> Mesh | Points:
    """A `TriangleMesh` or `PointCloud`, of `open3d.geometry` or `open3d.t.geometry`.

    Args:
        light: what colours of vertices are; Open3D reads those of files as they are, which is sRGB.

    Raises:
        UsageError: for another object, or one without triangles. MissingError: without the package.
    """
    geometry = _open3d().geometry
    legacy = found.to_legacy() if hasattr(found, "to_legacy") else found
    frame = to_z_up(up)
    if isinstance(legacy, geometry.PointCloud):
        colors = bytes_of(np.asarray(legacy.colors), light) if legacy.has_colors() else None
        return Points(turned(np.asarray(legacy.points), frame), colors)
    if not isinstance(legacy, geometry.TriangleMesh):
        raise wrong(found, "from_open3d", "a TriangleMesh or PointCloud")
    if not legacy.has_triangles():
        raise UsageError("from_open3d: the mesh has no triangles")
    normals = turned(np.asarray(legacy.vertex_normals), frame) if legacy.has_vertex_normals() else None
    colors = bytes_of(np.asarray(legacy.vertex_colors), light) if legacy.has_vertex_colors() else None
    vertices = turned(np.asarray(legacy.vertices), frame)
    return Mesh(vertices, indices(np.asarray(legacy.triangles)), normals, colors)


def to_open3d(asset: Mesh | Points, up: Up = "z", light: Light = "srgb") -> Any:
    """An `open3d.geometry.TriangleMesh` or `PointCloud`, in double precision as Open3D keeps them.

    Raises:
        UsageError: for an asset of another kind. MissingError: without the package.
    """
    o3d = _open3d()
    frame, vector = to_z_up(up).T, o3d.utility.Vector3dVector
    if isinstance(asset, Points):
        cloud = o3d.geometry.PointCloud(vector(turned(asset.positions, frame).astype(np.float64)))
        if asset.colors is not None:
            cloud.colors = vector(fractions_of(asset.colors, light))
        return cloud
    if not isinstance(asset, Mesh):
        raise wrong(asset, "to_open3d", "a Mesh or Points")
    triangles = o3d.utility.Vector3iVector(asset.faces.astype(np.int32))
    mesh = o3d.geometry.TriangleMesh(vector(turned(asset.vertices, frame).astype(np.float64)), triangles)
    if asset.normals is not None:
        mesh.vertex_normals = vector(turned(asset.normals, frame).astype(np.float64))
    if asset.colors is not None:
        mesh.vertex_colors = vector(fractions_of(asset.colors, light))
    return mesh
