"""torch.profiler's operators of an exported graph."""

from __future__ import annotations

from pathlib import Path

from profiling_case import check_measured, profiled

from gen3dexport.backends import eager


def test_operators_of_torch(tmp_path: Path) -> None:
    found, ms = profiled(eager, tmp_path, eager.Options())
    ran = check_measured(found, ms, "aten::addmm")
    assert ran["aten::gelu"].bytes == 512 * 1024 * 4
    assert ran["aten::linear"].us < 0.5 * ran["aten::linear"].span_us  # the product that it calls is not its own time
