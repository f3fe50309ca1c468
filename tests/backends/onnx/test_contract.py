"""The contract that every backend keeps."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'gen3dexport[onnx]'")

from gen3dexport.backends import onnx
from gen3dexport.testing import BackendContract


class TestContract(BackendContract):
    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        return onnx

    @pytest.fixture(scope="class")
    def options(self) -> onnx.Options:
        return onnx.Options(min_features=64)

    @pytest.fixture(scope="class")
    def floors(self) -> dict[str, float]:
        return dict.fromkeys(onnx.SCHEMES, 1e-5) | {"fp16": 1e-3}  # it computes in float32
