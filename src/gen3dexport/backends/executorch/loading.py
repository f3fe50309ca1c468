"""A .pte from disk to a callable over NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gen3dexport.backends._inputs import in_order
from gen3dexport.backends._running import running
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import VerificationError

_MAGIC = b"ET12"  # the flatbuffer's identifier, at byte 4
_EXTENDED = b"eh00"  # ExecuTorch's header, at byte 8: its length, then the lengths of program and segments
_DTYPES = {0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64"} | {
    11: "bool"
}


def load_program(path: Path, record: ProgramRecord) -> ExecutorchProgram:
    """The method `forward` of the file, checked against the record.

    Raises:
        VerificationError: when the file is missing, damaged, or another program than the record's.
    """
    _check_header(path)
    with _quiet_stderr():  # looking at the CPU, its C++ code reports every file that is not there
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime, Verification

        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit():  # programs are timed with this many; ExecuTorch's own pool reads no environment
            portable_lib._unsafe_reset_threadpool(int(threads))
        runtime = Runtime.get()
    try:
        with _quiet_stderr():
            program = runtime.load_program(path, verification=Verification.InternalConsistency)
            method = program.load_method("forward")
    except Exception as error:  # the binding raises RuntimeError and others; the cause is kept
        raise VerificationError(f"{path}: ExecuTorch cannot load it ({error}); build the bundle again") from error
    if method is None:
        raise VerificationError(f"{path}: has no method `forward`; build the bundle again")
    _check_signature(path, method.metadata, record)
    return ExecutorchProgram(record, program, method)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Nothing reaches the process's standard error, not even from C++."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@dataclass(eq=False)
class ExecutorchProgram:
    """A loaded program over NumPy arrays. Holds the vendor's program: its bytes must outlive the method."""

    record: ProgramRecord
    program: Any
    method: Any
    xp: ModuleType = np

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name.

        Raises:
            UsageError: when an input is missing, unknown or misshapen.
            ProgramError: when ExecuTorch fails on the program.
        """
        import torch

        arrays = (np.ascontiguousarray(value) for value in in_order(self.record, inputs))
        # A copy where NumPy forbids writing: torch would warn, and the runtime never writes to its inputs.
        tensors = [torch.from_numpy(a if a.flags.writeable else a.copy()) for a in arrays]
        with running(self.record, "ExecuTorch"):
            values = self.method.execute(tensors)
        return {name: value.numpy() for name, value in zip(self.record.outputs, values, strict=True)}


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


def _check_signature(path: Path, metadata: Any, record: ProgramRecord) -> None:
    """Shapes and dtypes of inputs and outputs are those of the record."""
    for what, specs, count, tensor in (
        ("inputs", record.inputs, metadata.num_inputs(), metadata.input_tensor_meta),
        ("outputs", record.outputs, metadata.num_outputs(), metadata.output_tensor_meta),
    ):
        found = [tensor(i) for i in range(count)]
        signature = [(_DTYPES.get(t.dtype(), str(t.dtype())), tuple(t.sizes())) for t in found]
        if signature != [(s.dtype, s.shape) for s in specs.values()]:
            shown = ", ".join(f"{dtype} {list(shape)}" for dtype, shape in signature)
            wanted = ", ".join(f"{name} {s.dtype} {list(s.shape)}" for name, s in specs.items())
            raise VerificationError(f"{path}: {what} are {shown}; its record says {wanted}; build the bundle again")
