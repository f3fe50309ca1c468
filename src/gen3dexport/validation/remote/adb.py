"""An Android device behind the system's `adb`, with USB debugging on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import IO

from gen3dexport.errors import MissingError
from gen3dexport.validation.remote.address import Adb
from gen3dexport.validation.remote.machine import Ended, framed, unframed
from gen3dexport.validation.remote.ssh import refused

_REMEDIES = {
    "no devices": "connect one, with USB debugging on, and look at: adb devices",
    "more than one": "name one of `adb devices`: --device adb:SERIAL",
    "unauthorized": "unlock it and allow this computer to debug it",
    "offline": "connect it again, or restart it",
    "not found": "take a serial number of: adb devices",
    "cannot connect to daemon": "start adb's server: adb start-server",
}


@dataclass(frozen=True)
class AdbMachine:
    """See `Machine`."""

    address: Adb
    name: str
    kind: str = "adb"
    parent: str = "/data/local/tmp"
    wrapper: tuple[str, ...] = ()
    emulated: str | None = None

    def shell(self, script: str) -> Ended:
        """See `Machine`."""
        done = subprocess.run(
            self._command("shell", "-T", f"sh -c {quote(framed(script))}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        ended = unframed(done.stdout)
        if ended is None:
            raise self._unreachable(done.stderr or done.stdout, done.returncode)
        return ended

    def copy(self, files: Mapping[str, Path], place: str) -> None:
        """See `Machine`."""
        folders = sorted({f"{place}/{Path(name).parent}" for name in files if "/" in name})
        if folders and (ended := self.shell("mkdir -p " + " ".join(map(quote, folders)))).status:
            raise refused(self.name, place, ended.said)
        for name, file in files.items():
            command = self._command("push", str(file.resolve()), f"{place}/{name}")
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
            if done.returncode:
                said = done.stderr or done.stdout
                if any(words in said for words in _REMEDIES if words != "not found"):
                    raise self._unreachable(said, done.returncode)
                raise refused(self.name, place, said)
        programs = [f"{place}/{name}" for name, file in files.items() if file.stat().st_mode & 0o100]
        if programs and (ended := self.shell("chmod 755 " + " ".join(map(quote, programs)))).status:
            raise refused(self.name, place, ended.said)

    def start(self, script: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """See `Machine`."""
        pipe = subprocess.PIPE
        command = self._command("shell", "-T", f"sh -c {quote(script)}")
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors)

    def _command(self, *words: str) -> Sequence[str]:
        if shutil.which("adb") is None:
            raise MissingError("adb: not installed here; install it (Debian: apt-get install adb)")
        return ["adb", *(["-s", self.address.serial] if self.address.serial else []), *words]

    def _unreachable(self, said: str, code: int) -> MissingError:
        lines = [line.strip() for line in said.strip().splitlines() if line.strip() and not line.startswith("*")]
        reason = lines[0] if lines else f"adb ended with {code}"
        remedy = next((r for words, r in _REMEDIES.items() if words in said), "look at: adb devices")
        return MissingError(f"{self.name}: cannot be reached by adb ({reason}); {remedy}")
