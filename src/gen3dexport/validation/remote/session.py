"""A bundle on a device, its runner answering there, and nothing of both when the block ends."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import IO, Any

import numpy as np

from gen3dexport.bundle.manifest import Manifest
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.errors import GenExportError, UnmeasuredError, UsageError, VerificationError, of_kind
from gen3dexport.runtime import child_end
from gen3dexport.validation.remote.machine import ENDED, PID, Machine, answering
from gen3dexport.validation.remote.probe import Probed
from gen3dexport.validation.remote.runner import Runner
from gen3dexport.validation.remote.ssh import refused

NEEDED = ("programs/", "host/")
"""Folders of a bundle that a device gets, beside the manifest; golden data goes there call by call."""
_GREETINGS = 200  # lines that a login shell may say first
_SPARE = 2**20  # bytes left free on the device
_WORK = child_end.Work(
    "nothing was measured", "gen3dexport validate BUNDLE --device ADDRESS", UnmeasuredError, VerificationError
)


@dataclass
class Session:
    """The runner's process on a device.

    Attributes:
        machine, device: how it is reached, and what it is.
        versions: of the runner and its runtime.
    """

    machine: Machine
    device: Probed
    bundle: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    versions: dict[str, str] = field(default_factory=dict)

    def greet(self) -> None:
        """Read what the runner says when it is ready, after whatever the shell there says first."""
        for _ in range(_GREETINGS):
            line = self._line()
            with suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict) and ("gen3d" in told or "error" in told):
                    self._raise(told)
                    self.versions = {name: str(told[name]) for name in ("gen3d", "executorch")}
                    return
        raise self._lost("it is no runner that answers")

    def ask(self, question: Mapping[str, Any], content: Sequence[np.ndarray] = ()) -> tuple[dict[str, Any], bytes]:
        """The answer to a question, and the bytes behind it.

        Raises:
            GenExportError: the runner's error, by its class; how its process was killed.
        """
        pieces = [np.ascontiguousarray(array).tobytes() for array in content]
        line = json.dumps({**question, "bytes": sum(map(len, pieces))}).encode() + b"\n"
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            for piece in (line, *pieces):
                self.process.stdin.write(piece)
            self.process.stdin.flush()
        except OSError:
            raise self._lost("the connection was closed") from None
        try:
            told = json.loads(self._line())
            count = int(told["bytes"])
        except (ValueError, LookupError, TypeError):
            raise self._lost("an answer cannot be read") from None
        self._raise(told)
        found = self.process.stdout.read(count)
        if len(found) != count:
            raise self._lost("an answer ends too early")
        return told, found

    def ended(self) -> int | None:
        """The exit status of the runner as its shell told it; None where the connection went first."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        _, found, status = self._said().rpartition(ENDED)
        return int(status.strip()) if found and status.strip().isdigit() else None

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._lost("the connection ended")
        return line

    def _said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").replace("\r", "")

    def _raise(self, told: Mapping[str, Any]) -> None:
        if "error" in told:
            raise of_kind(str(told["error"]), f"{self.machine.name}: {told.get('message', '')}")

    def _lost(self, reason: str) -> GenExportError:
        """Why there is no answer: how the process was killed, that it cannot run there, or that the way is gone."""
        status, said = self.ended(), self._said().rpartition(ENDED)
        tail = (said[0] or said[2]).strip()
        if status is None:
            return UnmeasuredError(
                f"{self.machine.name}: {reason}; nothing was measured ({tail[-500:] or 'no reason given'})"
            )
        where = f"{self.bundle} on {self.machine.name}"
        if status in (126, 127):
            return UsageError(
                f"{self.machine.name}: the runner cannot be run there ({tail[-500:]}); build one for this system "
                "(--runner), or name a folder whose files may be executed"
            )
        return child_end.told(where, 128 - status if status > 128 else status, tail, _WORK)


@contextmanager
def on_device(machine: Machine, device: Probed, runner: Runner, folder: Path, manifest: Manifest) -> Iterator[Session]:
    """Copy a runner and a bundle to a folder of their own on a device, start the runner, and remove all of it again.

    Raises:
        UsageError: when there is no space for them, or no permission.
        MissingError: when the device cannot be reached.
    """
    files = {f"bundle/{MANIFEST}": folder / MANIFEST}
    files |= {f"bundle/{name}": folder / name for name in manifest.files if name.startswith(NEEDED)}
    files |= {f"runner/{name}": file for name, file in runner.files.items()}
    size = sum(file.stat().st_size for file in files.values()) + _SPARE
    if device.free is not None and device.free < size:
        raise UsageError(
            f"{machine.name}: no space left there for the bundle: {device.folder} has {device.free / 1e6:.0f} MB free, "
            f"and runner and bundle take {size / 1e6:.0f} MB; free some, or name another folder"
        )
    place = f"{device.folder}/gen3dexport-{secrets.token_hex(8)}"
    made = machine.shell(f"umask 077; mkdir {quote(place)}")
    if made.status:
        raise refused(machine.name, place, made.said)
    session: Session | None = None
    try:
        machine.copy(files, place)
        threads = str(manifest.target["measure"]["threads"])
        own = runner.words(f"{place}/runner")
        words = [quote(word) for word in (*machine.wrapper, *own, "answer", f"{place}/bundle", "--threads", threads)]
        with tempfile.TemporaryFile() as errors, _process(machine, answering(quote(place), words), errors) as process:
            session = Session(machine, device, str(folder), process, errors)
            session.greet()
            yield session
            assert process.stdin is not None
            process.stdin.close()
            session.ended()
    finally:
        _clear(machine, place)


@contextmanager
def _process(machine: Machine, script: str, errors: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The way's own process here; its standard error goes to a file, so that it never waits for a reader."""
    process = machine.start(script, errors)
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)
        process.kill()
        process.wait()


def _clear(machine: Machine, place: str) -> None:
    """End what still runs there and remove the folder; a device that is gone keeps it, and the user is told."""
    there = quote(place)
    running = (
        f"for p in $(cat {there}/{PID} 2>/dev/null); do "
        f"case $(tr '\\0' ' ' </proc/$p/cmdline 2>/dev/null) in *{there}/*) kill -9 $p;; esac; done"
    )
    try:
        done = machine.shell(f"{running}; rm -rf {there} && [ ! -e {there} ]")
    except GenExportError as error:
        warnings.warn(f"{place} may be left on the device: {error}", stacklevel=2)
        return
    if done.status:
        warnings.warn(f"{machine.name}: {place} could not be removed ({done.said.strip()[-300:]})", stacklevel=2)
