"""The contract that every backend keeps."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("executorch", reason="needs the extra: pip install 'gen3dexport[executorch]'")

from gen3dexport.backends import executorch
from gen3dexport.testing import BackendContract


class TestContract(BackendContract):
    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        return executorch

    @pytest.fixture(scope="class")
    def options(self) -> executorch.Options:
        return executorch.Options(min_features=64)

    @pytest.fixture(scope="class")
    def floors(self) -> dict[str, float]:
        return dict.fromkeys(executorch.SCHEMES, 1e-5) | {
            "int8-dynamic": 1e-2,
            "int4-dynamic": 2e-2,
            "int8-static": 1e-2,
        }  # a value between two steps may round either way
