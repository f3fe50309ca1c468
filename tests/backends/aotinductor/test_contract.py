"""The contract that every backend keeps."""

from __future__ import annotations

from types import ModuleType

import pytest

from gen3dexport.backends import aotinductor
from gen3dexport.testing import BackendContract


class TestContract(BackendContract):
    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        return aotinductor

    @pytest.fixture(scope="class")
    def options(self) -> aotinductor.Options:
        return aotinductor.Options(min_features=64)

    @pytest.fixture(scope="class")
    def floors(self) -> dict[str, float]:
        return {"fp32": 2e-5, "bf16": 2e-2, "int8-dynamic": 5e-3}
