"""SHA-256 of what the models were trained on, which their recipes name: the training captions, one a line.

    python -m training.trellis_mini.digest

A canonical caption names every attribute of its shape, so the captions determine the shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from training.trellis_mini.color_dataset import training_items
from training.trellis_mini.dataset import training_captions
from training.trellis_mini.shapes import all_shapes


def digests() -> dict[str, str]:
    """Recipe -> the digest of its training captions."""
    shapes, _ = all_shapes()
    return {
        "trellis-mini": _digest(training_captions(shapes).texts),
        "trellis-mini-color": _digest([item.caption for item in training_items(shapes)]),
    }


def _digest(captions: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{text}\n" for text in captions).encode()).hexdigest()


if __name__ == "__main__":
    for name, sha256 in digests().items():
        print(name, sha256)
