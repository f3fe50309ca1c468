"""SHA-256 of what the field was trained on, which the recipe names: the code that makes the pictures.

    python -m training.nerf_mini.digest

Cameras come of a seed, so the code determines every picture.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_CODE = ("scene.py", "views.py")


def digest() -> str:
    """In hexadecimal digits."""
    here = Path(__file__).parent
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in _CODE)).hexdigest()


if __name__ == "__main__":
    print(digest())
