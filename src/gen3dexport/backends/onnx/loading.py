"""An ONNX program from disk in onnxruntime, over NumPy arrays. No torch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from gen3dexport import telemetry
from gen3dexport.backends import Program
from gen3dexport.backends._idle_threads import IdleThreads
from gen3dexport.backends._inputs import in_order
from gen3dexport.backends._running import running
from gen3dexport.bundle.program import ProgramRecord, required
from gen3dexport.documents.record import Record
from gen3dexport.errors import MissingError, UsageError, VerificationError


class Requires(Record):
    """What a session needs to know.

    Attributes:
        threads: that it computes with; 0 leaves it to the machine.
        idle_threads: what those do between operators.
    """

    threads: int = Field(default=0, ge=0)
    idle_threads: IdleThreads = "sleep"


def load_session(folder: Path, program: ProgramRecord, profile_into: Path | None = None) -> Program:
    """A session on the CPU with deterministic kernels.

    Threads: the target's `threads` option, else `$OMP_NUM_THREADS` (which onnxruntime does not read itself), else all
    cores.

    Args:
        profile_into: what the file begins with into which onnxruntime's profiler writes; None for no profile.

    Raises:
        MissingError: when onnxruntime is not installed.
        VerificationError: when it refuses the file.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingError(
            f"program {program.name}: onnxruntime is not installed; run: pip install 'gen3dexport[runtime]' (without "
            "torch), or 'gen3dexport[onnx]'"
        )
    telemetry.switch_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads(program)
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    spinning = required(program, Requires).idle_threads == "spin"
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if not _has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if profile_into is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile_into)
    path = folder / program.files[0]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own types derive from Exception alone; the cause is kept
        raise VerificationError(f"{path}: onnxruntime refuses the program ({error}); build the bundle again") from error
    return OnnxProgram(program, session, np)


def _threads(program: ProgramRecord) -> int:
    """Threads of a session; 0 is onnxruntime's own choice, every core."""
    if (threads := required(program, Requires).threads) > 0:
        return threads
    text = os.environ.get("OMP_NUM_THREADS", "0")
    if not text.isdecimal():
        raise UsageError(f"OMP_NUM_THREADS={text!r}: not a number of threads; set it to one, or unset it")
    return int(text)


def _has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor is known to add 8-bit products exactly (VNNI).

    Older x86 kernels saturate 16-bit sums unless onnxruntime is told to take exact ones, which cost half as much time
    again where VNNI has no need of them. Where nothing says (no Linux), exactness comes first; ARM ignores the setting.
    """
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return bool({"avx512_vnni", "avx_vnni"} & set(flags))


@dataclass(eq=False)
class OnnxProgram:
    """A loaded program over NumPy arrays."""

    record: ProgramRecord
    session: Any
    xp: Any

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name.

        Raises:
            UsageError: when an input is missing, unknown or misshapen.
            ProgramError: when onnxruntime cannot run the program after all.
        """
        arrays = (np.ascontiguousarray(array) for array in in_order(self.record, inputs))
        named = dict(zip(self.record.inputs, arrays, strict=True))
        with running(self.record, "onnxruntime"):
            results = self.session.run(None, named)
        return dict(zip(self.record.outputs, results, strict=True))
