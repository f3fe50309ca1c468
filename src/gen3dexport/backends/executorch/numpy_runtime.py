"""Programs in executorch-numpy-runtime: ExecuTorch's runtime over NumPy arrays, without torch.

It is built of ExecuTorch 1.3.1 and runs what 1.5.1 lowers here with the same bytes out (tests/line/test_torch_free.py).
It computes with a thread a core, and has no setting for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from executorch_numpy_runtime import Runtime

from gen3dexport.backends.executorch.forward import Forward, Signature


def open_forward(path: Path) -> Forward | None:
    """The method `forward` of a file; None where it has none. Its kernels are looked up when it runs first."""
    program = Runtime.get().load_program(str(path))
    if "forward" not in program.method_names:
        return None
    method = program.load_method("forward")
    metadata = method.metadata
    return Forward(_signature(metadata["inputs"]), _signature(metadata["outputs"]), method)


def _signature(tensors: Sequence[Mapping[str, Any]]) -> Signature:
    return [(tensor["scalar_type"], tensor["shape"]) for tensor in tensors]
