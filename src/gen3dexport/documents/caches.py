"""Where this package keeps what it may throw away."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path:
    """The folder of one kind of entries in `$GEN3DEXPORT_CACHE`, or in the user's cache folder."""
    return Path(os.environ.get("GEN3DEXPORT_CACHE") or platformdirs.user_cache_path("gen3dexport")) / kind
