"""Point-E's pipeline on the host: prompt or picture -> CLIP -> coarse cloud -> cloud -> mesh. No torch.

Axes are the release's: z up, the object within about the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.points import Points
from gen3dexport.models import Request
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
from gen3dexport.models.point_e.host.conditions import begin_condition
from gen3dexport.models.point_e.host.diffusion import Stage
from gen3dexport.models.point_e.host.model import CHANNELS
from gen3dexport.models.point_e.host.settings import OUTPUT, Settings, encoded, given_to
from gen3dexport.models.point_e.host.surface import find_surface, mesh_of

Floats = NDArray[np.float32]


def components(settings: Settings) -> tuple[Declaration, ...]:
    """CLIP's half, the two diffusion networks, and where a mesh is asked the two of the distance field."""
    made = []
    if settings.clip_text is not None:
        made.append(_encoder("text_encoder", ("ids", "end"), settings))
    elif settings.clip_vision is not None:
        made.append(_encoder("image_encoder", ("image",), settings))
    for name, stage in zip(("base", "upsampler"), settings.stages(), strict=True):
        inputs = ("x", "t", *given_to(name, settings))
        advance: Callable[[State, Call, Any], State] = partial(_base if name == "base" else _upsample, stage)
        config = stage.config
        load = _loader(name, settings, config.file)
        sampler = SamplerKnobs(name, len(stage.steps), stage.calls, unguided={"guidance_scale": 0.0})
        made.append(Declaration(name, config.file, inputs, (OUTPUT,), advance, load, sampler=sampler))
    if settings.mesh:
        assert settings.model.sdf is not None
        file = settings.model.sdf.file
        encode, query = ("cloud",), ("context", "points")
        made.append(
            Declaration(
                "sdf_encoder", file, encode, ("context",), _encode_cloud, _loader("sdf_encoder", settings, file)
            )
        )
        find = partial(find_surface, settings.resolution, settings.coarse, settings.chunk)
        made.append(Declaration("sdf_query", file, query, ("sdf",), find, _loader("sdf_query", settings, file)))
    return tuple(made)


def _encoder(name: str, inputs: tuple[str, ...], settings: Settings) -> Declaration:
    outputs, file = encoded(settings), f"{settings.clip_folder}/model"

    def advance(state: State, program: Call, xp: Any) -> State:
        return pass_on(inputs, outputs, state, program, xp) if inputs[0] in state else state

    def host_files(folder: Path) -> Mapping[str, Path]:
        return {"tokenizer.json": folder / settings.clip_folder / "tokenizer.json"} if settings.tokenizer else {}

    load = _loader(name, settings, file)
    return Declaration(name, file, inputs, outputs, advance, load, cacheable=True, host_files=host_files)


def _loader(name: str, settings: Settings, file: str) -> Load:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.point_e.networks.loading import load_component

        return load_component(name, settings, folder / file, weights, reading)

    return load


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """What CLIP takes of the request, or given features; and the noise of both walks.

    Raises:
        UsageError: for a request that the pipeline cannot take.
    """
    state = begin_condition(settings, request, files)
    rng = np.random.default_rng(request.seed)
    for name, stage in zip(("base", "upsampler"), settings.stages(), strict=True):
        many = 1 + (len(stage.steps) if any(step.fresh for step in stage.steps) else 0)
        state[f"{name}_noise"] = rng.standard_normal((many, 1, CHANNELS, stage.config.n_ctx), dtype=np.float32)
    state["ball"] = np.asarray(request.stand_in == "random")
    return {name: xp.asarray(value) for name, value in state.items()}


def _base(stage: Stage, state: State, program: Call, xp: Any) -> State:
    """The coarse cloud [1, 6, n], in the release's units."""
    name = "vector" if stage.config.kind == "vector" else "grid"
    given = {} if stage.config.kind == "none" else {"cond": on_host(state[name])}
    return state | {"coarse": _walk(stage, on_host(state["base_noise"]), given, program, xp)}


def _upsample(stage: Stage, state: State, program: Call, xp: Any) -> State:
    """The whole cloud [1, 6, N]: the coarse points, then those between."""
    shape = (1, *stage.config.condition)
    grid = on_host(state["grid"]) if "grid" in state else np.zeros(shape, np.float32)
    coarse = on_host(state["coarse"])
    denser = _walk(stage, on_host(state["upsampler_noise"]), {"cond": grid, "low_res": coarse}, program, xp)
    cloud = np.concatenate([coarse, denser], -1)
    return state | {"points": cloud, "cloud": np.ascontiguousarray(cloud[:, :3].transpose(0, 2, 1))}


def _walk(stage: Stage, noise: Floats, given: Mapping[str, Floats], program: Call, xp: Any) -> Floats:
    def network(inputs: Mapping[str, Floats]) -> Floats:
        found = program({name: xp.asarray(np.ascontiguousarray(value)) for name, value in inputs.items()})
        return np.asarray(on_host(found[OUTPUT]), np.float32)

    return stage.run(network, noise, given)[1]


def _encode_cloud(state: State, program: Call, xp: Any) -> State:
    return state | {"context": program({"cloud": xp.asarray(state["cloud"])})["context"]}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The coloured points, and where asked the mesh, whose corners have the colours of the nearest points."""
    cloud = on_host(state["points"])[0]
    colors = np.rint(np.clip(cloud[3:], 0, 255)).astype(np.uint8)
    points = Points(np.ascontiguousarray(cloud[:3].T), np.ascontiguousarray(colors.T))
    if not settings.mesh:
        return {"points": points}
    return {"points": points, "mesh": mesh_of(state, points, settings.resolution)}
