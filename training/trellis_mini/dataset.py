"""The (caption, latent) pairs that the flow learns from, and the held-out captions that score it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from training.trellis_mini.captions import caption, short_caption
from training.trellis_mini.checkpoint import RELEASE, RUNS, write_text
from training.trellis_mini.shapes import CATEGORIES, SPLIT_SEED, Shape, all_shapes, pack
from training.trellis_mini.text import FeatureCache, build_cache

PARAPHRASES, PARTIAL, SHORT = 4, 1, 2
KEEP = 0.7
HELD_OUT = 200


@dataclass
class Captions:
    """Captions of the training shapes: `rows` [N, 8] holds each shape's indices; `empty` is the empty caption's."""

    texts: list[str]
    rows: NDArray[np.int64]
    empty: int


def training_captions(shapes: list[Shape], seed: int = 0) -> Captions:
    """Per shape: the canonical caption, 4 paraphrases, one that leaves some attributes open, and 2 short ones."""
    texts = []
    for index, shape in enumerate(shapes):
        rng = Random(seed * 1_000_003 + index)
        texts.append(caption(*shape))
        texts += [caption(*shape, rng) for _ in range(PARAPHRASES)]
        texts += [caption(*shape, rng, KEEP) for _ in range(PARTIAL)]
    full = np.arange(len(texts)).reshape(len(shapes), -1)
    empty = len(texts)
    texts.append("")
    for index, shape in enumerate(shapes):
        rng = Random(seed * 1_000_003 + index + 500_000)
        texts += [short_caption(*shape, rng) for _ in range(SHORT)]
    short = np.arange(empty + 1, len(texts)).reshape(len(shapes), -1)
    return Captions(texts, np.concatenate([full, short], axis=1), empty)


def training_features(shapes: list[Shape], run: Path = RUNS) -> tuple[Captions, FeatureCache]:
    """The training captions and their cached MiniLM features."""
    captions = training_captions(shapes)
    split = captions.empty + 1
    full = build_cache(captions.texts[:split], run / "captions.npz")
    short = build_cache(captions.texts[split:], run / "short_captions.npz")
    return captions, full.followed_by(short)


def category_weights(shapes: list[Shape]) -> NDArray[np.float64]:
    """Sampling probability of every shape: a category counts with the square root of its size."""
    count: dict[str, int] = defaultdict(int)
    for category, _ in shapes:
        count[category] += 1
    weights = np.array([count[category] ** -0.5 for category, _ in shapes])
    total: float = weights.sum()
    return np.asarray(weights / total, np.float64)


def is_canonical(index: int) -> bool:
    """Whether a held-out item has the canonical caption; changes along the list and within a category."""
    return (index + index // len(CATEGORIES)) % 2 == 0


def write_held_out(folder: Path = RELEASE, seed: int = 1) -> None:
    """Pick 200 held-out shapes evenly over the categories; write their captions, parameters and true occupancies.

    Half of the captions are canonical, half are paraphrases.  Shapes that some training shape equals voxel by voxel
    (a stool looks the same from two sides) are left out.
    """
    training, held_out = all_shapes()
    known = {row.tobytes() for row in pack(training)}
    groups: dict[str, list[Shape]] = defaultdict(list)
    for shape, row in zip(held_out, pack(held_out), strict=True):
        if row.tobytes() not in known:
            groups[shape[0]].append(shape)
    rng = Random(seed)
    for group in groups.values():
        rng.shuffle(group)
    chosen: list[Shape] = []
    while len(chosen) < HELD_OUT:
        for group in groups.values():
            if group and len(chosen) < HELD_OUT:
                chosen.append(group.pop())
    items = [
        {
            "caption": caption(*shape, None if is_canonical(i) else rng),
            "category": shape[0],
            "params": shape[1],
            "seed": i,
        }
        for i, shape in enumerate(chosen)
    ]
    document = {
        "split_seed": SPLIT_SEED,
        "selection_seed": seed,
        "resolution": 32,
        "axes": "x, y, z; z up",
        "items": items,
    }
    write_text(folder / "heldout.json", json.dumps(document, indent=1) + "\n")
    temporary = folder / "heldout.tmp.npz"
    np.savez_compressed(temporary, occupancy=pack(chosen), resolution=np.int64(32))
    temporary.replace(folder / "heldout.npz")


if __name__ == "__main__":
    write_held_out()
    training_features(all_shapes()[0])
