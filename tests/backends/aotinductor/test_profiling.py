"""torch.profiler's kernels of a package, which its host code marks where it was built to."""

from __future__ import annotations

from pathlib import Path

import pytest
from profiling_case import check_measured, profiled

from gen3dexport.backends import aotinductor
from gen3dexport.errors import MissingError
from gen3dexport.operator_times import Unprofiled


def test_kernels_that_are_marked(tmp_path: Path) -> None:
    found, ms = profiled(aotinductor, tmp_path, aotinductor.Options(kernel_profile=True))
    ran = check_measured(found, ms, "aoti_torch_cpu_addmm_out")
    assert any("fused" in name and "gelu" in name for name in ran), [*ran]


def test_without_marks_its_kernels_are_unknown(tmp_path: Path) -> None:
    found, _ = profiled(aotinductor, tmp_path, aotinductor.Options())
    assert isinstance(found, Unprofiled) and "kernel_profile: true" in found.reason


def test_autotuning_needs_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "_gpu_is_here", lambda _: False)
    with pytest.raises(MissingError, match="autotune tries kernels on an sm_90 GPU, and none is here"):
        profiled(aotinductor, tmp_path, aotinductor.Options(device="cuda", arch="sm_90", autotune=True))
