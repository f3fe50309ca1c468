"""What a way to another machine offers, and a shell there that says how what it ran has ended."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

_BEGUN, ENDED = "gen3dexport-begun", "gen3dexport-ended:"
"""What the shell says before and after a script: shells greet, and some clients lose the exit status."""
PID = "process"
"""The file in the folder there that holds the number of the process that answers."""


@dataclass(frozen=True)
class Ended:
    """How a script has ended there; `said` on its standard output and error."""

    status: int
    said: str


class Machine(Protocol):
    """A way to a machine."""

    @property
    def name(self) -> str:
        """As the user gave it."""

    @property
    def kind(self) -> str:
        """How it is reached, for the report."""

    @property
    def parent(self) -> str:
        """What the shell there reads as the folder for the temporary one."""

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Words before a program's own there."""

    @property
    def emulated(self) -> str | None:
        """Why its times mean nothing, or None."""

    def shell(self, script: str) -> Ended:
        """Run a script of the shell there.

        Raises:
            MissingError: when the machine cannot be reached, for what reason.
        """

    def copy(self, files: Mapping[str, Path], place: str) -> None:
        """Copy files to their places below a folder there, which is there.

        Raises:
            UsageError: when there is no space for them, or no permission.
        """

    def start(self, script: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a script there; its standard input and output are pipes, its standard error goes to a file."""


def framed(script: str) -> str:
    """A script that says when it begins and how it has ended."""
    return f"echo {_BEGUN}; ( {script} ) 2>&1; echo {ENDED}$?"


def unframed(output: str) -> Ended | None:
    """What a framed script said; None where it did not come to its end."""
    _, begun, rest = output.replace("\r\n", "\n").partition(_BEGUN + "\n")
    said, ended, status = rest.rpartition(ENDED)
    digits = status.strip()
    return Ended(int(digits), said) if begun and ended and digits.isdigit() else None


def answering(place: str, words: Sequence[str]) -> str:
    """The script of a process that answers over its standard input and output, the shell's own, and can be ended by its
    number. `words` and `place` are quoted for the shell."""
    run = " ".join(words)
    return f"cd {place} && exec 3<&0 && {{ {run} <&3 3<&- & echo $! >{PID}; wait $!; echo {ENDED}$? >&2; }}"
