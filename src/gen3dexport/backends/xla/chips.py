"""The TPU chips: peaks, memory, and what libtpu calls them. No vendor package.

Sources: Google Cloud, "TPU v5e" and "TPU v6e", key chip specifications (docs.cloud.google.com/tpu/docs/v5e and /v6e):
v5e 197 TFLOP/s bf16, 393 TOP/s int8, 16 GB of HBM at 819 GB/s; v6e 918 TFLOP/s bf16, 1836 TOP/s int8, 32 GB at
1638 GB/s. Memory that a program can use is smaller; the compiler knows it and refuses what does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gen3dexport.documents.record import Record


@dataclass(frozen=True)
class Chip:
    """One TPU chip.

    Attributes:
        name: e.g. `v5e`.
        bf16: peak of the matrix unit, FLOP/s on bfloat16.
        int8: peak of the matrix unit, OP/s on int8.
        bandwidth: of the HBM, bytes/s.
        hbm: bytes of HBM.
        topology: libtpu's name for a single chip.
        accelerator: value of TPU_ACCELERATOR_TYPE that libtpu accepts for this generation.
        kind: `device_kind` of the real device in JAX.
        lanes: multiply-adds of its matrix units in one cycle. v5e has four of 128 x 128; for v6e, whose clock is not
            published, four of 256 x 256 are assumed (JAX lists two of that size).
    """

    name: str
    bf16: float
    int8: float
    bandwidth: float
    hbm: int
    topology: str
    accelerator: str
    kind: str
    lanes: int

    @property
    def clock(self) -> float:
        """Cycles a second: the peak over the operations of a cycle."""
        return self.bf16 / (2 * self.lanes)


CHIPS: Mapping[str, Chip] = {
    "v5e": Chip("v5e", 197e12, 393e12, 819e9, 16 * 2**30, "v5e:1x1", "v5litepod-4", "TPU v5 lite", 4 * 128 * 128),
    "v6e": Chip("v6e", 918e12, 1836e12, 1638e9, 32 * 2**30, "v6e:1x1", "v6e-4", "TPU v6 lite", 4 * 256 * 256),
}

if TYPE_CHECKING:
    ChipName = str
else:
    ChipName = Literal[tuple(CHIPS)]  # the type of an option that names one


class Requires(Record):
    """What a program was exported for.

    Attributes:
        chip: key of `CHIPS`; platforms: JAX's names of the devices that can run it.
    """

    chip: str
    platforms: tuple[str, ...]
