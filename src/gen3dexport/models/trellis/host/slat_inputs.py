"""Inputs of the structured latent's networks: a voxel set as the tables that they take, by name. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gen3dexport.models.trellis.host.voxel_budget import Budget
from gen3dexport.models.trellis.host.voxel_tables import Coords, coarsening, neighbours, real_rows
from gen3dexport.models.trellis.host.window_tables import windows

Tables = dict[str, NDArray[np.generic]]

FLOW_TABLES = (
    *("neighbours", "coarse_neighbours", "children", "child_weight"),
    *("parent", "coarse_coords", "coarse_real"),
)
WINDOW_TABLES = ("coords", "slots", "window", "place", "shifted_slots", "shifted_window", "shifted_place")
MESH_TABLES = (*WINDOW_TABLES, "neighbours", "real")


def flow_tables(coords: Coords, budget: Budget) -> Tables:
    """`FLOW_TABLES` of a voxel set [N, 3], for the flow: the same at every step and in both branches of guidance."""
    coarse = coarsening(coords, budget.tokens, budget.coarse)
    return {
        "neighbours": neighbours(coords, budget.tokens),
        "coarse_neighbours": neighbours(coarse.coords, budget.coarse),
        "children": coarse.children,
        "child_weight": coarse.weight,
        "parent": coarse.parent,
        "coarse_coords": _positions(coarse.coords, budget.coarse),
        "coarse_real": real_rows(len(coarse.coords), budget.coarse),
    }


def window_inputs(coords: Coords, tokens: int, window_size: int = 8) -> Tables:
    """`WINDOW_TABLES` of a voxel set [N, 3], for the Gaussian and radiance-field decoders and the encoder."""
    plain = windows(coords, tokens, window_size, 0)
    shifted = windows(coords, tokens, window_size, window_size // 2)
    return {
        "coords": _positions(coords, tokens),
        "slots": plain.slots,
        "window": plain.window,
        "place": plain.place,
        "shifted_slots": shifted.slots,
        "shifted_window": shifted.window,
        "shifted_place": shifted.place,
    }


def mesh_inputs(coords: Coords, tokens: int, window_size: int = 8) -> Tables:
    """`MESH_TABLES` of a voxel set [N, 3], for the mesh decoder, which makes the tables of finer grids itself."""
    return {
        **window_inputs(coords, tokens, window_size),
        "neighbours": neighbours(coords, tokens),
        "real": real_rows(len(coords), tokens),
    }


def _positions(coords: Coords, rows: int) -> NDArray[np.float32]:
    """Coordinates [T, 3] float32 for the position embedding; zeros on padding."""
    result = np.zeros((rows, 3), np.float32)
    result[: len(coords)] = coords
    return result
