"""TripoSR's pipeline on the host: picture -> image tokens -> planes -> density and colour at points -> mesh. No torch.

Axes: the field's cube [-radius, radius]^3 is the asset's unit cube; z is up, the picture is seen from +x, +y is right.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights, pass_on
from gen3dexport.models.image_preparation import picture_alone
from gen3dexport.models.isosurface import surface
from gen3dexport.models.surface_search import sample
from gen3dexport.models.triposr.host.picture import pixels
from gen3dexport.models.triposr.host.queries import activated, color, query
from gen3dexport.models.triposr.host.settings import Settings

CHECKPOINT = "model"
_BALL = 1.2  # diameter of the stand-in ball; the cube's edge is 2


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The image encoder, the backbone that makes the planes, and the query of the field at points."""
    image, features, planes = ("image",), ("features",), ("planes",)
    found = partial(_find_surface, settings)
    return (
        _declared("image_encoder", image, features, partial(pass_on, image, features), settings, cacheable=True),
        _declared("backbone", features, planes, partial(pass_on, features, planes), settings, cacheable=True),
        _declared("query", ("planes", "points"), ("density", "features"), found, settings),
    )


def _declared(
    name: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    advance: Callable[[State, Call, Any], State],
    settings: Settings,
    cacheable: bool = False,
) -> Declaration:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.triposr.networks.loading import load_component

        return load_component(name, settings, folder / CHECKPOINT, weights, reading)

    return Declaration(name, CHECKPOINT, inputs, outputs, advance, load, cacheable=cacheable)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The picture's pixels.

    Raises:
        UsageError: for a request without a picture, or with more than that.
        MissingError: when the picture's background must be removed and the package for that is not here.
    """
    image = picture_alone(request)
    made = pixels(image, settings.model.cond_image_size, settings.foreground_ratio)
    return {"image": xp.asarray(made), "ball": np.asarray(request.stand_in == "random")}


def _find_surface(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The surface where the field is dense enough: vertices, faces, colors, and how many points found it (queries)."""
    renderer = settings.model.renderer

    def at(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw density and colour at points of [-1, 1]^3."""
        scaled = points * np.float32(renderer.radius)
        return query(program, state["planes"], scaled, settings.chunk, xp)

    def density(points: NDArray[np.float32]) -> NDArray[np.float32]:
        found = activated(at(points)[0], renderer.density_bias)
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points, settings.threshold) if state["ball"] else found

    field = sample(density, settings.resolution, settings.coarse, settings.threshold)
    vertices, faces = surface(field.values, settings.threshold)
    shades = color(at(2 * vertices)[1])
    colors = np.round(255 * shades).astype(np.uint8)
    return state | {"vertices": vertices, "faces": faces, "colors": colors, "queries": np.asarray(field.queries)}


def ball(points: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """A density at points of [-1, 1]^3 whose surface at `threshold` is a ball."""
    from_surface = _BALL / 2 - np.linalg.norm(points, axis=-1)
    density: NDArray[np.float32] = (threshold * np.exp(4 * from_surface)).astype(np.float32)
    return density


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The coloured mesh of a finished state; one without triangles where nothing was dense enough."""
    vertices, faces, cell = state["vertices"], state["faces"], 1 / (settings.resolution - 1)
    normals = vertex_normals(vertices, faces) if len(faces) else None
    return {"mesh": Mesh(vertices, faces, normals, state["colors"], cell)}
