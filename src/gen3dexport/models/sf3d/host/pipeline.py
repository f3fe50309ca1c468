"""SF3D's pipeline on the host: picture -> image tokens -> planes, material -> surface -> textures. No torch.

Axes: the field's cube [-radius, radius]^3 is the asset's unit cube; z is up, the picture is seen from +x, +y is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets import kinds
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.mesh_edits import with_faces_at_most
from gen3dexport.errors import AccuracyError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights, pass_on
from gen3dexport.models.image_preparation import picture_alone
from gen3dexport.models.point_queries import answers
from gen3dexport.models.sf3d.host.fields import activated, beta_mode
from gen3dexport.models.sf3d.host.picture import for_clip, pixels
from gen3dexport.models.sf3d.host.settings import GEOMETRY, OUTPUTS, TEXTURE, Settings
from gen3dexport.models.sf3d.host.surface import surface
from gen3dexport.models.sf3d.host.textures import textured
from gen3dexport.models.texture_baking import require_unwrapper

CHECKPOINT = "model"
Floats = NDArray[np.float32]

_BALL = 1.2  # diameter of the stand-in ball; the cube's edge is 2


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The image encoder, the backbone that makes the planes, CLIP with the material's heads where the model has them,
    and queries of the field: at the grid's points, and at texels."""
    image, features, planes = ("image",), ("features",), ("planes",)
    found = [
        _declared("image_encoder", image, partial(pass_on, image, features), settings, cacheable=True),
        _declared("backbone", features, partial(pass_on, features, planes), settings, cacheable=True),
        _declared("geometry", ("planes", "points"), partial(_find_surface, settings), settings),
        _declared("texture", ("planes", "points"), partial(_bake, settings), settings),
    ]
    if settings.model.image_estimator is not None:
        found.insert(2, _declared("material", ("picture",), partial(_material, settings), settings, cacheable=True))
    return tuple(found)


def _declared(
    name: str,
    inputs: tuple[str, ...],
    advance: Callable[[State, Call, Any], State],
    settings: Settings,
    cacheable: bool = False,
) -> Declaration:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.sf3d.networks.loading import load_component

        return load_component(name, settings, folder / CHECKPOINT, weights, reading)

    return Declaration(name, CHECKPOINT, inputs, OUTPUTS[name], advance, load, cacheable=cacheable)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The picture's pixels for both encoders.

    Raises:
        UsageError: for a request without a picture, or with more than that.
        MissingError: when xatlas is not installed, or what removes the picture's background.
    """
    require_unwrapper()
    image = picture_alone(request)
    shown, alpha = pixels(image, settings.model.cond_image_size, settings.foreground_ratio)
    state: State = {"image": xp.asarray(shown), "ball": np.asarray(request.stand_in == "random")}
    if (estimator := settings.model.image_estimator) is not None:
        state["picture"] = xp.asarray(for_clip(shown, alpha, estimator.clip.image_size))
    return state


def _material(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The material's numbers, by name."""
    alpha, beta = np.moveaxis(on_host(program({"picture": state["picture"]})["beta"])[0], -1, 0)
    modes = (np.asarray(mode) for mode in beta_mode(alpha, beta))
    return state | dict(zip(settings.model.material, modes, strict=True))


def _asker(
    settings: Settings, names: tuple[str, ...], state: State, program: Call, xp: Any
) -> Callable[[Floats], Mapping[str, Floats]]:
    """What asks some heads at points [N, 3] of [-1, 1]^3, and gives their numbers [N, C] by name."""
    heads = {name: settings.model.decoder.head(name) for name in names}
    channels = {name: head.out_channels for name, head in heads.items()}

    def ask(points: Floats) -> Mapping[str, Floats]:
        scaled = points * np.float32(settings.model.radius)
        raw = answers(program, {"planes": state["planes"]}, scaled, settings.chunk, channels, xp)
        return {name: activated(values, heads[name]) for name, values in raw.items()}

    return ask


def _find_surface(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The surface where the field is dense enough: vertices, faces, and how many points found it (queries)."""
    ask = _asker(settings, GEOMETRY, state, program, xp)

    def density(points: Floats) -> Floats:
        found = ask(points)["density"][:, 0]
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points, settings.threshold) if state["ball"] else found

    def offsets(points: Floats) -> Floats:
        return ask(points)["vertex_offset"]

    found = surface(density, offsets, settings.resolution, settings.coarse, settings.threshold)
    made = Mesh(found.vertices, found.faces)
    if settings.max_faces and len(made.faces):
        made = with_faces_at_most(made, settings.max_faces)
    return state | {"vertices": made.vertices, "faces": made.faces, "queries": np.asarray(found.queries)}


def ball(points: Floats, threshold: float) -> Floats:
    """A density at points of [-1, 1]^3 whose surface at `threshold` is a ball."""
    from_surface = _BALL / 2 - np.linalg.norm(points, axis=-1)
    density: Floats = (threshold * np.exp(4 * from_surface)).astype(np.float32)
    return density


def _bake(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The textured mesh; without textures where there are no faces.

    Raises:
        AccuracyError: when the networks gave numbers that are not finite.
    """
    vertices, faces, cell = state["vertices"], state["faces"], 1 / settings.resolution
    if not len(faces):
        return state | kinds.to_arrays({"mesh": Mesh(vertices, faces, cell=cell)})
    if not np.isfinite(vertices).all():
        raise AccuracyError(
            "the networks gave numbers that are not finite, so there is no surface to texture; build with scheme fp32 "
            "to see whether the precision is the cause"
        )
    ask = _asker(settings, TEXTURE, state, program, xp)
    material = {name: float(state[name]) for name in settings.model.material}
    unknown = [name for name, value in material.items() if not np.isfinite(value)]
    known = {name: value for name, value in material.items() if name not in unknown}
    made = textured(vertices, faces, lambda points: ask(2 * points), settings.texture_size, known, cell)
    return state | kinds.to_arrays({"mesh": made})


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The textured mesh of a finished state; one without triangles where nothing was dense enough."""
    return kinds.from_arrays(state)
