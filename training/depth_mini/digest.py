"""SHA-256 of what the head was trained on, which the recipe names: the code that makes the scenes, and their number.

    python -m training.depth_mini.digest

A scene is its seed, so code and number determine them all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SCENES = 1984
"""Scenes 0 to so many were trained on."""
_CODE = ("furniture.py", "looks.py", "scenes.py", "tracing.py")


def digest() -> str:
    """In hexadecimal digits."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join([str(SCENES).encode(), *((here / name).read_bytes() for name in _CODE)])).hexdigest()


if __name__ == "__main__":
    print(digest())
