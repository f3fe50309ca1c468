"""Coloured training items (shape, look, caption) with their text features, and the coloured held-out items."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import torch

from training.trellis_mini.captions import caption, short_caption
from training.trellis_mini.checkpoint import RELEASE, REPOSITORY, write_text
from training.trellis_mini.dataset import is_canonical
from training.trellis_mini.looks import Look, draw_look
from training.trellis_mini.shapes import CATEGORIES, Shape, all_shapes
from training.trellis_mini.text import FeatureCache, build_cache

COLOR_RELEASE = REPOSITORY / "weights" / "trellis-mini-color"
COLOR_RUNS = REPOSITORY / "training" / "runs" / "trellis_mini_color"
LOOKS = 4


@dataclass(frozen=True)
class Item:
    """A training shape (its place in the list), how it looks, and a caption of it."""

    shape: int
    look: Look
    caption: str


def training_items(shapes: list[Shape], seed: int = 0) -> list[Item]:
    """Four items of every shape, one after the other: item 4 k + j is of shape k.

    Of 25 looks, 3 have one colour for everything; 2 are not named in the caption. The captions are canonical (35 %),
    paraphrases (40 %), partial (15 %) or short (10 %).
    """
    items = []
    for index, shape in enumerate(shapes):
        rng = Random(seed * 1_000_003 + index + 1_000_000)
        for _ in range(LOOKS):
            look, kind, wording = draw_look(rng), rng.random(), rng.random()
            if kind < 0.12:
                look = Look(look.main, look.material, look.main)
            named = None if 0.12 <= kind < 0.20 else look
            if wording < 0.35:
                text = caption(*shape, look=named)
            elif wording < 0.9:
                text = caption(*shape, rng, 1.0 if wording < 0.75 else 0.7, named)
            else:
                text = short_caption(*shape, rng, named)
            items.append(Item(index, look, text))
    return items


def training_features(items: list[Item], run: Path = COLOR_RUNS) -> FeatureCache:
    """MiniLM features of every item's caption and, last, of the empty one; cached."""
    with torch.autocast("cpu", torch.bfloat16):
        return build_cache([*(item.caption for item in items), ""], run / "captions.npz")


@dataclass(frozen=True)
class HeldOutItem:
    """A held-out shape of `weights/trellis-mini` with a look."""

    caption: str
    category: str
    params: dict[str, str]
    look: Look
    unseen_pair: bool
    seed: int


def held_out_items(folder: Path = RELEASE) -> list[HeldOutItem]:
    """The 200 held-out shapes with looks of their own; every fourth has a pair of colours that training never sees."""
    out = []
    for index, item in enumerate(json.loads((folder / "heldout.json").read_text())["items"]):
        rng, unseen = Random(77_000 + index), (index + index // len(CATEGORIES)) % 4 == 3
        shape = item["category"], item["params"]
        look = draw_look(rng, unseen)
        text = caption(*shape, None if is_canonical(index) else rng, look=look)
        out.append(HeldOutItem(text, *shape, look, unseen, index))
    return out


def write_held_out(folder: Path = COLOR_RELEASE) -> None:
    """Write the coloured held-out items; `heldout.npz` of `weights/trellis-mini` has their occupancies."""
    items = [asdict(item) for item in held_out_items()]
    write_text(folder / "heldout.json", json.dumps({"axes": "x, y, z; z up", "items": items}, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_held_out()
    training_features(training_items(all_shapes()[0]))
