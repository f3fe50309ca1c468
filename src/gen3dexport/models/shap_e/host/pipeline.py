"""Shap-E's pipeline on the host: prompt or picture -> CLIP -> latents -> weights of a function -> mesh. No torch.

The function is asked in the cube [-1, 1]^3, which is the asset's unit cube; z is up in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.models import Request
from gen3dexport.models.clip_conditions import of_picture, of_prompt
from gen3dexport.models.declaration import (
    AS_STORED,
    Call,
    Declaration,
    Load,
    Reading,
    SamplerKnobs,
    State,
    Weights,
    pass_on,
)
from gen3dexport.models.isosurface import surface
from gen3dexport.models.point_queries import answers
from gen3dexport.models.shap_e.host.settings import IMAGE, LAYERS, OUTPUTS, TEXT, Settings
from gen3dexport.models.surface_search import sample as search
from gen3dexport.models.vector_set import ball

Floats = NDArray[np.float32]

_PRIOR, _RENDERER = "prior/diffusion_pytorch_model", "shap_e_renderer/diffusion_pytorch_model"


def components(settings: Settings) -> tuple[Declaration, ...]:
    """CLIP's half, the prior, what makes the function of latents, and the function's distance and colour at points."""
    made = []
    if settings.clip_text is not None:
        made.append(_encoder(TEXT, ("ids", "end"), settings))
    elif settings.clip_vision is not None:
        made.append(_encoder(IMAGE, ("image",), settings))
    steps: Mapping[str, tuple[str, tuple[str, ...], Any]] = {
        "prior": (_PRIOR, ("x", "t", "cond"), partial(_walk, settings)),
        "layers": (_RENDERER, ("latents",), partial(pass_on, ("latents",), LAYERS)),
        "distance": (_RENDERER, (*LAYERS, "points"), partial(_find_surface, settings)),
        "color": (_RENDERER, (*LAYERS, "points"), partial(_paint, settings)),
    }
    for name, (file, inputs, advance) in steps.items():
        own = SamplerKnobs("", settings.steps, settings.sampler.calls, unguided={"guidance_scale": 1.0})
        sampler = own if name == "prior" else None
        load = _loader(name, settings, file)
        made.append(Declaration(name, file, inputs, OUTPUTS[name], advance, load, sampler=sampler))
    return tuple(made)


def _encoder(name: str, inputs: tuple[str, ...], settings: Settings) -> Declaration:
    def advance(state: State, program: Call, xp: Any) -> State:
        return pass_on(inputs, OUTPUTS[name], state, program, xp) if inputs[0] in state else state

    def host_files(folder: Path) -> Mapping[str, Path]:
        return {"tokenizer.json": folder / settings.tokenizer} if settings.tokenizer else {}

    load = _loader(name, settings, f"{name}/model")
    return Declaration(
        name, f"{name}/model", inputs, OUTPUTS[name], advance, load, cacheable=True, host_files=host_files
    )


def _loader(name: str, settings: Settings, file: str) -> Load:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.shap_e.networks.loading import load_component

        return load_component(name, settings, folder / file, weights, reading)

    return load


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """What CLIP takes of the request, or given features; and the noise.

    Raises:
        UsageError: for a request that the pipeline cannot take.
    """
    prior, condition = settings.model.prior, settings.condition
    state: State
    if settings.model.made_of == "text":
        tokenizer = files / "tokenizer.json" if settings.tokenizer else None
        state = of_prompt(request, settings.clip_text, tokenizer, condition[0])
    else:
        tokens, width = condition
        state = of_picture(request, settings.clip_vision, tokens, width)
    noise = np.random.default_rng(request.seed).standard_normal(
        (1, prior.num_embeddings, prior.embedding_dim), dtype=np.float32
    )
    state |= {"noise": noise, "ball": np.asarray(request.stand_in == "random")}
    return {name: xp.asarray(value) for name, value in state.items()}


def _walk(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The latents [1, N, D] at the end of the walk."""
    if settings.model.made_of == "text":
        vector = on_host(state["vector"])
        cond = (math.sqrt(vector.shape[-1]) * vector).astype(np.float32)
    else:
        cond = on_host(state["grid"]).transpose(0, 2, 1)

    def network(inputs: Mapping[str, Floats]) -> Floats:
        found = program({name: xp.asarray(np.ascontiguousarray(value)) for name, value in inputs.items()})
        return np.asarray(on_host(found["latents"]), np.float32)

    return state | {"latents": xp.asarray(settings.sampler.run(network, on_host(state["noise"]), cond))}


def _find_surface(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """The surface where the distance is 0: vertices, faces, and how many points found it (queries).

    As in the release a shell of -1 closes the surface, and the grid with it is laid over the same cube.
    """
    given = {name: state[name] for name in LAYERS}

    def distances(points: Floats) -> Floats:
        found = answers(program, given, points, settings.chunk, {"sdf": 1}, xp)["sdf"][:, 0]
        # Networks without trained weights have no surface: a ball has as many points to query as an asset's.
        return ball(points) if on_host(state["ball"]) else found

    known = search(distances, settings.resolution, settings.coarse, 0.0)
    vertices, faces = surface(np.pad(known.values, 1, constant_values=-1), 0.0)
    return state | {"vertices": vertices, "faces": faces, "queries": np.asarray(known.queries)}


def _paint(settings: Settings, state: State, program: Call, xp: Any) -> State:
    """Colours [V, 3] in [0, 1], as displays take them, at the vertices."""
    points = (2 * on_host(state["vertices"])).astype(np.float32)
    if not len(points):  # a program is called by its step, also where there is nothing to paint
        points = np.zeros((1, 3), np.float32)
    given = {name: state[name] for name in LAYERS}
    found = answers(program, given, points, settings.chunk, {"color": 3}, xp)["color"]
    return state | {"colors": found[: len(state["vertices"])]}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The coloured mesh of a finished state; one without triangles where no point is inside."""
    vertices, faces = on_host(state["vertices"]), on_host(state["faces"])
    cell = 1 / (settings.resolution + 1)
    if not len(faces):
        return {"mesh": Mesh(vertices, faces, cell=cell)}
    colors = np.rint(255 * np.clip(on_host(state["colors"]), 0, 1)).astype(np.uint8)
    return {"mesh": Mesh(vertices, faces, vertex_normals(vertices, faces), colors, cell)}
