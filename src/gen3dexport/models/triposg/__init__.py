"""TripoSG (Li et al. 2025): one picture to a mesh through a set of latent vectors.

DINOv2 makes tokens of the picture, a flow makes a set of latent vectors of noise under them, and a decoder says of any
point of a cube whether it lies inside. The mesh is where it changes its mind.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.triposg.host.pipeline import begin, components, make_assets
from gen3dexport.models.triposg.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and sampler; imports torch."""
    from gen3dexport.models.triposg.networks import agreement as module

    return module
