"""Reading a compiled TPU program's text: the cycles that the compiler's cost model gives each operation. No JAX."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_WHILE = re.compile(r"\bwhile\(.*\bcondition=%?([\w.\-]+), body=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALL = re.compile(r"\b(?:call|async-start)\(.*\b(?:to_apply|calls)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bconditional\(.*\bbranch_computations=\{([^}]*)\}")
_BOUND = re.compile(r"= s32\[\](?:\{[^}]*\})? constant\((\d+)\)")
_TARGET = re.compile(r'custom_call_target="([^"]+)"')


@dataclass
class _Computation:
    cycles: int = 0
    bound: int = 1  # the largest integer constant: the trip count when this is a loop's condition
    loops: list[tuple[str, str, int | None]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    branches: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Cycles:
    """Cycles of one run: with every loop body counted once, as XLA's cost analysis does, and as often as it runs."""

    once: int
    total: int

    @property
    def repeat(self) -> float:
        """By how much a figure that counts loop bodies once falls short."""
        return self.total / self.once if self.once else 1.0


def cycles(text: str) -> Cycles:
    """The cycles of the entry computation of compiled HLO `text`."""
    computations, entry = _read(text)
    return Cycles(_sum(computations, entry, False), _sum(computations, entry, True))


def custom_calls(text: str) -> list[str]:
    """Names of the custom calls in HLO `text`, sorted."""
    return sorted(set(_TARGET.findall(text)))


def _read(text: str) -> tuple[dict[str, _Computation], str]:
    computations: dict[str, _Computation] = {}
    entry, here = "", _Computation()
    for line in text.splitlines():
        if header := _HEADER.match(line):
            here = computations.setdefault(header.group(2), _Computation())
            entry = header.group(2) if header.group(1) else entry
        if found := _CYCLES.search(line):
            here.cycles += int(found.group(1))
        if found := _WHILE.search(line):
            trips = _TRIPS.search(line)
            here.loops.append((found.group(1), found.group(2), int(trips.group(1)) if trips else None))
        elif found := _CALL.search(line):
            here.calls.append(found.group(1))
        elif found := _BRANCHES.search(line):
            here.branches.append([name.strip().lstrip("%") for name in found.group(1).split(",")])
        if found := _BOUND.search(line):
            here.bound = max(here.bound, int(found.group(1)))
    return computations, entry


def _sum(computations: dict[str, _Computation], name: str, repeated: bool) -> int:
    here = computations.get(name, _Computation())
    total = here.cycles + sum(_sum(computations, called, repeated) for called in here.calls)
    total += sum(max(_sum(computations, branch, repeated) for branch in group) for group in here.branches)
    for condition, body, trips in here.loops:
        bound = trips if trips is not None else computations.get(condition, _Computation()).bound
        total += _sum(computations, body, repeated) * (bound if repeated else 1)
    return total
