"""Programs in ExecuTorch's own Python runtime, whose tensors are torch's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime, Verification

from gen3dexport.backends.executorch.forward import Forward, Signature


def open_forward(path: Path) -> Forward | None:
    """The method `forward` of a file; None where it has none."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():  # programs are timed with this many; ExecuTorch's own pool reads no environment
        portable_lib._unsafe_reset_threadpool(int(threads))
    program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
    method = program.load_method("forward")
    if method is None:
        return None
    metadata = method.metadata

    def run(arrays: Sequence[np.ndarray], program: object = program) -> list[np.ndarray]:
        """Run it; `program` has the bytes, which must outlive the method."""
        # A copy where NumPy forbids writing: torch would warn, and the runtime never writes to its inputs.
        tensors = [torch.from_numpy(a if a.flags.writeable else a.copy()) for a in arrays]
        return [value.numpy() for value in method.execute(tensors)]

    def signature(count: int, tensor: object) -> Signature:
        assert callable(tensor)
        return [(meta.dtype(), meta.sizes()) for meta in map(tensor, range(count))]

    inputs = signature(metadata.num_inputs(), metadata.input_tensor_meta)
    return Forward(inputs, signature(metadata.num_outputs(), metadata.output_tensor_meta), run)
