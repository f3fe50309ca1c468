"""Depth Anything 3 (Lin et al. 2025): photographs of a scene to maps of depth and their cameras.

A DINOv2 transformer makes tokens of one view or of several, which attend to each other, and DPT heads make maps of
depth; a model of any number of views gives the cameras, too. A model of one view gives depth and where the sky is.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.depth_anything_3.host.pipeline import begin, components, make_assets
from gen3dexport.models.depth_anything_3.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and host steps; imports torch."""
    from gen3dexport.models.depth_anything_3.networks import agreement as module

    return module
