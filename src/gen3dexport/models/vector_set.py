"""The host's part of pipelines that make a set of latent vectors of a picture, and a mesh of that. No torch.

Networks: image encoder (image -> features), flow (x, t, cond -> v), latent decoder (z -> context: keys and values),
query (context, points -> logits, above 0 inside). The cube that the query is asked in is the asset's unit cube. The
networks' y is up, the asset's z: (x, y, z) of theirs is (x, -z, y) here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.models import Request
from gen3dexport.models.declaration import Call, Declaration, Load, SamplerKnobs, SamplerLoop, State
from gen3dexport.models.flow_sampler import sample
from gen3dexport.models.image_preparation import picture_alone
from gen3dexport.models.isosurface import surface
from gen3dexport.models.point_queries import answers
from gen3dexport.models.surface_search import sample as search

OUTPUTS: Mapping[str, str] = {
    "image_encoder": "features",
    "flow": "v",
    "latent_decoder": "context",
    "query": "logits",
}
"""The one output of each component."""

_BALL = 0.6  # radius of the stand-in ball; the cube's edge is 2


@dataclass(frozen=True)
class Surface:
    """How the surface is found.

    Attributes:
        bound: half the edge of the cube that the query is asked in.
        chunk: points that one call of the query takes.
        resolution: grid points along an edge; coarse: grid steps between the points that are queried first.
    """

    bound: float
    chunk: int
    resolution: int
    coarse: int


def declarations(
    checkpoints: Mapping[str, str],
    load: Callable[[str], Load],
    sampler: SamplerKnobs,
    times: Callable[[float], float],
    found: Surface,
) -> tuple[Declaration, ...]:
    """The four components, in the order they run.

    Args:
        checkpoints: of each; load: component -> how it is loaded; sampler: of the flow, with its schedule.
        times: 1000 t of the sampler, 1000 for noise -> what the flow gets as `t`.
    """

    schedule = sampler.schedule
    assert schedule is not None

    def flow(state: State, program: Call, xp: Any) -> State:
        def velocity(x: Any, t: float, conditional: bool) -> Any:
            at = xp.asarray(np.full((1,), times(t), np.float32))
            return program({"x": x, "t": at, "cond": state["cond" if conditional else "neg_cond"]})["v"]

        return state | {"z": sample(velocity, state["noise"], schedule)}

    loop = SamplerLoop(
        lambda state, xp: {"x": state["noise"], "cond": state["cond"], "neg_cond": state["neg_cond"]},
        lambda state: np.asarray(state["z"]),
    )
    steps: Mapping[str, tuple[tuple[str, ...], Callable[[State, Call, Any], State]]] = {
        "image_encoder": (("image",), _encode),
        "flow": (("x", "t", "cond"), flow),
        "latent_decoder": (("z",), _decode),
        "query": (("context", "points"), lambda state, program, xp: _find_surface(found, state, program, xp)),
    }
    return tuple(
        Declaration(
            name,
            checkpoints[name],
            inputs,
            (OUTPUTS[name],),
            advance,
            load(name),
            loop=loop if name == "flow" else None,
            sampler=sampler if name == "flow" else None,
            cacheable=name == "image_encoder",
        )
        for name, (inputs, advance) in steps.items()
    )


def begin(request: Request, pixels: Callable[[Any], NDArray[np.float32]], latent: tuple[int, ...], xp: Any) -> State:
    """The picture's pixels and the noise.

    Args:
        pixels: a picture -> what the image encoder takes; latent: shape of the latent set.

    Raises:
        UsageError: for a request without a picture, or with more than that.
        MissingError: when the picture's background must be removed and the package for that is not here.
    """
    image = picture_alone(request)
    noise = np.random.default_rng(request.seed).standard_normal(latent, dtype=np.float32)
    return {
        "image": xp.asarray(pixels(image)),
        "noise": xp.asarray(noise),
        "ball": np.asarray(request.stand_in == "random"),
    }


def _encode(state: State, program: Call, xp: Any) -> State:
    """The picture's tokens, and the zeros that guidance goes away from."""
    cond = program({"image": state["image"]})["features"]
    return state | {"cond": cond, "neg_cond": xp.zeros_like(cond)}


def _decode(state: State, program: Call, xp: Any) -> State:
    return state | {"context": program({"z": state["z"]})["context"]}


def _find_surface(found: Surface, state: State, program: Call, xp: Any) -> State:
    """The surface where the logit is 0: vertices, faces, and how many points found it (queries)."""

    def logits(points: NDArray[np.float32]) -> NDArray[np.float32]:
        scaled = points * np.float32(found.bound)
        answered = answers(program, {"context": state["context"]}, scaled, found.chunk, {"logits": 1}, xp)
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points) if state["ball"] else answered["logits"][:, 0]

    field = search(logits, found.resolution, found.coarse, 0.0)
    vertices, faces = surface(field.values, 0.0)
    x, y, z = vertices.T
    return state | {"vertices": np.stack([x, -z, y], -1), "faces": faces, "queries": np.asarray(field.queries)}


def ball(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits at points of [-1, 1]^3 whose surface is a ball."""
    found: NDArray[np.float32] = (_BALL - np.linalg.norm(points, axis=-1)).astype(np.float32)
    return found


def make_assets(state: State, resolution: int) -> dict[str, Any]:
    """The mesh of a finished state; one without triangles where no point is inside."""
    vertices, faces, cell = state["vertices"], state["faces"], 1 / (resolution - 1)
    normals = vertex_normals(vertices, faces) if len(faces) else None
    return {"mesh": Mesh(vertices, faces, normals, None, cell)}
