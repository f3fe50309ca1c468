"""Changes of a mesh that users ask for: fewer faces, and without floating crumbs."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals, whole_faces
from gen3dexport.errors import MissingError, UsageError

_LEAST_FACES = 4  # of a closed surface
_HASTE = (4, 7, 10)  # of the simplification: the quickest finds the target where a careful one stops before it


def largest_part(mesh: Mesh) -> Mesh:
    """The connected part with the largest area, without the others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, whole = len(mesh.vertices), whole_faces(mesh)
    ends = np.concatenate([whole[:, [0, 1]], whole[:, [1, 2]]])
    links = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    parts, part_of = connected_components(links, directed=False)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    part_of_face = part_of[whole[:, 0]]
    largest = np.bincount(part_of_face, weights=areas, minlength=parts).argmax()
    return _with_faces(mesh, mesh.faces[part_of_face == largest])


def _with_faces(mesh: Mesh, faces: NDArray[np.int64]) -> Mesh:
    """The mesh with some of its faces, and no vertices but theirs."""
    used, inverse = np.unique(faces, return_inverse=True)
    normals = None if mesh.normals is None else mesh.normals[used]
    colors = None if mesh.colors is None else mesh.colors[used]
    texture = mesh.texture
    if texture is not None:
        tangents = None if texture.tangents is None else texture.tangents[used]
        texture = replace(texture, uv=texture.uv[used], tangents=tangents)
    made = inverse.reshape(-1, 3).astype(np.int64)
    return Mesh(mesh.vertices[used], made, normals, colors, mesh.cell, texture=texture)


def with_faces_at_most(mesh: Mesh, count: int) -> Mesh:
    """The mesh with `count` faces at most; each vertex has the colour of the nearest one before.

    Source: Garland and Heckbert 1997, "Surface simplification using quadric error metrics".

    Raises:
        UsageError: for fewer faces than a closed surface has, when the mesh cannot be made of so few, and for a mesh
            with textures, which were baked for its faces.
        MissingError: when fast-simplification is not installed.
    """
    if count < _LEAST_FACES:
        raise UsageError(f"--max-faces {count}: a closed surface has {_LEAST_FACES} at least")
    if len(mesh.faces) <= count:
        return mesh
    if mesh.texture is not None:
        raise UsageError(
            f"--max-faces {count}: this mesh has textures, which were baked for its {len(mesh.faces)} faces; ask for "
            f"fewer before they are baked: --set max_faces={count}"
        )
    if find_spec("fast_simplification") is None:
        raise MissingError("--max-faces: fast-simplification is not installed; run: pip install fast-simplification")
    from fast_simplification import simplify
    from scipy.spatial import cKDTree

    for haste in _HASTE:
        points, triangles = simplify(mesh.vertices, mesh.faces.astype(np.int32), target_count=count, agg=haste)[:2]
        if len(triangles) <= count:
            break
    else:
        raise UsageError(f"--max-faces {count}: this surface cannot be made of fewer than {len(triangles)} faces")
    vertices, faces = points.astype(np.float32), triangles.astype(np.int64)
    colors = None if mesh.colors is None else mesh.colors[cKDTree(mesh.vertices).query(vertices)[1]]
    return Mesh(vertices, faces, vertex_normals(vertices, faces), colors, mesh.cell)
