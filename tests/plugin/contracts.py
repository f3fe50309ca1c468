"""gen3dexport's contract tests on this package; `tests/line/test_plugin.py` runs them where it is installed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny_gen3d import exported
from tiny_gen3d.sphere.network import write_checkpoint

from gen3dexport.testing import BackendContract, FamilyContract


class TestSphere(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "sphere"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("sphere")
        write_checkpoint(folder)
        return folder

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"resolution": 12}


class TestExported(BackendContract):
    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        return exported

    @pytest.fixture(scope="class")
    def options(self) -> Any:
        return exported.Options()

    @pytest.fixture(scope="class")
    def floors(self) -> dict[str, float]:
        return {"fp32": 1e-5, "int8-dynamic": 1e-5}
