"""MoGe-2 (Wang et al. 2025): one photograph to points, normals and depth in metres, with the camera's field of view.

A DINOv2 transformer and a stack of convolutions make affine points, normals, a mask and a scale of the photograph; the
focal length and the shift that make the points a picture's are recovered on the host.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.moge_2.host.pipeline import begin, components, make_assets
from gen3dexport.models.moge_2.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's network and host steps; imports torch."""
    from gen3dexport.models.moge_2.networks import agreement as module

    return module
