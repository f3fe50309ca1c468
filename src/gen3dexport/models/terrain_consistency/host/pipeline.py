"""Terrain's pipeline on the host: noise -> values in one step, tile by tile -> heights. No torch.

Axes: row 0 of the map is its far edge; the height field's unit cube is as wide as the map's longer edge, z is up.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.height_field import HeightField
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.terrain_consistency.host.conditioning import (
    EASIEST,
    HARDEST,
    SIGMA_MAX,
    label,
    scalings,
    waves,
)
from gen3dexport.models.terrain_consistency.host.heights import heights, sigma_of, values_of
from gen3dexport.models.terrain_consistency.host.settings import Settings
from gen3dexport.models.terrain_consistency.host.tiles import in_tiles

CHECKPOINT = "terrain_consistency_unet_difficulty100"
INPUTS = ("noisy", "waves", "label", "scalings")


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The U-Net, as one component."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.terrain_consistency.networks.loading import load_component

        return load_component(settings, folder, weights)

    return (Declaration("unet", CHECKPOINT, INPUTS, ("denoised",), partial(_denoise, settings), load),)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The noisy map, and what the network is told of its noise and of the difficulty.

    A prompt is a difficulty. Features are heights [H, W] in metres that are varied.

    Raises:
        UsageError: for a picture, a prompt that is no difficulty, or heights of another size.
    """
    if request.image is not None:
        raise UsageError("image: this model makes terrain of noise; give a seed and a difficulty, and no picture")
    difficulty = _difficulty(request, settings)
    edge = settings.edge
    noise = np.random.default_rng(request.seed).standard_normal((1, 1, edge, edge), np.float32)
    sigma, source = SIGMA_MAX, np.zeros((1, 1), np.float32)
    if request.features is not None:
        given = on_host(request.features)
        if given.shape != (edge, edge) or not np.isfinite(given).all():
            raise UsageError(f"features: need finite heights in metres [{edge}, {edge}], not {list(given.shape)}")
        sigma, source = sigma_of(settings.strength), values_of(given)
    told = {"waves": waves(sigma, settings.model.frequencies), "label": label(difficulty), "scalings": scalings(sigma)}
    canvas = (source + np.float32(sigma) * noise).astype(np.float32)
    return {"canvas": canvas, **{name: xp.asarray(value) for name, value in told.items()}}


def _difficulty(request: Request, settings: Settings) -> float:
    if not request.prompt:
        return settings.difficulty
    try:
        found = float(request.prompt)
    except ValueError:
        if request.stand_in:  # golden data of any words
            return settings.difficulty
        found = np.nan
    if not EASIEST <= found <= HARDEST:
        raise UsageError(
            f"prompt {request.prompt!r}: this model takes a difficulty from {EASIEST:g} to {HARDEST:g} as its prompt, "
            "or none"
        )
    return found


def _denoise(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """One call of the network a tile."""
    told = {name: state[name] for name in INPUTS[1:]}

    def make(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        noisy = xp.asarray(np.ascontiguousarray(tile)[None, None])
        denoised: NDArray[np.float32] = on_host(program({"noisy": noisy, **told})["denoised"])[0, 0]
        return denoised

    return state | {"denoised": in_tiles(make, state["canvas"][0, 0], settings.model.size, settings.shared)}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The height field of a finished state, in edges of the map."""
    found = heights(state["denoised"])
    metres = settings.cell * (max(found.shape) - 1)
    return {"height_field": HeightField((found / metres).astype(np.float32))}
