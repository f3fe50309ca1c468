"""SF3D (Boss et al. 2024, "Stable Fast 3D"): one picture to a mesh with textures and a material.

A vision transformer makes tokens of the picture, two interleaved streams turn learned plane tokens into three feature
planes under them, and small networks give density, offsets, colour and normals at any point of their cube. The mesh is
where the density crosses a threshold, by marching tetrahedra; its textures are baked from the planes. CLIP's features
of the picture give one roughness and one metalness.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.sf3d.host.pipeline import begin, components, make_assets
from gen3dexport.models.sf3d.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and host steps; imports torch."""
    from gen3dexport.models.sf3d.networks import agreement as module

    return module
