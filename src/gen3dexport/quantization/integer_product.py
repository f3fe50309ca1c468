"""The product of two int8 matrices on this machine, whatever its CPU.

torch's own has one for x86 CPUs with VNNI; on others it goes through the matrices element by element, and takes many
times what float32 takes. A sum of 1024 products of int8 values is a whole number of at most 2^24, which float32 holds.
"""

from __future__ import annotations

import torch
from torch import Tensor

EXACT = 1024
"""So many products of int8 values have exact sums in float32."""


def integer_product(left: Tensor, right: Tensor) -> Tensor:
    """left [M, K] int8 times right [K, N] int8, int32: to the bit what `torch._int_mm` gives, which it is in a capture,
    on other devices and where the CPU has the instructions."""
    captured = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    if captured or left.device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512":
        return torch._int_mm(left, right)
    total = torch.zeros(left.shape[0], right.shape[1], dtype=torch.int32, device=left.device)
    with torch.autocast("cpu", enabled=False):
        for start in range(0, left.shape[1], EXACT):
            part = slice(start, start + EXACT)
            total += (left[:, part].float() @ right[part].float()).int()
    return total
