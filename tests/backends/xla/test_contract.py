"""The contract that every backend keeps."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("jax", reason="needs the extra: pip install 'gen3dexport[tpu]'")

from gen3dexport.backends import xla
from gen3dexport.testing import BackendContract


class TestContract(BackendContract):
    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        return xla

    @pytest.fixture(scope="class")
    def options(self) -> xla.Options:
        return xla.Options(min_features=64, compile=False)

    @pytest.fixture(scope="class")
    def floors(self) -> dict[str, float]:
        return dict.fromkeys(xla.SCHEMES, 1e-5) | {"bf16": 1e-2, "int8-dynamic": 1.2e-2, "int8-weight": 1e-2}
