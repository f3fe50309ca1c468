"""What became of a cell: its status, what it took, and the exit code of a whole matrix."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from gen3dexport.documents.record import Record

Status = Literal["pass", "refused", "failed", "skipped"]
STATUSES: tuple[Status, ...] = ("pass", "refused", "failed", "skipped")
INTERRUPTED = 130
MISSING_NODE = "no node of the cluster is left; start another one, and the same command again"


class Result(Record):
    """What became of a cell.

    Attributes:
        name: of the cell and of its bundle, RECIPE-TARGET.
        digest: of all that goes into the cell.
        status: pass (built, and no budget is missed), refused (the plan says no), failed, skipped (not tried: a package
            or memory is missing here, or the matrix was stopped).
        exit_code: of the command that decided it; 0 where it passed, or where the target takes no such scheme.
        reason: why it is no pass, in the words of that command.
        unmeasured: why no device ran the programs that were built, where none did.
        seconds: of the build; size_bytes: of programs and weights; peak_bytes: of the build's processes together,
            measured each second; estimated_bytes: what it was expected to need.
        host: where it was built; attempts: how often its build was begun, on which hosts or nodes.
        built: when, in ISO form.
        pushed: the artifact in a registry.
    """

    name: str
    recipe: str
    target: str
    digest: str
    status: Status
    exit_code: int = 0
    reason: str = ""
    unmeasured: str = ""
    seconds: float | None = None
    size_bytes: int | None = None
    peak_bytes: int | None = None
    estimated_bytes: int | None = None
    host: str = ""
    attempts: tuple[str, ...] = ()
    built: str = ""
    pushed: str = ""


def exit_code(results: Iterable[Result]) -> int:
    """0 when every cell passed or its target takes no such scheme, else the largest code of a cell."""
    return max((r.exit_code for r in results), default=0)


def counted(results: Iterable[Result]) -> str:
    """How many cells have each status, in words."""
    found = [r.status for r in results]
    return ", ".join(f"{found.count(status)} {status}" for status in STATUSES if status in found) or "no cells"
