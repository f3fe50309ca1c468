"""The logarithm of a sigmoid in ONNX. torch's exporter writes Log(Sigmoid(x)), and onnxruntime's Sigmoid is 0 below
about -18: the logarithm is minus infinity where float32 has -18 and less. -Softplus(-x) is the same and exact there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """The operator's ONNX form, as `torch.onnx.export` takes it."""
    from onnxscript import opset18 as op  # every operator here is the same in later opsets

    def in_onnx(x: Any) -> Any:
        return op.Neg(op.Softplus(op.Neg(x)))

    return {torch.ops.aten.log_sigmoid.default: in_onnx}
