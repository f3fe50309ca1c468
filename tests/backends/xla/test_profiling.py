"""libtpu's schedule of a program, operator by operator."""

from __future__ import annotations

from pathlib import Path

import pytest
from profiling_case import profiled

from gen3dexport.backends import xla
from gen3dexport.backends.xla.chips import CHIPS
from gen3dexport.backends.xla.hlo import cycles, operators
from gen3dexport.operator_times import OperatorTimes, Unprofiled

PROGRAM = """\
HloModule jit_f

%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %m = f32[4,2]{1,0} fusion(%x), kind=kOutput, calls=%g, metadata={op_name="jit(f)/while/body/dot_general"}, backend_config={"estimated_cycles":"100"}
  %c.3 = bf16[8]{0} copy(%m), backend_config={"estimated_cycles":"7"}
}

%condition (p: (s32[], f32[4])) -> pred[] {
  %n = s32[] constant(5)
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), condition=%condition, body=%body
  ROOT %add_fusion.2 = f32[4]{0} fusion(%w), kind=kLoop, calls=%h, backend_config={"estimated_cycles":"30"}
}
"""  # noqa: E501


def test_a_loop_s_operators_count_as_often_as_it_runs() -> None:
    found = operators(PROGRAM)
    assert [(o.operator, o.name, o.cycles, o.runs, o.bytes) for o in found] == [
        ("dot_general", "m", 500, 5, 32),
        ("copy", "c.3", 35, 5, 16),
        ("add_fusion", "add_fusion.2", 30, 1, 16),
    ]
    assert sum(o.cycles for o in found) == cycles(PROGRAM).total


def test_the_schedule_of_a_program_is_an_estimate(tmp_path: Path) -> None:
    found, ms = profiled(xla, tmp_path, xla.Options(chip="v5e", compile=False))
    assert (
        isinstance(found, OperatorTimes) and found.basis == "estimated" and found.by.startswith("libtpu schedule v5e")
    )
    assert not ms  # nothing ran
    (call,) = found.calls
    products = [ran for ran in call if ran.operator == "dot_general"]
    flops = 2 * 2 * 512 * 256 * 1024
    assert len(products) == 2 and all(ran.bytes in (512 * 256 * 4, 512 * 1024 * 4) for ran in products)
    assert sum(ran.us for ran in products) > 1e6 * flops / CHIPS["v5e"].bf16  # no faster than the matrix units


def test_without_the_compiler_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "missing", lambda *_: ["libtpu is not installed; run: pip install 'gen3dexport[tpu]'"])
    found, _ = profiled(xla, tmp_path, xla.Options(chip="v5e", compile=False))
    assert isinstance(found, Unprofiled) and "libtpu is not installed" in found.reason
