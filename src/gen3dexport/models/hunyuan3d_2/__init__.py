"""Hunyuan3D-2, its mini and its turbo (Zhao et al. 2025): one picture to a mesh through a set of latent vectors.

DINOv2 makes tokens of the picture, a flow makes a set of latent vectors of noise beside them, and a decoder says of any
point of a cube whether it lies inside. Code and weights of the release have a licence with a territory and use terms:
there is nothing of either here.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.hunyuan3d_2.host.pipeline import begin, components, make_assets
from gen3dexport.models.hunyuan3d_2.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and samplers; imports torch."""
    from gen3dexport.models.hunyuan3d_2.networks import agreement as module

    return module
