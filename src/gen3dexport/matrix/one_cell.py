"""One cell: what it will need, its build, what came of that, and its way into a registry. No torch in this process."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gen3dexport.errors import GenExportError, UsageError, of_kind
from gen3dexport.matrix.cells import Cell, decided
from gen3dexport.matrix.place import Place
from gen3dexport.matrix.processes import gen3dexport, last_words, run
from gen3dexport.matrix.results import INTERRUPTED, Result
from gen3dexport.reports.judge import ACCURACY, COST, UNMEASURED
from gen3dexport.reports.records import Report
from gen3dexport.reports.report import read_report
from gen3dexport.reports.text import number

Stopped = Callable[[], bool]


@dataclass(frozen=True)
class Work:
    """How cells are built.

    Attributes:
        place: the matrix's folder.
        threads: of each build; 0 leaves it to the libraries.
        push: where bundles are sent to: `HOST/NAME`, before `/RECIPE-TARGET:VERSION`; nowhere when empty.
    """

    place: Place
    threads: int = 0
    push: str = ""

    @property
    def environment(self) -> Mapping[str, str]:
        """Of a build."""
        own = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        return {**own, **os.environ, "PYTHONUNBUFFERED": "1"}

    def artifact(self, cell: Cell) -> str:
        """The name of a cell's bundle in the registry: its version is the cell's digest."""
        return f"{self.push.rstrip('/')}/{cell.name.lower().replace(' ', '-')}:{cell.digest[:12]}"


def expected_peak(cell: Cell, work: Work, stopped: Stopped = lambda: False) -> int | Cell:
    """Bytes that a plan expects the cell's networks to need in any scheme; or the cell with why it is not built."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        command = gen3dexport("plan", *cell.arguments, "--json")
        ended = run(command, work.environment, output, errors, stopped)
        output.seek(0)
        text = output.read().decode(errors="replace")
    try:
        said = json.loads(text)
    except ValueError:
        said = {}
    if ended.code == 0 and said.get("components"):
        float32 = (4 * c["parameters"] - c["bytes"] for c in said["components"])
        parts = (c["expected_peak_bytes"] for c in said["components"])
        return int(max(part + more for part, more in zip(parts, float32, strict=True)))
    if ended.code < 128 and "error" in said:
        return decided(cell, of_kind(said["error"], said["message"]))
    return decided(cell, GenExportError(f"gen3dexport plan ended with exit code {ended.code}: {text.strip()[-300:]}"))


def build_cell(
    cell: Cell,
    work: Work,
    estimated: int,
    where: str = "",
    stopped: Stopped = lambda: False,
    watch: Callable[[int], object] = lambda used: None,
) -> Result:
    """Build a cell into its bundle, and send that to the registry where one is named.

    Args:
        estimated: bytes that it is expected to need.
        where: the host, or the node of a cluster.
        watch: called with the bytes that its processes have.
    """
    place, where = work.place, where or platform.node()
    place.begin_attempt(cell.name, where)
    log = place.log(cell.name)
    out = str(place.bundle(cell.name))
    # One component at a time: cells run side by side, and the memory of a cell is that of its largest component.
    command = gen3dexport("build", *cell.arguments, "--jobs", "1", "-o", out)
    with log.open("wb") as stream:
        ended = run(command, work.environment, stream, stream, stopped, watch)
    found: dict[str, Any] = {
        "seconds": round(ended.seconds, 1),
        "peak_bytes": ended.peak_bytes or None,
        "estimated_bytes": estimated,
        "host": where,
        "attempts": place.attempts(cell.name),
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if ended.code == UsageError.exit_code:
        return cell.result("refused", ended.code, last_words(log, ended.code), **found)
    if stopped() or ended.code == INTERRUPTED:
        return cell.result("skipped", INTERRUPTED, "interrupted while it was built", **found)
    if ended.code not in (0, ACCURACY, COST, UNMEASURED):
        return cell.result("failed", ended.code, last_words(log, ended.code), **found)
    try:
        report = read_report(place.bundle(cell.name))
    except (GenExportError, OSError) as error:
        return cell.result("failed", ended.code or 1, f"{last_words(log, ended.code)}; {error}", **found)
    found["size_bytes"] = report.size_bytes
    if ended.code:
        return cell.result("failed", ended.code, missed(report), **found)
    result = cell.result("pass", unmeasured=_unmeasured(report), **found)
    return push_cell(cell, work, result, stopped) if work.push else result


def push_cell(cell: Cell, work: Work, result: Result, stopped: Stopped = lambda: False) -> Result:
    """The result with its bundle in the registry, or with why it is not there."""
    name, log = work.artifact(cell), work.place.log(f"{cell.name}.push")
    with log.open("wb") as stream:
        ended = run(gen3dexport("push", str(work.place.bundle(cell.name)), name), os.environ, stream, stream, stopped)
    if ended.code:
        why = f"built, but not pushed to {name}: {last_words(log, ended.code)}"
        return result.model_copy(update={"status": "failed", "exit_code": ended.code, "reason": why})
    return result.model_copy(update={"pushed": name})


def missed(report: Report) -> str:
    """Every budget that is missed, or could not be judged."""
    told = []
    for b in report.budgets:
        if b.verdict == "fail":
            told.append(f"{b.name}: {number(b.value)} {b.unit}".rstrip() + f", limit {number(b.limit)}")
        elif b.verdict == "unmeasured":
            told.append(f"{b.name}: unmeasured, {b.reason}")
    return "; ".join(told) or "no budget could be judged"


def _unmeasured(report: Report) -> str:
    """Why programs were not run, where they were not."""
    return next((c.missing for c in report.components if c.missing), "") or ""
