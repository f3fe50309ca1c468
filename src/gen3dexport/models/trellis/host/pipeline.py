"""TRELLIS's pipeline on the host: text or features -> occupancy -> structured latent -> assets. No torch.

A checkpoint without a structured latent ends with the occupancy, whose surface is the asset. One with it goes on to the
occupied voxels' latent and its decoders: mesh, Gaussians, radiance field (`slat_stage`).

Between the networks everything is Array API, so the same steps run with NumPy, torch and JAX arrays.
Axes: occupancy[i0, i1, i2] is x, y, z with z up; voxel i has its centre at (i + 0.5) / R - 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from gen3dexport.assets import kinds as asset_modules
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import AccuracyError, UsageError
from gen3dexport.models import Request
from gen3dexport.models.trellis.host import conditioning, slat_stage, structure_stage
from gen3dexport.models.trellis.host.conditioning import host_files, text_encoder_folder, tokenize
from gen3dexport.models.trellis.host.settings import Settings, read_settings
from gen3dexport.models.trellis.host.slat_stage import ASSETS, Asset
from gen3dexport.models.trellis.host.structure_stage import occupancy_logits
from gen3dexport.models.trellis.host.voxel_budget import OnOverflow

__all__ = [
    "Settings",
    "advance",
    "asset_kinds",
    "begin",
    "components",
    "encoders",
    "ends_with_occupancy",
    "golden_arrays",
    "golden_request",
    "host_files",
    "inputs_of",
    "left_out",
    "make_assets",
    "occupancy_logits",
    "output_rows",
    "read_settings",
    "sampler_inputs",
    "sampler_output",
    "surface",
    "text_encoder_folder",
    "tokenize",
    "with_overflow",
]

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def components(settings: Settings) -> tuple[str, ...]:
    """Names of the components in the order they run."""
    return tuple(settings.checkpoints)


def encoders(settings: Settings) -> tuple[str, ...]:
    """Components whose outputs depend on nothing but the request's prompt or image."""
    return tuple(n for n in settings.checkpoints if n in conditioning.encoders(settings) or n.endswith("_context"))


def left_out(settings: Settings) -> tuple[str, ...]:
    """Components that the checkpoint names and whose weights are not here: a recipe may speak of them all the same."""
    return settings.left_out


def inputs_of(name: str, settings: Settings) -> tuple[str, ...]:
    """Input names of a component, in the order of its network's forward."""
    if name.endswith("_context"):
        return ("cond",)
    if name in conditioning.encoders(settings):
        return conditioning.inputs_of(settings)
    found = {"flow": ("x", "t", "cond"), "decoder": ("z",)}.get(name) or slat_stage.inputs_of(name)
    return tuple("context" if f"{name}_context" in settings.checkpoints and n == "cond" else n for n in found)


def golden_request(settings: Settings, request: Request, trained: bool = True) -> Request:
    """The request that golden data is recorded with: see `conditioning.golden_request`. Where the occupancy means
    nothing (not `trained`), a ball's shell stands in for it.
    """
    request = conditioning.golden_request(settings, request)
    if settings.slat is not None and not trained:
        request = replace(request, voxels=structure_stage.shell(settings.slat.budget, settings.slat.resolution))
    return request


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """What is known before any network ran: noise of both stages, and token ids, pixels or given features.

    Raises:
        UsageError: for an empty or too long prompt, an image without a subject, or features of another shape.
        MissingError: when the background of an image must be removed and the package for that is not here.
    """
    rng = np.random.default_rng(request.seed)
    state: State = {"noise": xp.asarray(rng.standard_normal((1, *settings.latent), dtype=np.float32))}
    if settings.slat is not None:
        state["slat_noise"] = xp.asarray(slat_stage.noise(settings, rng))
    if request.voxels is not None:
        state["voxels"] = request.voxels
    return state | conditioning.begin(settings, request, files, xp)


def advance(name: str, state: State, program: Call, settings: Settings, xp: Any) -> State:
    """Run one component's part of the pipeline; a flow's is the whole sampler loop."""
    if name in conditioning.encoders(settings):
        return conditioning.encode(state, program, settings, xp)
    if name.endswith("_context"):
        return conditioning.hold(name, state, program)
    if name == "flow":
        return state | {"z": structure_stage.run_sampler(program, state["noise"], state, settings, xp)}
    if name == "decoder":
        return state | {"logits": program({"z": state["z"]})["logits"]}
    if name == "slat_flow":
        return slat_stage.run_flow(state, program, settings, xp)
    return slat_stage.run_decoder(name, state, program, settings, xp)


