"""How a measuring process ended without an answer: whose fault that was, and what to do."""

from __future__ import annotations

import signal

from gen3dexport.errors import GenExportError, MissingError, UnmeasuredError, VerificationError

_MEMORY = ("MemoryError", "can't allocate memory", "std::bad_alloc", "Cannot allocate memory")
_ROOM = (
    "free memory or use a machine with more of it, then: gen3dexport validate BUNDLE; the bundle's programs and "
    "golden data are as they were written"
)


def told(bundle: str, code: int, stderr: str) -> GenExportError:
    """The error for a child that ended with an exit code (below 0: minus the number of a signal).

    A bundle is called damaged only where its programs can have been the cause: a crash in its runtime, or a Python
    error that is not about memory.
    """
    tail = "\n  ".join(stderr.strip().splitlines()[-12:])
    said = f":\n  {tail}" if tail else ""
    if any(word in stderr for word in _MEMORY):
        return UnmeasuredError(f"{bundle}: nothing was measured, for memory ran out{said}\n{_ROOM}")
    if code >= 0:
        return VerificationError(f"{bundle}: a program could not be loaded and run (exit {code}){said}")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    killed = f"{bundle}: the process that ran its programs was killed by {name}"
    if name == "SIGKILL":
        return UnmeasuredError(
            f"{killed}, most likely by the system because memory ran out (`dmesg` or the container's limits tell); "
            f"nothing was measured{said}\n{_ROOM}"
        )
    if name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU"):
        return UnmeasuredError(f"{killed} from outside; nothing was measured, validate the bundle again{said}")
    if name == "SIGILL":
        return MissingError(
            f"{killed}: a program uses instructions that this processor lacks; build it for this machine, or run it on "
            f"one like that which built it{said}"
        )
    return VerificationError(f"{killed}: its runtime crashed on a program; build the bundle again{said}")
