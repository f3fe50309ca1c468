"""What a profile says, as frozen records. No torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gen3dexport.documents.record import Record
from gen3dexport.reports.records import Latency, PeakMemory

Basis = Literal["measured", "estimated", "unmeasured"]


class OperatorRow(Record):
    """An operator of a program, all its runs in one call together.

    Attributes:
        operator: as the runtime names it; kind: see `kinds`; place: what computed it.
        runs: in one call; ms: of one call, without operators inside it; share: of the call's operators.
        bytes: in one call, see `ProgramProfile.bytes`; None where unmeasured.
    """

    operator: str
    kind: str
    place: str
    runs: float
    ms: float
    share: float
    bytes: float | None


class ProgramProfile(Record):
    """One program.

    Attributes:
        calls: how often one asset calls it.
        call: one call without profiling; traced: one with it, in turns with those.
        basis: of the operators; by: the profiler or cost model; reason: why nothing is known of them.
        operators_ms: their sum in one call; None where nothing is known.
        operators: most time first.
        bytes: what the operators' bytes count, or why they are unmeasured.
    """

    program: str
    component: str
    role: str
    scheme: str
    calls: int
    call: Latency
    traced: Latency
    peak_memory: PeakMemory
    basis: Basis
    by: str = ""
    reason: str | None = None
    operators_ms: float | None = None
    operators: tuple[OperatorRow, ...] = ()
    bytes: str = ""

    @property
    def call_ms(self) -> float | None:
        """Milliseconds of one call as this profile knows it best: measured without profiling, else its operators."""
        return self.call.p50_ms if self.call.basis == "measured" else self.operators_ms

    @property
    def overhead(self) -> float | None:
        """A profiled call over a plain one: 1.1 is a tenth longer."""
        if self.call.basis == "measured" and self.traced.basis == "measured":
            return self.traced.p50_ms / self.call.p50_ms
        return None

    def by_kind(self) -> dict[str, float]:
        """Milliseconds of one call by kind of operator."""
        found: dict[str, float] = {}
        for row in self.operators:
            found[row.kind] = found.get(row.kind, 0.0) + row.ms
        return found


class Profile(Record):
    """Where a bundle's time and memory go.

    Attributes:
        bundle: its folder's name; device: where it ran; threads: of the CPU; turns: traced calls of each program.
    """

    bundle: str
    recipe: str
    target: str
    backend: str
    device: str
    threads: int
    turns: int
    created: str
    programs: tuple[ProgramProfile, ...]


class Ratio(Record):
    """One kind of operators, or one operator by name, of one component in two bundles: milliseconds of a call."""

    component: str
    operator: str
    a_ms: float | None
    b_ms: float | None
    ratio: float | None


class Profiles(Record):
    """One bundle's profile, or two and how the second stands to the first.

    Attributes:
        ratios: B / A by component and kind, kinds that take most first; names: by operator, where both runtimes name
            one alike.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    profiles: tuple[Profile, ...] = Field(min_length=1, max_length=2)
    ratios: tuple[Ratio, ...] = ()
    names: tuple[Ratio, ...] = ()
