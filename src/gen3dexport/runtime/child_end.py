"""How a process that ran a bundle's programs ended without an answer: whose fault that was, and what to do."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from gen3dexport.errors import (
    GenExportError,
    MissingError,
    ProgramError,
    UnmeasuredError,
    VerificationError,
)

_MEMORY = ("MemoryError", "can't allocate memory", "std::bad_alloc", "Cannot allocate memory")


@dataclass(frozen=True)
class Work:
    """What the process was to do.

    Attributes:
        lost: what there is none of; again: the command or call that does it once more.
        stopped: the error where the bundle is as it was written; crashed: where its programs can have been the cause.
    """

    lost: str
    again: str
    stopped: type[GenExportError]
    crashed: type[VerificationError]


MEASURING = Work("nothing was measured", "gen3dexport validate BUNDLE", UnmeasuredError, VerificationError)
MAKING = Work("no asset was made", "make the asset again", ProgramError, ProgramError)


def told(bundle: str, code: int, stderr: str, work: Work = MEASURING) -> GenExportError:
    """The error for a child that ended with an exit code (below 0: minus the number of a signal).

    A bundle is called damaged only where its programs can have been the cause: a crash in its runtime, or a Python
    error that is not about memory.
    """
    tail = "\n  ".join(stderr.strip().splitlines()[-12:])
    said = f":\n  {tail}" if tail else ""
    room = (
        f"free memory or use a machine with more of it, then: {work.again}; the bundle's programs and golden data are "
        "as they were written"
    )
    if any(word in stderr for word in _MEMORY):
        return work.stopped(f"{bundle}: {work.lost}, for memory ran out{said}\n{room}")
    if code >= 0:
        return work.crashed(
            f"{bundle}: a program could not be loaded and run (exit {code}); build the bundle again{said}"
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    killed = f"{bundle}: the process that ran its programs was killed by {name}"
    if name == "SIGKILL":
        return work.stopped(
            f"{killed}, most likely by the system because memory ran out (`dmesg` or the container's limits tell); "
            f"{work.lost}{said}\n{room}"
        )
    if name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU"):
        return work.stopped(f"{killed} from outside; {work.lost}. Once more: {work.again}{said}")
    if name == "SIGILL":
        return MissingError(
            f"{killed}: a program uses instructions that this processor lacks; build it for this machine, or run it on "
            f"one like that which built it{said}"
        )
    return work.crashed(f"{killed}: its runtime crashed on a program; build the bundle again{said}")
