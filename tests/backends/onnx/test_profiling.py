"""onnxruntime's profile of a program: its nodes with what their outputs take."""

from __future__ import annotations

from pathlib import Path

from profiling_case import check_measured, profiled

from gen3dexport.backends import onnx


def test_nodes_of_the_optimized_graph(tmp_path: Path) -> None:
    found, ms = profiled(onnx, tmp_path, onnx.Options(threads=1))
    ran = check_measured(found, ms, "Gemm")
    assert ran["LayerNormalization"].bytes == 512 * 256 * 4
    assert ran["Gelu"].bytes == 512 * 1024 * 4 and ran["Gelu"].place == "CPU"
    assert "CumSum" in ran
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx"]  # the profile is not left here
