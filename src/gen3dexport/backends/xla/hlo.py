"""Reading a compiled TPU program's text: the cycles that its instruction schedule gives each operation. No JAX."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_WHILE = re.compile(r"\bwhile\(.*\bcondition=%?([\w.\-]+), body=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CALL = re.compile(r"\b(?:call|async-start)\(.*\b(?:to_apply|calls)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bconditional\(.*\bbranch_computations=\{([^}]*)\}")
_BOUND = re.compile(r"= s32\[\](?:\{[^}]*\})? constant\((\d+)\)")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?)\s([\w\-]+)\(")
_SOURCE = re.compile(r'\bop_name="(?:[^"]*/)?([^"/]+)"')
_SHAPE = re.compile(r"\b(pred|[suf]\d+|bf16|f8\w*)\[([\d,]*)\]")
_TARGET = re.compile(r'custom_call_target="([^"]+)"')


@dataclass(frozen=True)
class Operator:
    """One instruction of a compiled program that the schedule gives cycles.

    Attributes:
        operator: what it computes: the traced operator that it comes from, or the kinds of a fusion.
        name: of the instruction; cycles: of all its runs in one call; runs: how often it runs in one.
        bytes: of its output.
    """

    operator: str
    name: str
    cycles: int
    runs: int
    bytes: int


@dataclass
class _Computation:
    cycles: int = 0
    operators: list[Operator] = field(default_factory=list)
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


def operators(text: str) -> list[Operator]:
    """The instructions of one call of compiled HLO `text`, most cycles first; of branches, those that take longest."""
    computations, entry = _read(text)
    runs: dict[str, int] = {}
    _count(computations, entry, 1, runs)
    found = [
        Operator(each.operator, each.name, each.cycles * times, times, each.bytes)
        for name, times in runs.items()
        for each in computations.get(name, _Computation()).operators
    ]
    return sorted(found, key=lambda each: -each.cycles)


def _count(computations: dict[str, _Computation], name: str, times: int, runs: dict[str, int]) -> None:
    """Add how often each computation runs when that one runs `times` times."""
    runs[name] = runs.get(name, 0) + times
    here = computations.get(name, _Computation())
    longest = [max(group, key=lambda branch: _sum(computations, branch, True)) for group in here.branches]
    for called in (*here.calls, *longest):
        _count(computations, called, times, runs)
    for condition, body, trips in here.loops:
        _count(computations, body, times * _trips(computations, condition, trips), runs)


def _trips(computations: dict[str, _Computation], condition: str, trips: int | None) -> int:
    """How often a loop's body runs."""
    return trips if trips is not None else computations.get(condition, _Computation()).bound


def _operator(line: str, cycles: int) -> Operator | None:
    if (found := _INSTRUCTION.match(line)) is None:
        return None
    name, shapes, code = found.groups()
    source = _SOURCE.search(line)
    operator = source.group(1) if source else re.sub(r"\.\d+$", "", name) if code == "fusion" else code
    return Operator(operator, name, cycles, 1, sum(_bytes(*shape) for shape in _SHAPE.findall(shapes)))


def _bytes(dtype: str, shape: str) -> int:
    bits = 8 if dtype == "pred" else int(re.findall(r"\d+", dtype)[0])
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


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
            if (operator := _operator(line, int(found.group(1)))) is not None:
                here.operators.append(operator)
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
        total += _sum(computations, body, repeated) * (_trips(computations, condition, trips) if repeated else 1)
    return total
