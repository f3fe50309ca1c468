"""Operators of a TPU program by libtpu's instruction schedule: an estimate, with or without a TPU."""

from __future__ import annotations

from pathlib import Path

from gen3dexport.backends.xla.chips import CHIPS, Requires
from gen3dexport.backends.xla.compile_tpu import Unknown, compile_tpu
from gen3dexport.bundle.program import ProgramRecord, required
from gen3dexport.operator_times import OperatorTimes, Ran, Unprofiled

_TIMEOUT_S = 600.0


def profile(path: Path, record: ProgramRecord) -> OperatorTimes | Unprofiled:
    """The program compiled for its chip; each operator takes its cycles at the chip's clock, one after another."""
    chip = CHIPS[required(record, Requires).chip]
    made = compile_tpu(path, record.name, chip, _TIMEOUT_S)
    if isinstance(made, Unknown):
        return Unprofiled(made.reason)
    start, ran = 0.0, []
    for each in made.operators:
        us = 1e6 * each.cycles / chip.clock
        name = each.name + (f", {each.runs} times" if each.runs > 1 else "")
        ran.append(Ran(each.operator, name, chip.name, start, us, us, each.bytes * each.runs))
        start += us
    effort = "" if made.effort == 0 else ", least effort"
    by = f"libtpu schedule {chip.name}{effort}" + (
        f"; no figure for {', '.join(made.custom_calls)}" if made.custom_calls else ""
    )
    return OperatorTimes(by, "estimated", (tuple(ran),), "bytes of an operator's outputs")
