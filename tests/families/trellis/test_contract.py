"""The contract that every family keeps, on the shipped model and on the golden sets' networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gen3dexport.documents.shipped import shipped
from gen3dexport.testing import FamilyContract


class TestMini(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "trellis"

    @pytest.fixture(scope="class")
    def weights(self) -> Path:
        return shipped("weights") / "trellis-mini"

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"sampler": {"steps": 2}}


class TestTiny(TestMini):
    """No encoder: features come with the request."""

    @pytest.fixture(scope="class")
    def weights(self, tiny_weights: Path) -> Path:
        return tiny_weights

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {}
