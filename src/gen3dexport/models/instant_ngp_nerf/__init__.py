"""Radiance fields with hash grids (Mueller et al. 2022), as nerfstudio's nerfacto has them (Tancik et al. 2023).

A checkpoint is one scene. A request is a camera path; its pictures are made by a network of whole rays, or by a network
of single points that the host's marching along rays asks.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.instant_ngp_nerf.host.pipeline import begin, components, make_assets
from gen3dexport.models.instant_ngp_nerf.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of hash grids, harmonics and whole rays; imports torch."""
    from gen3dexport.models.instant_ngp_nerf.networks import agreement as module

    return module
