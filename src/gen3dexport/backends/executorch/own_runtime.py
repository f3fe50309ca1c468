"""Programs in ExecuTorch's own Python runtime, whose tensors are torch's.

`executorch.runtime` and `portable_lib` are written in Python over the extension module `_C`. To import either imports
all of `executorch.exir`, for the class of one warning: 1,900 modules, 210 MB and seconds, which nothing that runs a
program needs (findings/executorch-runtime-imports-exporter.sh). So `_C` is used as they use it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch  # before the bindings, which link its libraries
from executorch.extension.pybindings import _C as bindings

from gen3dexport.backends.executorch.forward import Forward, Signature


def open_program(path: Path, events: bool = False) -> Any:
    """A file's program, its structure checked; with `events`, one that ExecuTorch's event tracer follows."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():  # programs are timed with this many; ExecuTorch's own pool reads no environment
        bindings._unsafe_reset_threadpool(int(threads))
    verification = bindings.Verification.InternalConsistency
    return bindings._load_program(str(path), enable_etdump=events, program_verification=verification)


def open_forward(path: Path) -> Forward | None:
    """The method `forward` of a file; None where it has none."""
    program = open_program(path)
    if "forward" not in {program.get_method_name(number) for number in range(program.num_methods())}:
        return None
    method = program.load_method("forward")
    metadata = method.method_meta()

    def run(arrays: Sequence[np.ndarray], program: object = program) -> list[np.ndarray]:
        """Run it; `program` has the bytes, which must outlive the method."""
        # A copy where NumPy forbids writing: torch would warn, and the runtime never writes to its inputs.
        tensors = [torch.from_numpy(a if a.flags.writeable else a.copy()) for a in arrays]
        return [value.numpy() for value in method(tensors)]

    def signature(count: int, tensor: object) -> Signature:
        assert callable(tensor)
        return [(meta.dtype(), meta.sizes()) for meta in map(tensor, range(count))]

    inputs = signature(metadata.num_inputs(), metadata.input_tensor_meta)
    return Forward(inputs, signature(metadata.num_outputs(), metadata.output_tensor_meta), run)
