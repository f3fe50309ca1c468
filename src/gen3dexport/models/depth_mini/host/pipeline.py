"""depth-mini's pipeline on the host: that of Depth Anything V2. No torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Declaration, Reading, State, Weights
from gen3dexport.models.depth_anything_v2.host import pipeline as network
from gen3dexport.models.depth_mini.host.settings import Settings
from gen3dexport.models.img_focus.host.pipeline import PHOTOGRAPHS, photograph


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The one network: picture [1, 3, H, W] -> map [1, H, W] of inverse depth."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.depth_mini.networks.loading import load_component

        return load_component(settings, folder, weights, reading)

    return tuple(replace(one, load=load) for one in network.components(settings.network))


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """As for Depth Anything V2; a golden prompt may name a photograph of scikit-image (see `PHOTOGRAPHS`).

    Raises:
        UsageError: for a request without a photograph or with more than that, or one that is too small or too long.
    """
    if request.stand_in and request.image is None and request.prompt in PHOTOGRAPHS:
        request = replace(request, image=photograph(request.prompt))
    return network.begin(settings.network, request, files, xp)


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The map in the photograph's size; with a field of view also a mesh and points on a grid of pixels."""
    return network.make_assets(state, settings.network)
