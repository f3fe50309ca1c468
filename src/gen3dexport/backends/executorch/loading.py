"""A .pte from disk to a callable over NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gen3dexport.backends._inputs import in_order
from gen3dexport.backends._quiet import quiet_stderr
from gen3dexport.backends._running import running
from gen3dexport.backends.executorch.forward import Forward
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import VerificationError

_MAGIC = b"ET12"  # the flatbuffer's identifier, at byte 4
_EXTENDED = b"eh00"  # ExecuTorch's header, at byte 8: its length, then the lengths of program and segments
_DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64"} | {
    11: "bool"
}


def load_program(path: Path, record: ProgramRecord, with_torch: bool = True) -> ExecutorchProgram:
    """The method `forward` of the file, checked against the record.

    Args:
        with_torch: whether ExecuTorch's own runtime runs it, else executorch-numpy-runtime.

    Raises:
        VerificationError: when the file is missing, damaged, or another program than the record's.
    """
    _check_header(path)
    with quiet_stderr():  # looking at the CPU, their C++ code reports every file that is not there
        if with_torch:
            from gen3dexport.backends.executorch.own_runtime import open_forward
        else:
            from gen3dexport.backends.executorch.numpy_runtime import open_forward
    try:
        with quiet_stderr():
            forward = open_forward(path)
    except Exception as error:  # the bindings raise RuntimeError and others; the cause is kept
        raise VerificationError(f"{path}: ExecuTorch cannot load it ({error}); build the bundle again") from error
    if forward is None:
        raise VerificationError(f"{path}: has no method `forward`; build the bundle again")
    _check_signature(path, forward, record)
    return ExecutorchProgram(record, forward, None if with_torch else _other_threads())


def _other_threads() -> str | None:
    """Why times in the runtime without torch are not those of `$OMP_NUM_THREADS`, or None when they are."""
    wanted, cores = os.environ.get("OMP_NUM_THREADS", ""), os.cpu_count()
    if not wanted.isdigit() or int(wanted) == cores:
        return None
    return f"executorch-numpy-runtime computes with {cores} threads, a thread a core, and {wanted} were asked for"


@dataclass(eq=False)
class ExecutorchProgram:
    """A loaded program over NumPy arrays; `stand_in`: why its times are not the target's, if they are not."""

    record: ProgramRecord
    forward: Forward
    stand_in: str | None = None
    xp: ModuleType = np

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name.

        Raises:
            UsageError: when an input is missing, unknown or misshapen.
            ProgramError: when ExecuTorch fails on the program.
        """
        arrays = [np.ascontiguousarray(value) for value in in_order(self.record, inputs)]
        with running(self.record, "ExecuTorch"):
            values = self.forward.run(arrays)
        return dict(zip(self.record.outputs, values, strict=True))


def _check_header(path: Path) -> None:
    """The file begins like a .pte and is as long as its header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(40)
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read ({error}); build the bundle again") from None
    if head[4:8] != _MAGIC or head[8:12] != _EXTENDED:
        raise VerificationError(f"{path}: not an ExecuTorch program; build the bundle again")
    program, segments_at, segments = (int.from_bytes(head[i : i + 8], "little") for i in (16, 24, 32))
    if max(program, segments_at + segments) > size:
        expected = max(program, segments_at + segments)
        raise VerificationError(
            f"{path}: truncated, {size} of {expected} bytes; copy it again or build the bundle again"
        )


def _check_signature(path: Path, forward: Forward, record: ProgramRecord) -> None:
    """Shapes and dtypes of inputs and outputs are those of the record."""
    for what, specs, found in (
        ("inputs", record.inputs, forward.inputs),
        ("outputs", record.outputs, forward.outputs),
    ):
        signature = [(_DTYPES.get(code, str(code)), tuple(shape)) for code, shape in found]
        if signature != [(s.dtype, s.shape) for s in specs.values()]:
            shown = ", ".join(f"{dtype} {list(shape)}" for dtype, shape in signature)
            wanted = ", ".join(f"{name} {s.dtype} {list(s.shape)}" for name, s in specs.items())
            raise VerificationError(f"{path}: {what} are {shown}; its record says {wanted}; build the bundle again")
