"""Which of the depth families a `config.json` is of: their folders look alike. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gen3dexport.errors import UsageError

_FIELDS: Mapping[str, tuple[str, str]] = {
    "backbone_config": ("Depth Anything V2", "depth_anything_v2"),
    "depth_estimation_type": ("Depth Anything V2", "depth_anything_v2"),
    "net": ("Depth Anything 3", "depth_anything_3"),
    "points_head": ("MoGe-2", "moge_2"),
}
"""A field that one family's configurations alone have -> its name for people, and the family."""


def refuse_others(data: Mapping[str, Any], own: str, where: str) -> None:
    """Raises UsageError where a configuration is of another family than `own`, and names that."""
    for field, (name, family) in _FIELDS.items():
        if field in data and family != own:
            raise UsageError(f"{where}: of {name}; use the family {family}")
