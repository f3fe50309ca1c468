"""Point-E (Nichol et al. 2022): a prompt or a picture to a cloud of coloured points, and to a mesh of that.

A diffusion network makes a coarse cloud under what CLIP says of the prompt or the picture; another adds points between.
A third says of any point how far it is from the cloud's surface.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.point_e.host.pipeline import begin, components, make_assets
from gen3dexport.models.point_e.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and sampler; imports torch."""
    from gen3dexport.models.point_e.networks import agreement as module

    return module
