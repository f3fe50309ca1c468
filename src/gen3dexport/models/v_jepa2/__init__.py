"""V-JEPA 2 (Assran et al. 2025): a film to features of its patches over time, and how well later ones are predicted.

An encoder gives features of patches of two frames each. A predictor gives those of later frames from those of the
first ones; a repeat of the last known ones is what it must be better than.
"""

from __future__ import annotations

from types import ModuleType

from gen3dexport.models.v_jepa2.host.pipeline import begin, components, make_assets
from gen3dexport.models.v_jepa2.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "make_assets", "read_settings"]


def agreement() -> ModuleType:
    """What golden sets say of this family's networks; imports torch."""
    from gen3dexport.models.v_jepa2.networks import agreement as module

    return module
