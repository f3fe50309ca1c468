"""TripoSG as a family: its contract, whole assets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from PIL import Image
from triposg_tiny import GOLDEN, KNOBS, checkpoint, recipe

from gen3dexport.assets.mesh import Mesh
from gen3dexport.models import Request, triposg
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("triposg"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "triposg"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("triposg"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)
