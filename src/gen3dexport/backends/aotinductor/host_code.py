"""The CPU that a package's host code needs: chosen at build, written down, checked before the package is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from gen3dexport.documents.record import Record
from gen3dexport.errors import MissingError

_V3 = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

LEVELS: Mapping[str, tuple[int, tuple[str, ...]]] = {"x86-64-v3": (256, _V3), "x86-64-v4": (512, _V4)}
"""Level of the x86-64 psABI -> vector width in bits, and what /proc/cpuinfo calls its features."""

PORTABLE: Final = "x86-64-v3"
"""Host code runs on any x86-64 CPU with AVX2 and FMA (Haswell, Zen and newer) unless the target asks for more."""

if TYPE_CHECKING:
    March = str
else:
    March = Literal[tuple(LEVELS)]  # the type of an option that names a level

_PICKED = {"avx512_vnni": ("avx512_vnni",), "amx_tile": ("amx_tile", "amx_bf16", "amx_int8")}


class HostCode(Record):
    """What the generated C++ was compiled for.

    Attributes:
        platform, machine: system and instruction set, as Python calls them.
        march: level of the x86-64 psABI.
        simdlen: vector width that the compiler generates for, bits.
        isa: the vector instructions it picked on the building machine.
        features: what the CPU must have, in the words of /proc/cpuinfo.
    """

    platform: str
    machine: str
    march: str
    simdlen: int
    isa: str
    features: tuple[str, ...]


def host_code(march: str, isa: str) -> HostCode:
    """Host code of a level, for the vector instructions that the compiler picks under it (`avx2`, `avx512 ...`)."""
    width, features = LEVELS[march]
    picked = tuple(flag for word in isa.split() for flag in _PICKED.get(word, ()))
    here = {"platform": sys.platform, "machine": os.uname().machine}
    return HostCode(**here, march=march, simdlen=width, isa=isa, features=(*features, *picked))


def require_host(host: HostCode, where: str) -> None:
    """Refuse a machine that the host code does not run on.

    Raises:
        MissingError: naming what it lacks.
    """
    here = (sys.platform, os.uname().machine)
    if here != (host.platform, host.machine):
        raise MissingError(
            f"{where}: built for {host.platform} {host.machine}, this is {here[0]} {here[1]}; run it on such a machine"
        )
    lacking = [flag for flag in host.features if flag not in cpu_features()]
    if lacking:
        raise MissingError(
            f"{where}: its host code needs a CPU with {host.march} ({', '.join(lacking)} missing here); run it on "
            "such a CPU, or build it again with a lower options.march"
        )


def cpu_features() -> frozenset[str]:
    """Features of this CPU as Linux lists them; empty when it does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())
