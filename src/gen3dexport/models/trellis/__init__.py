"""TRELLIS: text or an image to an occupancy, and through a structured latent to mesh, Gaussians and radiance field."""

from __future__ import annotations

from gen3dexport.models.trellis.host.declared_steps import host_steps
from gen3dexport.models.trellis.host.knobs import Knobs
from gen3dexport.models.trellis.host.pipeline import agreement, begin, components, make_assets
from gen3dexport.models.trellis.host.settings import Settings, read_settings

__all__ = ["Knobs", "Settings", "agreement", "begin", "components", "host_steps", "make_assets", "read_settings"]
