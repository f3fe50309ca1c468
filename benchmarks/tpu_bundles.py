"""Cycles of Pallas kernels from libtpu's own schedule: the instruction bundles that it dumps, one cycle each.

libtpu writes its final bundles where LIBTPU_INIT_ARGS says (`DUMP`). A bundle's depth is how many loops it is in; the
loop of depth 1 is the kernel's grid. A stretch that runs at the first step of some axis only counts at every step, so
the figure is an upper bound of the schedule; it leaves out waiting for memory, which `Kernel.cycles` puts beside it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from gen3dexport.backends.xla.chips import Chip

DUMP = "--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
_BYTES = {"s8": 1, "bf16": 2, "f32": 4, "s32": 4}
_TILE = 32  # rows of one turn of int8_linear's inner loop
_BUNDLE = re.compile(r"^\s*(?:0x[0-9a-f]+|0)\s+(?:[A-Z]{2}\s*)?: ?((?:> ?)*)\{", re.MULTILINE)
_OPERAND = re.compile(r"\[shape: (\w+)\[([\d,]*)\], index: (\d+), kind: (input|output)")
_WINDOW = re.compile(r"for operator (input|output) (\d+)\. The window shape is \w+\[([\d,]+)\]")


@dataclass(frozen=True)
class Kernel:
    """One kernel of a program.

    Attributes:
        name: as the program has it, e.g. `attention.14`.
        bundles: cycles of its schedule, at most.
        bytes: that it moves.
    """

    name: str
    bundles: int
    bytes: int

    def cycles(self, chip: Chip) -> float:
        """Whichever takes longer: the schedule, or the memory."""
        return max(self.bundles, self.bytes / chip.bandwidth * chip.clock)


def kernels(folder: Path) -> list[Kernel]:
    """The kernels whose bundles lie in `folder`, each once."""
    found = {}
    for path in sorted(folder.glob("*-final_bundles.txt")):
        named = re.search(r"-((?:attention|int8_linear)\.\d+)-\d+-final_bundles", path.name)
        if named:
            found[named[1]] = _kernel(named[1], path.read_text())
    return list(found.values())


def _kernel(name: str, text: str) -> Kernel:
    depths = [found.count(">") for found in _BUNDLE.findall(text)]
    shapes = {int(index): (_numbers(shape), _BYTES[dtype]) for dtype, shape, index, _ in _OPERAND.findall(text)}
    last = max(shapes)
    windows = {int(index) if kind == "input" else last: _numbers(shape) for kind, index, shape in _WINDOW.findall(text)}
    out, tile = shapes[last][0], windows[last]
    steps = math.prod(-(-n // m) for n, m in zip(out, tile, strict=True))
    inner = 0
    if name.startswith("attention"):
        steps *= shapes[2][0][1] // windows[2][1]  # blocks of keys
    else:
        inner = steps * tile[-1] // out[-1] * windows[1][0] // _TILE
    moved = 0
    for shape, size in shapes.values():
        if name.startswith("attention") and len(shape) == 3:
            shape = [*shape[:2], min(shape[2], out[2])]  # an operand may hold queries, keys and values
        elif len(shape) == 3:
            shape = shape[1:]  # the weight of one block of all
        moved += math.prod(shape) * size
    return Kernel(name, depths.count(0) + depths.count(1) * steps + depths.count(2) * inner, moved)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]
