"""How a process that ran programs ended: memory is told as memory, only a crash or a Python error as a bad bundle."""

from __future__ import annotations

import signal

import pytest

from gen3dexport.errors import GenExportError, MissingError, ProgramError, UnmeasuredError, VerificationError
from gen3dexport.runtime.child_end import MAKING, MEASURING, told

MEMORY = "terminate called after std::bad_alloc"


@pytest.mark.parametrize(
    ("code", "stderr", "measuring", "making", "words"),
    [
        (-signal.SIGKILL, "", UnmeasuredError, ProgramError, ["SIGKILL", "memory ran out"]),
        (-signal.SIGTERM, "", UnmeasuredError, ProgramError, ["SIGTERM", "from outside"]),
        (-signal.SIGSEGV, "", VerificationError, ProgramError, ["SIGSEGV", "crashed on a program", "build the bundle"]),
        (-signal.SIGABRT, MEMORY, UnmeasuredError, ProgramError, ["memory ran out"]),
        (-signal.SIGILL, "", MissingError, MissingError, ["SIGILL", "processor"]),
        (-64, "", VerificationError, ProgramError, ["SIGRTMAX"]),
        (1, "MemoryError: Unable to allocate 9 GiB", UnmeasuredError, ProgramError, ["memory ran out", "9 GiB"]),
        (1, "KeyError: 'x'", VerificationError, ProgramError, ["could not be loaded and run (exit 1)", "KeyError"]),
    ],
)
def test_the_end_is_named(
    code: int,
    stderr: str,
    measuring: type[GenExportError],
    making: type[GenExportError],
    words: list[str],
) -> None:
    for work, kind in ((MEASURING, measuring), (MAKING, making)):
        error = told("chair-maker", code, stderr, work)
        assert type(error) is kind and all(word in str(error) for word in ["chair-maker", *words])
        if work.lost in str(error):
            assert work.again in str(error)


def test_an_end_by_memory_says_what_to_do() -> None:
    assert "then: gen3dexport validate" in str(told("chair-maker", -signal.SIGKILL, ""))
