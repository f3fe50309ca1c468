"""A process that makes an asset: its progress, its end, its error in one line. Knows nothing of Blender."""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .bundle import Refused

PATIENCE_S = 5.0
"""A process that was asked to end has so long before it is ended."""
_KEPT = 100_000  # characters of what a process says
_PROGRESS = re.compile(r"(\d+) %\s+(\w*)")
# What gen3dexport ends with, however this process ends.
_PARENT = "GEN3DEXPORT_PARENT"


class Job:
    """A child process and the folder that it writes into.

    Attributes:
        folder: of this job alone; goes when the job is closed.
        progress: share of the work that is done, or None where the child does not tell it.
        doing: what the child works at, in a word or two.
        cancelled: whether it was asked to stop.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gen3dexport-"))
        self.progress: float | None = None
        self.doing = "starts"
        self.cancelled = False
        self._said = {"stdout": "", "stderr": ""}
        self._begin = time.monotonic()
        self._asked = 0.0
        self._name = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []

    def start(self, words: Sequence[str], threads: int = 0) -> None:
        """Start the child, in a group of processes of its own.

        Args:
            threads: that run programs; 0 leaves it to the runtime.

        Raises:
            Refused: when it cannot be started.
        """
        self._name = Path(words[0]).name
        windows = os.name == "nt"
        settings: dict[str, Any] = {"creationflags": 0x200} if windows else {"start_new_session": True}
        settings |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        settings["env"] = {**os.environ, _PARENT: str(os.getpid()), "PYTHONUTF8": "1"}
        if threads:
            settings["env"]["OMP_NUM_THREADS"] = str(threads)
        try:
            self._process = subprocess.Popen(words, **settings)
        except (OSError, ValueError) as error:
            raise Refused(f"{words[0]}: cannot be started ({error})") from error
        for name in self._said:
            self._readers.append(threading.Thread(target=self._read, args=(name,), daemon=True))
            self._readers[-1].start()

    def _read(self, name: str) -> None:
        assert self._process is not None
        stream = getattr(self._process, name)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := os.read(stream.fileno(), 4096):
            self._said[name] = (self._said[name] + decoder.decode(piece))[-_KEPT:]
            if name == "stderr" and (found := _PROGRESS.findall(self._said[name][-400:])):
                self.progress, self.doing = int(found[-1][0]) / 100, found[-1][1].replace("_", " ")

    @property
    def seconds(self) -> float:
        """Since the job began."""
        return time.monotonic() - self._begin

    def running(self) -> bool:
        """Whether the child lives; ends one that did not end when it was asked to."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            if self._asked and time.monotonic() - self._asked > PATIENCE_S:
                self._end(kill=True)
            return True
        for reader in self._readers:
            reader.join(1)
        return False

    def cancel(self) -> None:
        """Ask the child to end; `running` tells when it has."""
        if not self.cancelled and self.running():
            self.cancelled, self._asked, self.doing = True, time.monotonic(), "stops"
            self._end(kill=False)

    def _end(self, kill: bool) -> None:
        assert self._process is not None
        with suppress(OSError):
            if os.name == "nt":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, signal.SIGKILL if kill else signal.SIGTERM)

    def result(self) -> Mapping[str, Any]:
        """What a child that has ended says of the asset.

        Raises:
            Refused: with its error when it failed, or was cancelled.
        """
        assert self._process is not None
        code = self._process.returncode
        if self.cancelled:
            raise Refused("cancelled")
        if code != 0:
            raise Refused(self._error(code))
        try:
            told: Mapping[str, Any] = self._json()
            told["assets"][0]["path"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Refused(f"{self._name}: gave no result; is it gen3dexport or gen3d?") from error
        return told

    def _json(self) -> Any:
        """What it printed: one object, over many lines or on the last one."""
        text = self._said["stdout"].strip()
        try:
            return json.loads(text)
        except ValueError:
            return json.loads(text.splitlines()[-1] if text else "")

    def _error(self, code: int) -> str:
        """The child's error as one line."""
        with suppress(ValueError, KeyError, IndexError, TypeError):
            return one_line(self._json()["message"])
        lines = [line.strip() for line in re.split(r"[\r\n]+", self._said["stderr"]) if line.strip()]
        told = [line for line in lines if line.startswith("error: ")]
        if told:
            return one_line(told[-1].removeprefix("error: "))
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        return one_line(f"{self._name} {how}" + (f": {lines[-1]}" if lines else ""))

    def close(self) -> None:
        """End the child if it lives, and remove the folder."""
        if self._process is not None:
            if self._process.poll() is None:
                self._end(kill=True)
            self._process.wait()
            for reader in self._readers:
                reader.join(1)
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def one_line(text: str) -> str:
    """A message without line breaks."""
    return "; ".join(part.strip() for part in str(text).splitlines() if part.strip())
