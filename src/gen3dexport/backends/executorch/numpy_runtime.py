"""Programs in executorch-numpy-runtime: ExecuTorch's runtime over NumPy arrays, without torch.

It is built of ExecuTorch 1.3.1; what 1.5.1 lowers here comes out of it with the same bytes (`test_without_torch.py`).
It computes with a thread a core, and has no setting for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from executorch_numpy_runtime import Runtime

from gen3dexport.backends._quiet import quiet_stderr
from gen3dexport.backends.executorch.forward import Forward, Signature


def open_forward(path: Path) -> Forward | None:
    """The method `forward` of a file; None where it has none. Its kernels are looked up when it runs first."""
    program = Runtime.get().load_program(str(path))
    if "forward" not in program.method_names:
        return None
    method = program.load_method("forward")
    metadata = method.metadata
    # It looks at the CPU when a delegate is made, and reports every file that is not there.
    ran = False

    def run(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        nonlocal ran
        with nullcontext() if ran else quiet_stderr():
            found: Sequence[np.ndarray] = method(arrays)
        ran = True
        return found

    return Forward(_signature(metadata["inputs"]), _signature(metadata["outputs"]), run)


def _signature(tensors: Sequence[Mapping[str, Any]]) -> Signature:
    return [(tensor["scalar_type"], tensor["shape"]) for tensor in tensors]
