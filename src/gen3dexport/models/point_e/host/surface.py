"""The surface of Point-E's distance field, found from coarse to fine; its corners' colours. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.assets.points import Points
from gen3dexport.models.declaration import Call, State
from gen3dexport.models.isosurface import surface
from gen3dexport.models.point_queries import answers
from gen3dexport.models.surface_search import grid_points
from gen3dexport.models.surface_search import sample as search
from gen3dexport.models.vector_set import ball

SIDE = 1.02
"""Edge of the cube that the field is asked in."""


def find_surface(resolution: int, coarse: int, chunk: int, state: State, program: Call, xp: Any) -> State:
    """The surface where the field is 0: vertices, faces, and how many points found it (queries).

    Where no point that was asked is on the other side, the whole grid is asked and its mean taken off, as the release
    does it.
    """
    context = state["context"]

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = points * np.float32(SIDE / 2)
        found = answers(program, {"context": context}, scaled, chunk, {"sdf": 1}, xp)["sdf"][:, 0]
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points) if on_host(state["ball"]) else found

    known = search(field, resolution, coarse, 0.0)
    values, queries = known.values, known.queries
    if not ((values > 0).any() and (values < 0).any()):
        whole = field(grid_points(resolution))
        values = (whole - whole.mean()).reshape((resolution,) * 3)
        queries += len(whole)
    vertices, faces = surface(values, 0.0)
    return state | {
        "vertices": (vertices * np.float32(SIDE)).astype(np.float32),
        "faces": faces,
        "queries": np.asarray(queries),
    }


def mesh_of(state: State, points: Points, resolution: int) -> Mesh:
    """The mesh of a finished state, each corner in the colour of the nearest point."""
    from scipy.spatial import cKDTree

    vertices, faces = on_host(state["vertices"]), on_host(state["faces"])
    cell = SIDE / (resolution - 1)
    if not len(faces):
        return Mesh(vertices, faces, cell=cell)
    assert points.colors is not None
    _, nearest = cKDTree(points.positions).query(vertices)
    return Mesh(vertices, faces, vertex_normals(vertices, faces), points.colors[nearest], cell)
