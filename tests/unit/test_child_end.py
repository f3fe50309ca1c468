"""How a measuring process ended: memory is told as memory, and only a crash or a Python error as a bad bundle."""

from __future__ import annotations

import signal

import pytest

from gen3dexport.errors import GenExportError, MissingError, UnmeasuredError, VerificationError
from gen3dexport.validation.child_end import told


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "words"),
    [
        (-signal.SIGKILL, "", UnmeasuredError, ["SIGKILL", "memory ran out", "gen3dexport validate"]),
        (-signal.SIGTERM, "", UnmeasuredError, ["SIGTERM", "from outside"]),
        (-signal.SIGSEGV, "", VerificationError, ["SIGSEGV", "crashed on a program", "build the bundle again"]),
        (-signal.SIGABRT, "terminate called after std::bad_alloc", UnmeasuredError, ["memory ran out"]),
        (-signal.SIGILL, "", MissingError, ["SIGILL", "processor"]),
        (-64, "", VerificationError, ["SIGRTMAX"]),
        (1, "MemoryError: Unable to allocate 9 GiB", UnmeasuredError, ["memory ran out", "9 GiB"]),
        (1, "KeyError: 'x'", VerificationError, ["could not be loaded and run (exit 1)", "KeyError"]),
    ],
)
def test_the_end_is_named(code: int, stderr: str, kind: type[GenExportError], words: list[str]) -> None:
    error = told("chair-maker", code, stderr)
    assert type(error) is kind and all(word in str(error) for word in ["chair-maker", *words])
