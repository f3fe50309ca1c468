"""TRELLIS's pipeline on the host: text or features -> occupancy -> structured latent -> assets. No torch.

A checkpoint without a structured latent ends with the occupancy, whose surface is the asset. One with it goes on to the
occupied voxels' latent and its decoders: mesh, Gaussians, radiance field (`slat_stage`).

Between the networks everything is Array API, so the same steps run with NumPy, torch and JAX arrays.
Axes: occupancy[i0, i1, i2] is x, y, z with z up; voxel i has its centre at (i + 0.5) / R - 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.voxels import Voxels
from gen3dexport.models import Request
from gen3dexport.models.declaration import (
    AS_STORED,
    Array,
    Call,
    Declaration,
    Reading,
    SamplerKnobs,
    SamplerLoop,
    State,
    Weights,
)
from gen3dexport.models.trellis.host import conditioning, slat_stage, structure_stage
from gen3dexport.models.trellis.host.settings import ASSETS, Sampling, Settings
from gen3dexport.models.trellis.host.slat_inputs import FLOW_TABLES
from gen3dexport.models.trellis.host.structure_stage import occupancy_logits

if TYPE_CHECKING:
    from gen3dexport.models.component import Component


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The pipeline's components, in the order they run: encoder, flow, decoder, and the structured latent's."""
    declare: dict[str, Callable[[str, Settings], Declaration]] = {
        "text_encoder": _encoder,
        "image_encoder": _encoder,
        "flow_context": partial(_context, flow="flow"),
        "flow": _flow,
        "decoder": _decoder,
        "slat_flow_context": partial(_context, flow="slat_flow"),
        "slat_flow": _slat_flow,
        **dict.fromkeys(ASSETS, _slat_decoder),
    }
    return tuple(declare[name](name, settings) for name in settings.checkpoints)


def _loaded(part: str, name: str, settings: Settings) -> Any:
    """The loader of a component: `part` of `networks.loading`."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Component:
        from gen3dexport.models.trellis.networks import loading

        made: Component = getattr(loading, part)(_declared(name, settings), settings, folder, weights, reading)
        return made

    return load


def _declared(name: str, settings: Settings) -> Declaration:
    return next(d for d in components(settings) if d.name == name)


def _encoder(name: str, settings: Settings) -> Declaration:
    return Declaration(
        name,
        settings.checkpoints[name],
        conditioning.inputs_of(settings),
        ("features",),
        advance=lambda state, program, xp: conditioning.encode(state, program, settings, xp),
        load=_loaded("encoder", name, settings),
        cacheable=True,
        host_files=partial(conditioning.host_files, name, settings),
    )


def _context(name: str, settings: Settings, flow: str) -> Declaration:
    """A flow's keys and values of the condition, made before its loop."""
    return Declaration(
        name,
        settings.checkpoints[name],
        ("cond",),
        ("context",),
        advance=lambda state, program, xp: conditioning.hold(name, state, program),
        load=_loaded("context", name, settings),
        cacheable=True,
    )


def _flow(name: str, settings: Settings) -> Declaration:
    def step(state: State, program: Call, xp: Any) -> State:
        return state | {"z": structure_stage.run_sampler(program, state["noise"], state, settings, xp)}

    def inputs(state: State, xp: Any) -> dict[str, Array]:
        return {"x": state["noise"], **_conditions(name, state, settings)}

    return Declaration(
        name,
        settings.checkpoints[name],
        ("x", "t", settings.condition_input),
        ("v",),
        step,
        load=_loaded("flow", name, settings),
        loop=SamplerLoop(inputs, lambda state: np.asarray(state["z"])),
        sampler=_sampler("sampler", settings),
        batched=_batched("sampler", settings),
    )


def _decoder(name: str, settings: Settings) -> Declaration:
    return Declaration(
        name,
        settings.checkpoints[name],
        ("z",),
        ("logits",),
        advance=lambda state, program, xp: state | {"logits": program({"z": state["z"]})["logits"]},
        load=_loaded("structure_decoder", name, settings),
    )


def _slat_flow(name: str, settings: Settings) -> Declaration:
    assert settings.slat is not None

    def inputs(state: State, xp: Any) -> dict[str, Array]:
        return {**slat_stage.prepared(state, settings, xp)[1], **_conditions(name, state, settings)}

    return Declaration(
        name,
        settings.checkpoints[name],
        ("x", "t", settings.slat.condition_input, *FLOW_TABLES),
        ("v",),
        advance=lambda state, program, xp: slat_stage.run_flow(state, program, settings, xp),
        load=_loaded("flow", name, settings),
        rows=partial(slat_stage.output_rows, name),
        loop=SamplerLoop(inputs, lambda state: np.asarray(state["slat"])),
        sampler=_sampler("slat_sampler", settings.slat),
        batched=_batched("slat_sampler", settings.slat),
    )


def _slat_decoder(name: str, settings: Settings) -> Declaration:
    return Declaration(
        name,
        settings.checkpoints[name],
        ("feats", *slat_stage.DECODING[name].tables),
        ("feats",),
        advance=lambda state, program, xp: slat_stage.run_decoder(name, state, program, settings, xp),
        load=_loaded("slat_decoder", name, settings),
        rows=partial(slat_stage.output_rows, name),
    )


def _sampler(knob: str, sampling: Sampling) -> SamplerKnobs:
    unguided = {"guidance_scale": 0.0}
    return SamplerKnobs(knob, sampling.steps, sampling.calls, sampling.schedule, unguided=unguided)


def _batched(knob: str, sampling: Sampling) -> str | None:
    return f"knobs.{knob}.guidance" if sampling.batch > 1 else None


def _conditions(flow: str, state: State, settings: Settings) -> dict[str, Array]:
    """A flow's conditions of both branches, as inputs of its sampler loop as one program."""
    held = f"{flow}_context"
    if held in settings.checkpoints:
        return {"context": state[held], "neg_context": state[f"neg_{held}"]}
    return {"cond": state["cond"], "neg_cond": state["neg_cond"]}


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """What is known before any network ran: noise of both stages, and token ids, pixels or given features.

    Where golden data of random weights is made, whose occupancy means nothing, a ball's shell stands in for it.

    Raises:
        UsageError: for an empty or too long prompt, an image without a subject, or features of another shape.
        MissingError: when the background of an image must be removed and the package for that is not here.
    """
    rng = np.random.default_rng(request.seed)
    state: State = {"noise": xp.asarray(rng.standard_normal((1, *settings.latent), dtype=np.float32))}
    if settings.slat is not None:
        state["slat_noise"] = xp.asarray(slat_stage.noise(settings, rng))
        if request.stand_in == "random":
            state["voxels"] = structure_stage.shell(settings.slat.budget, settings.slat.resolution)
    return state | conditioning.begin(settings, request, files, xp)


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The assets of a finished state, by kind: the occupancy, and what the decoders make or its surface.

    Raises:
        AccuracyError: when logits or features are not finite.
    """
    logits = occupancy_logits(state)
    voxels = {"voxels": Voxels(logits > 0)}
    if settings.slat is not None:
        return slat_stage.make_assets(state, settings, 1 / len(logits)) | voxels
    if not (logits > 0).any():
        return {"mesh": Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)), **voxels}
    return {"mesh": from_occupancy_logits(logits), **voxels}


def agreement() -> ModuleType:
    """What the family's golden sets say; imports torch."""
    from gen3dexport.models.trellis.networks import agreement as found

    return found
