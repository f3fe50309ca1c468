"""TripoSG's pipeline on the host: picture -> image tokens -> latent set -> keys and values -> inside or not at points
-> mesh. No torch.

Axes: the cube [-1.005, 1.005]^3 that the decoder is asked in is the asset's unit cube. The release's y is up; the
asset's z is: (x, y, z) of the release is (x, -z, y) here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, SamplerLoop, State, Weights
from gen3dexport.models.flow_sampler import sample as run_sampler
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.models.isosurface import surface
from gen3dexport.models.point_queries import answers
from gen3dexport.models.surface_search import sample
from gen3dexport.models.triposg.host.picture import pixels
from gen3dexport.models.triposg.host.settings import Settings

BOUND = 1.005
"""Half the edge of the cube that the decoder is asked in."""

_ENCODER, _FLOW, _VAE = (
    "image_encoder_dinov2/model",
    "transformer/diffusion_pytorch_model",
    "vae/diffusion_pytorch_model",
)
_BALL = 0.6  # radius of the stand-in ball; the cube's edge is 2


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The image encoder, the flow, what the decoder makes of a latent set once, and what it makes of a point."""
    loop = SamplerLoop(
        lambda state, xp: {"x": state["noise"], "cond": state["cond"], "neg_cond": state["neg_cond"]},
        lambda state: np.asarray(state["z"]),
    )
    found = partial(_find_surface, settings)
    return (
        _declared("image_encoder", _ENCODER, ("image",), "features", _encode, settings, cacheable=True),
        _declared("flow", _FLOW, ("x", "t", "cond"), "v", partial(_flow, settings), settings, loop=loop),
        _declared("latent_decoder", _VAE, ("z",), "context", _decode, settings),
        _declared("query", _VAE, ("context", "points"), "logits", found, settings),
    )


def _declared(
    name: str,
    checkpoint: str,
    inputs: tuple[str, ...],
    output: str,
    advance: Callable[[State, Call, Any], State],
    settings: Settings,
    loop: SamplerLoop | None = None,
    cacheable: bool = False,
) -> Declaration:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.triposg.networks.loading import load_component

        return load_component(name, settings, folder / checkpoint, weights, reading)

    return Declaration(name, checkpoint, inputs, (output,), advance, load, loop=loop, cacheable=cacheable)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The picture's pixels and the noise.

    Raises:
        UsageError: for a request without a picture, or with more than that.
        MissingError: when the picture's background must be removed and the package for that is not here.
    """
    image = request.image
    if request.features is not None:
        raise UsageError("features: this model takes a picture and makes its features itself; give an image")
    if request.stand_in:
        image = sample_image(request.seed) if image is None else image
    elif request.prompt:
        raise UsageError("prompt: this model makes an asset of a picture alone; give an image, and no prompt")
    elif image is None:
        raise UsageError("image: missing; this model makes an asset of a picture")
    shape = (1, settings.tokens, settings.model.transformer.in_channels)
    noise = np.random.default_rng(request.seed).standard_normal(shape, dtype=np.float32)
    made = pixels(image, settings.model.processor)
    return {
        "image": xp.asarray(made),
        "noise": xp.asarray(noise),
        "ball": np.asarray(request.stand_in == "random"),
    }


def _encode(state: State, program: Call, xp: Any) -> State:
    """The picture's tokens, and the zeros that guidance goes away from."""
    cond = program({"image": state["image"]})["features"]
    return state | {"cond": cond, "neg_cond": xp.zeros_like(cond)}


def _flow(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The latent set that the sampler ends with."""

    def velocity(x: Any, t: float, conditional: bool) -> Any:
        times = xp.asarray(np.full((1,), t, np.float32))
        return program({"x": x, "t": times, "cond": state["cond" if conditional else "neg_cond"]})["v"]

    return state | {"z": run_sampler(velocity, state["noise"], settings.schedule)}


def _decode(state: State, program: Call, xp: Any) -> State:
    return state | {"context": program({"z": state["z"]})["context"]}


def _find_surface(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The surface where the logit is 0: vertices, faces, and how many points found it (queries)."""

    def logits(points: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = points * np.float32(BOUND)
        found = answers(program, {"context": state["context"]}, scaled, settings.chunk, {"logits": 1}, xp)
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points) if state["ball"] else found["logits"][:, 0]

    field = sample(logits, settings.resolution, settings.coarse, 0.0)
    vertices, faces = surface(field.values, 0.0)
    x, y, z = vertices.T
    return state | {"vertices": np.stack([x, -z, y], -1), "faces": faces, "queries": np.asarray(field.queries)}


def ball(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits at points of [-1, 1]^3 whose surface is a ball."""
    found: NDArray[np.float32] = (_BALL - np.linalg.norm(points, axis=-1)).astype(np.float32)
    return found


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The mesh of a finished state; one without triangles where no point is inside."""
    vertices, faces, cell = state["vertices"], state["faces"], 1 / (settings.resolution - 1)
    normals = vertex_normals(vertices, faces) if len(faces) else None
    return {"mesh": Mesh(vertices, faces, normals, None, cell)}
