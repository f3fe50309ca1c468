"""The second stage on the host: voxels -> structured latent -> mesh, Gaussians, radiance field. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.models.trellis.host.gaussian_attributes import Representation, attributes, perturbation
from gen3dexport.models.trellis.host.mesh_features import mesh_of
from gen3dexport.models.trellis.host.radiance_field import Factors, radiance_field
from gen3dexport.models.trellis.host.settings import ASSETS, Settings, Slat
from gen3dexport.models.trellis.host.slat_inputs import (
    MESH_TABLES,
    WINDOW_TABLES,
    Tables,
    flow_tables,
    mesh_inputs,
    window_inputs,
)
from gen3dexport.models.trellis.host.structure_stage import in_float32, run_sampler, solid_cells, voxels
from gen3dexport.models.trellis.host.voxel_tables import Coords, real_rows, subdivided

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Asset = Mesh | Gaussians | RadianceField


@dataclass(frozen=True)
class Decoding:
    """What the host does around a decoder's network.

    Attributes:
        tables: names of the tables that it takes beside the latent, in the order of its network's forward.
        inputs: (voxels, rows, window size) -> those tables.
        rows: of its output, for each voxel.
        asset: (features of the real rows, released `representation_config`, state, second stage) -> the asset as if the
            latent lay on voxels.
    """

    tables: tuple[str, ...]
    inputs: Callable[[Coords, int, int], Tables]
    rows: int
    asset: Callable[[np.ndarray, Mapping[str, Any], State, Slat], Asset]


def noise(settings: Settings, rng: np.random.Generator) -> np.ndarray:
    """Noise [1, T, 8] for every row of the budget; a voxel's does not depend on the budget."""
    assert settings.slat is not None
    return rng.standard_normal((1, settings.slat.tokens, len(settings.slat.mean)), dtype=np.float32)


def prepared(state: State, settings: Settings, xp: Any) -> tuple[State, dict[str, Array]]:
    """The state with its voxels, and the flow's inputs that no step changes: noise as `x`, and the tables."""
    slat, fitted = _slat(settings), voxels(state, settings)
    state = state | {"coords": fitted.coords, "scale": np.asarray([fitted.scale], np.int32)}
    kept = real_rows(len(fitted.coords), slat.tokens)[None, :, None]
    tables = _on_device(flow_tables(fitted.coords, slat.budget), xp)
    return state, {"x": xp.asarray(in_float32(state["slat_noise"]) * kept), **tables}


def run_flow(state: State, program: Call, settings: Settings, xp: Any) -> State:
    """The sampler loop on the occupied voxels; `slat` [1, T, 8] is still normalised."""
    state, inputs = prepared(state, settings, xp)
    start = inputs.pop("x")
    return state | {"slat": run_sampler(program, start, state, _slat(settings), xp, inputs, "slat_flow")}


def run_decoder(name: str, state: State, program: Call, settings: Settings, xp: Any) -> State:
    """One decoder's features, under its own name in the state."""
    return state | {name: program(decoder_inputs(name, state, settings, xp))["feats"]}


def decoder_inputs(name: str, state: State, settings: Settings, xp: Any) -> dict[str, Array]:
    """The de-normalised latent, zeros on padding, and the tables of a decoder."""
    slat, coords = _slat(settings), _coords(state)
    latent = in_float32(state["slat"]) * np.asarray(slat.std, np.float32) + np.asarray(slat.mean, np.float32)
    feats = latent * real_rows(len(coords), slat.tokens)[None, :, None]
    tables = DECODING[name].inputs(coords, slat.tokens, slat.windows[name])
    return {"feats": xp.asarray(feats), **_on_device(tables, xp)}


def output_rows(name: str, state: State) -> int:
    """Rows of a component's output that are no padding: one for each voxel, or as many as a decoder makes of it."""
    return len(_coords(state)) * (DECODING[name].rows if name in DECODING else 1)


def make_assets(state: State, settings: Settings, cell: float) -> dict[str, Asset]:
    """The assets of a finished state, by kind.

    Args:
        cell: edge of the occupancy's voxels, which says what is near on a mesh.

    Raises:
        AccuracyError: when features are not finite.
    """
    names = {kind: name for name, kind in ASSETS.items() if name in _slat(settings).windows}
    made = {kind: make_asset(name, state, settings) for kind, name in names.items()}
    return {kind: replace(a, cell=cell) if isinstance(a, Mesh) else a for kind, a in made.items()}


def make_asset(name: str, state: State, settings: Settings) -> Asset:
    """What the features of decoder `name` mean."""
    slat = _slat(settings)
    features = in_float32(state[name])[0, : output_rows(name, state)]
    asset = DECODING[name].asset(features, slat.representations[name], state, slat)
    if slat.cells == "occupied":
        return asset
    shift = np.float32(-0.5 / slat.resolution)  # the centre of crossed cell c is the lower corner of voxel c
    if isinstance(asset, Mesh):
        return replace(asset, vertices=asset.vertices + shift)
    return replace(asset, positions=asset.positions + shift)


def _mesh(features: np.ndarray, _: Mapping[str, Any], state: State, slat: Slat) -> Mesh:
    small, scale = subdivided(subdivided(_coords(state))), _scale(state)
    solid = solid_cells(state, scale) if slat.cells == "crossed" else None
    return mesh_of(features, small, 4 * slat.resolution, scale, solid)


def _gaussians(features: np.ndarray, config: Mapping[str, Any], state: State, slat: Slat) -> Gaussians:
    representation, scale = Representation.of(config), _scale(state)
    found = attributes(features, _coords(state), perturbation(representation), representation, slat.resolution)
    return found if scale == 1 else found.scaled(scale)


def _radiance_field(features: np.ndarray, config: Mapping[str, Any], state: State, slat: Slat) -> RadianceField:
    field, scale = radiance_field(features, _coords(state), Factors.of(config), slat.resolution), _scale(state)
    return field if scale == 1 else field.scaled(scale)


DECODING: Mapping[str, Decoding] = {
    "slat_decoder_mesh": Decoding(MESH_TABLES, mesh_inputs, 64, _mesh),
    "slat_decoder_gs": Decoding(WINDOW_TABLES, window_inputs, 1, _gaussians),
    "slat_decoder_rf": Decoding(WINDOW_TABLES, window_inputs, 1, _radiance_field),
}
"""The decoders, by component."""


def _slat(settings: Settings) -> Slat:
    assert settings.slat is not None
    return settings.slat


def _coords(state: State) -> Coords:
    return np.asarray(state["coords"], np.int32)


def _scale(state: State) -> int:
    return int(state["scale"][0])


def _on_device(tables: Tables, xp: Any) -> dict[str, Array]:
    return {name: xp.asarray(table) for name, table in tables.items()}
