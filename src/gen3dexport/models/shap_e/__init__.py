"""Shap-E (Jun and Nichol 2023): a prompt or a picture to a coloured mesh, through the weights of a function.

A diffusion transformer makes latents under what CLIP says of the prompt or the picture; each is a row of weights of a
small network, which says of any point of a cube whether it lies inside, and its colour.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.shap_e.host.pipeline import begin, components, make_assets
from gen3dexport.models.shap_e.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks and sampler; imports torch."""
    from gen3dexport.models.shap_e.networks import agreement as module

    return module
