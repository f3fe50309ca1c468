"""XFeat with random weights in the published form: two pickles of tensors."""

from __future__ import annotations

from pathlib import Path

import tiny_recipes
import torch
from fetched_weights import fetched

from gen3dexport.models.xfeat.host.settings import FEATURES, MATCHER, RELEASED
from gen3dexport.models.xfeat.networks.lighterglue import LighterGlue
from gen3dexport.models.xfeat.networks.network import XFeat

GOLDEN = Path(__file__).parents[2] / "golden" / "real_weights"
KNOBS = {"height": 64, "width": 96, "keypoints": 32, "detection": 0.02}
"""Keypoints of random weights are hardly hotter than a 65th."""


def checkpoint(folder: Path) -> Path:
    """`folder`, made a checkpoint: XFeat's copy in the second file, too, as published."""
    torch.manual_seed(0)
    features, matcher = XFeat(), LighterGlue()
    torch.save(features.state_dict(), folder / f"{FEATURES}.pt")
    both = {f"matcher.{name}": value for name, value in matcher.state_dict().items()}
    both |= {f"extractor.model.net.{name}": value + 1 for name, value in features.state_dict().items()}
    torch.save(both, folder / f"{MATCHER}.pt")
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe of that checkpoint, written to `path`."""
    summary = "random weights in the published form; a stereo pair in, points out"
    return tiny_recipes.recipe(
        "xfeat", weights, path, summary, "points: {f_score: 0.9}", KNOBS, "xfeat-tiny", prompts="[motorcycle]"
    )


def published() -> Path:
    """The folder of the published weights; a test that asks for it is skipped where pip cannot have them."""
    return fetched(RELEASED)
