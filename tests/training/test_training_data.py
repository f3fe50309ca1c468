"""What the recipes say of the training data is what the code here makes."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gen3dexport.plan import read_recipe
from training.trellis_mini.digest import digests


def test_recipes_have_the_digests_of_their_training_captions() -> None:
    for name, sha256 in digests().items():
        data = read_recipe(name).training_data
        assert data is not None and data.sha256 == sha256
