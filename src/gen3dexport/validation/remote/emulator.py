"""An ARM64 processor that QEMU's user mode emulates here: numbers as that processor computes them, and no times."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import IO

from gen3dexport.errors import MissingError
from gen3dexport.validation.remote.address import Emulated
from gen3dexport.validation.remote.machine import Ended
from gen3dexport.validation.remote.ssh import refused

_PROGRAMS = ("qemu-aarch64-static", "qemu-aarch64")


@dataclass(frozen=True)
class EmulatedMachine:
    """See `Machine`."""

    address: Emulated
    name: str
    kind: str = "emulated"

    @property
    def parent(self) -> str:
        """Where the temporary folder is made."""
        return quote(tempfile.gettempdir())

    @property
    def emulated(self) -> str:
        """Why its times mean nothing."""
        return (
            f"{self.name} is emulated by QEMU, whose times are no device's; measure on one: --device ssh://HOST or adb"
        )

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The emulator.

        Raises:
            MissingError: when it is not installed.
        """
        program = next((p for p in _PROGRAMS if shutil.which(p)), None)
        if program is None:
            raise MissingError("qemu-aarch64: not installed here (Debian: apt-get install qemu-user-static)")
        return program, "-cpu", self.address.cpu

    def shell(self, script: str) -> Ended:
        """See `Machine`."""
        done = subprocess.run(
            ["sh", "-c", f"( {script} ) 2>&1"], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return Ended(done.returncode, done.stdout)

    def copy(self, files: Mapping[str, Path], place: str) -> None:
        """See `Machine`."""
        try:
            for name, file in files.items():
                target = Path(place) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
        except OSError as error:
            raise refused(self.name, place, str(error)) from error

    def start(self, script: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """See `Machine`."""
        pipe = subprocess.PIPE
        return subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe, stderr=errors)
