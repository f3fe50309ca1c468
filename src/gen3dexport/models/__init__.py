"""Model families. A family is one folder here (or an entry point of the group `gen3dexport.families`) with two modules:

`pipeline` (no torch: the host's side, also used inside applications)
    Settings                                     a frozen record of everything the host needs; goes into the manifest
    read_settings(folder, sampler, slat_sampler, voxels, decoders, encoder, random_weights) -> Settings
                                                 from a checkpoint folder and the recipe's knobs
    components(settings) -> tuple[str, ...]      names of the pipeline's components, in the order they run
    encoders(settings) -> tuple[str, ...]        those whose outputs depend on the request's prompt or image alone
    left_out(settings) -> tuple[str, ...]        those that the checkpoint names and whose weights are not here
    host_files(settings, folder) -> dict[str, Path]  files that the host's steps need at run time (tokenizer, ...)
    golden_request(settings, request, trained) -> Request  what golden data is recorded with
    inputs_of(name, settings) -> tuple[str, ...] a component's input names, in its forward's order
    sampler_inputs(name, state, settings, xp)    inputs of a component's sampler loop as one program
    sampler_output(name, state)                  and its output
    begin(settings, request, files, xp) -> State           what is known before any network ran
    advance(name, state, program, settings, xp) -> State   run one component's part of the pipeline
    occupancy_logits(state) -> ndarray           logits [R, R, R] of a finished state
    golden_arrays(state, settings) -> dict[str, ndarray]  what golden assets keep: `logits`, and what `surface` reads
    surface(arrays) -> Mesh | None               the surface that quality is measured on
    output_rows(name, state, settings) -> int | None   real rows of a component's outputs; None: nothing is padded
    asset_kinds(settings) -> tuple[str, ...]     what the pipeline makes: mesh, gaussians, ...
    ends_with_occupancy(settings) -> bool        whether the occupancy is all that it makes
    with_overflow(settings, choice) -> Settings  what assets with too many voxels do: `error`, `coarsen`
    make_assets(state, settings) -> dict[str, Asset]  the assets of a finished state, by kind

`loading` (torch)
    load(name, settings, folder, random_weights, allow_pickle) -> Component    one network, without example inputs

`agreement` (torch)
    outputs(golden, run) -> (found, expected)    outputs of a golden set by name, from a run of its network
    NOISE: Mapping[str, float]                   outputs whose reference is not exact, and by how much
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError


@dataclass(frozen=True)
class Request:
    """What a user asks of a pipeline.

    Attributes:
        prompt: text to make an asset of.
        seed: of the noise.
        features: condition features [L, C] that replace the pipeline's own encoder, e.g. of an image.
        image: what to make an asset of, where the pipeline takes an image: a file's path, an uint8 array
            [H, W, 3 or 4], or a Pillow image.
        ids: token ids [2, L], of a prompt and of the empty one, that stand in for a tokenizer's, when golden data is
            recorded without one.
        voxels: occupied voxels [N, 3] that stand in for the structure stage's, when golden data is recorded with
            networks whose occupancy means nothing.
    """

    prompt: str = ""
    seed: int = 0
    features: Any = None
    voxels: Any = None
    image: Any = None
    ids: Any = None


def names() -> list[str]:
    """Every family: the folders here and those of the entry-point group."""
    here = [m.name for m in pkgutil.iter_modules(__path__) if m.ispkg]
    return sorted({*here, *(p.name for p in importlib.metadata.entry_points(group="gen3dexport.families"))})


def _part(family: str, part: str) -> ModuleType:
    if family not in names():
        raise UsageError(f"family {family!r}: unknown{did_you_mean(family, names())}")
    for point in importlib.metadata.entry_points(group="gen3dexport.families", name=family):
        return importlib.import_module(f"{point.module}.{part}")
    return importlib.import_module(f"{__name__}.{family}.{part}")


def pipeline(family: str) -> ModuleType:
    """The host side of a family; imports no torch.

    Raises:
        UsageError: when there is no such family.
    """
    return _part(family, "host.pipeline")


def loading(family: str) -> ModuleType:
    """The loader of a family's networks; imports torch."""
    return _part(family, "networks.loading")


def agreement(family: str) -> ModuleType:
    """What a family's golden sets say; imports torch."""
    return _part(family, "networks.agreement")
