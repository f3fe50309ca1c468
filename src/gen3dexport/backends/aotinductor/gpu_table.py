"""What the compiler asks a GPU about itself, per architecture, so that it can be told on a machine without one.

Limits per compute capability are those of the CUDA programming guide (appendix "Compute Capabilities"); counts of
multiprocessors, cache and memory are those of the named board. They steer heuristics (block sizes, persistent
reductions); only `capability` and the shared memory per block decide whether a kernel can run at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Gpu:
    """One architecture, represented by one board.

    Attributes:
        arch: e.g. `sm_90`.
        board: the board whose counts are given.
        multiprocessors: number of streaming multiprocessors.
        shared_per_block: most dynamic shared memory of one block, bytes.
        shared_per_multiprocessor: shared memory of one multiprocessor, bytes.
        threads_per_multiprocessor: most resident threads of one multiprocessor.
        l2: second-level cache, bytes.
        memory: device memory, bytes.
    """

    arch: str
    board: str
    multiprocessors: int
    shared_per_block: int
    shared_per_multiprocessor: int
    threads_per_multiprocessor: int
    l2: int
    memory: int

    @property
    def compute(self) -> int:
        """Compute capability as one number, e.g. 90."""
        return int(self.arch.removeprefix("sm_"))

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability as (major, minor), e.g. (9, 0)."""
        return divmod(self.compute, 10)


_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30

GPUS: Mapping[str, Gpu] = {
    gpu.arch: gpu
    for gpu in (
        Gpu("sm_80", "A100", 108, 163 * _KIB, 164 * _KIB, 2048, 40 * _MIB, 40 * _GIB),
        Gpu("sm_86", "RTX 3090", 82, 99 * _KIB, 100 * _KIB, 1536, 6 * _MIB, 24 * _GIB),
        Gpu("sm_89", "RTX 4090", 128, 99 * _KIB, 100 * _KIB, 1536, 72 * _MIB, 24 * _GIB),
        Gpu("sm_90", "H100", 132, 227 * _KIB, 228 * _KIB, 2048, 50 * _MIB, 80 * _GIB),
        Gpu("sm_100", "B200", 148, 227 * _KIB, 228 * _KIB, 2048, 126 * _MIB, 180 * _GIB),
    )
}

if TYPE_CHECKING:
    Arch = str
else:
    Arch = Literal[tuple(GPUS)]  # the type of an option that names one

REGISTERS = 65536
"""32-bit registers of one multiprocessor, on every architecture above."""
