"""The event tracer's operators of a .pte: those of delegates and of ExecuTorch's own kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
from profiling_case import check_measured, profiled

from gen3dexport.backends import executorch
from gen3dexport.backends.executorch.profiling import OUTSIDE
from gen3dexport.operator_times import Unprofiled


def test_operators_inside_and_outside_delegates(tmp_path: Path) -> None:
    found, ms = profiled(executorch, tmp_path, executorch.Options())
    # Two linear layers, and the norm's two means, which are lowered as products too.
    ran = check_measured(found, ms, "Fully Connected (NC, F32) GEMM", count=4)
    assert ran["GELU (NC)"].place == "XNNPACK"
    assert ran["cumsum.out"].place == "ExecuTorch kernels"
    assert ran[OUTSIDE].us < 0.5 * ran[OUTSIDE].span_us  # its operators are subtracted
    assert all(each.bytes is None for each in ran.values())


def test_the_runtime_without_torch_has_no_tracer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch, "first_installed", lambda _: "executorch-numpy-runtime 1.4")
    found, ms = profiled(executorch, tmp_path, executorch.Options())
    assert isinstance(found, Unprofiled) and "no event tracer" in found.reason and not ms
