"""Compiling faster, for this process and its children: what it changes is how fast the program's own calls are, and no
number that it computes. Set before torch reads it."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")
if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:  # headers are compiled once there
    _folder = tempfile.TemporaryDirectory(prefix="gen3dexport-inductor-")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = _folder.name
