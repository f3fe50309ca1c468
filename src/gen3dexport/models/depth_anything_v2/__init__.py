"""Depth Anything V2 (Yang et al. 2024): one photograph to a map of depth, relative or in metres.

A DINOv2 transformer makes tokens of the photograph, and a DPT head a map in its size from the tokens of four blocks.
With a field of view the map becomes a mesh and a cloud of points in the photograph's colours.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.depth_anything_v2.host.pipeline import begin, components, make_assets
from gen3dexport.models.depth_anything_v2.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's network and host steps; imports torch."""
    from gen3dexport.models.depth_anything_v2.networks import agreement as module

    return module
