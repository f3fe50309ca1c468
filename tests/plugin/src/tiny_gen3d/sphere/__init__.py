"""Spheres: a perceptron gives the occupancy of every point of a grid, the host makes voxels and a mesh of it. No torch.

The network's ridge functions relu(d_k . p), over directions d_k that cover the unit sphere evenly, have the mean
|p| / 4; so radius - 4 * mean is positive inside a ball.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, ValidationError

from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.voxels import Voxels
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Array, Call, Declaration, Reading, State, Weights
from gen3dexport.models.weights import WeightFiles

if TYPE_CHECKING:
    from gen3dexport.models.component import Component

CONFIG = "sphere.json"


class Knobs(Record):
    """What a recipe may set.

    Attributes:
        resolution: voxels along each edge of the grid, where it is not the checkpoint's.
    """

    WEIGHTS: ClassVar[WeightFiles] = WeightFiles(CONFIG, (CONFIG, "*.safetensors"), "*.safetensors")

    resolution: int | None = Field(default=None, ge=4, le=64)


class Settings(Record):
    """What the host needs.

    Attributes:
        width: of the network; resolution: voxels along each edge; radius: of the ball, before the seed changes it.
    """

    RUN_FIELDS: ClassVar[Mapping[str, str]] = {"radius": "radius"}

    width: int = Field(ge=1)
    resolution: int = Field(ge=4, le=64)
    radius: float = Field(default=0.3, gt=0, lt=0.5)
    asset_kinds: tuple[str, ...] = ("voxels", "mesh")
    left_out: tuple[str, ...] = ()


def read_settings(folder: Path, knobs: Knobs, random_weights: bool) -> Settings:
    """Settings of a checkpoint folder with the recipe's knobs on top.

    Raises:
        UsageError: when its configuration is damaged.
    """
    path = folder / CONFIG
    try:
        found = Settings(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise UsageError(f"{path}: no configuration of a sphere ({error}); write one with write_checkpoint") from error
    return found if knobs.resolution is None else found.model_copy(update={"resolution": knobs.resolution})


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The network alone."""
    load = partial(_load, settings)
    return (Declaration("field", "sphere", ("points", "radius"), ("logits",), _step, load),)


def _load(settings: Settings, folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Component:
    from tiny_gen3d.sphere.network import load

    return load(folder, settings.width, settings.resolution, weights)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The grid's points [1, R * R * R, 3] by x, y, z, and the ball's radius [1, 1]."""
    centres = (np.arange(settings.resolution, dtype=np.float32) + 0.5) / settings.resolution - 0.5
    points = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), -1).reshape(1, -1, 3)
    change = 0.1 * np.random.default_rng(request.seed).random()
    radius = np.full((1, 1), settings.radius + change, np.float32)
    return {"points": xp.asarray(points), "radius": xp.asarray(radius)}


def _step(state: State, program: Call, xp: Any) -> State:
    found: Array = program({name: state[name] for name in ("points", "radius")})["logits"]
    return {**state, "logits": found}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """Voxels, and the surface between them and the rest."""
    edge = settings.resolution
    logits = np.asarray(state["logits"], np.float32).reshape(edge, edge, edge)
    voxels = Voxels(logits > 0)
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64), cell=1 / edge)
    return {"voxels": voxels, "mesh": from_occupancy_logits(logits) if voxels.occupancy.any() else empty}