def sampler_inputs(name: str, state: State, settings: Settings, xp: Any) -> Mapping[str, Array]:
    """Inputs of a flow's sampler loop as one program, from the state before the component."""
    held = f"{name}_context"
    if held in settings.checkpoints:
        conditions = {"context": state[held], "neg_context": state[f"neg_{held}"]}
    else:
        conditions = {"cond": state["cond"], "neg_cond": state["neg_cond"]}
    if name == "flow":
        return {"x": state["noise"], **conditions}
    return {**slat_stage.prepared(state, settings, xp)[1], **conditions}


def sampler_output(name: str, state: State) -> np.ndarray:
    """What the sampler loop as one program gives as `x`: the latent in the (NumPy) state after the component."""
    return np.asarray(state["z" if name == "flow" else "slat"])


def output_rows(name: str, state: State, settings: Settings) -> int | None:
    """Real rows of a component's outputs [B, T, ...], given the state after it; None where nothing is padded."""
    return slat_stage.output_rows(name, state) if name in ("slat_flow", *ASSETS) else None


def asset_kinds(settings: Settings) -> tuple[str, ...]:
    """Kinds of the assets that `make_assets` makes: mesh, gaussians, radiance_field."""
    if settings.slat is None:
        return ("mesh",)
    return tuple(kind for name, kind in ASSETS.items() if name in settings.slat.windows)


def with_overflow(settings: Settings, choice: str) -> Settings:
    """The settings where an asset with more voxels than there is room for is an `error`, or made to `coarsen`.

    Raises:
        UsageError: for another choice, or without a structured latent.
    """
    if choice not in get_args(OnOverflow):
        raise UsageError(f"--on-overflow {choice}: unknown{did_you_mean(choice, get_args(OnOverflow))}")
    if settings.slat is None:
        raise UsageError("--on-overflow: this bundle has no structured latent, so its voxels cannot be too many")
    return settings.model_copy(update={"slat": settings.slat.model_copy(update={"on_overflow": choice})})


def ends_with_occupancy(settings: Settings) -> bool:
    """Whether the occupancy is all that the pipeline makes, so that its IoU says what quantization costs."""
    return settings.slat is None


def make_assets(state: State, settings: Settings) -> dict[str, Asset]:
    """The assets of a finished state, by kind; without a structured latent, the occupancy's surface.

    Raises:
        AccuracyError: when no voxel is occupied, a surface is empty or features are not finite.
    """
    if settings.slat is None:
        return {"mesh": from_occupancy_logits(occupancy_logits(state))}
    return slat_stage.make_assets(state, settings)


def golden_arrays(state: State, settings: Settings) -> dict[str, np.ndarray]:
    """What golden assets keep of a finished state: `logits`, and `mesh.*` and `gaussians.*` where a decoder makes them.

    A surface that is empty or not finite is kept as one without triangles.
    """
    arrays, kinds = {"logits": occupancy_logits(state)}, asset_kinds(settings)
    if settings.slat is not None and "gaussians" in kinds:
        gaussians = slat_stage.make_asset("slat_decoder_gs", state, settings)
        assert isinstance(gaussians, Gaussians)
        arrays |= asset_modules.to_arrays({"gaussians": gaussians})
    if settings.slat is None or "mesh" not in kinds:
        return arrays
    try:
        mesh = slat_stage.make_asset("slat_decoder_mesh", state, settings)
    except AccuracyError:
        mesh = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    assert isinstance(mesh, Mesh)
    arrays |= {"mesh.vertices": mesh.vertices, "mesh.faces": mesh.faces}
    return arrays | ({} if mesh.colors is None else {"mesh.colors": mesh.colors})


def surface(arrays: Mapping[str, np.ndarray]) -> Mesh | None:
    """The surface that quality is measured on: the decoded mesh, else the occupancy's; None if empty."""
    if "mesh.vertices" in arrays:
        vertices, faces = arrays["mesh.vertices"], arrays["mesh.faces"]
        return Mesh(vertices, faces, colors=arrays.get("mesh.colors")) if len(faces) else None
    return from_occupancy_logits(arrays["logits"]) if (arrays["logits"] > 0).any() else None
