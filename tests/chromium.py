"""Chromium without a window, driven over its DevTools pipe: no package and no port.

Source: the Chrome DevTools Protocol; with `--remote-debugging-pipe`, messages are JSON with a NUL behind each, which
Chromium reads from file 3 and writes to file 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
)  # fmt: skip


class Page:
    """A page of a Chromium of its own.

    Attributes:
        console: errors and warnings that the page and the browser wrote, oldest first.
    """

    def __init__(self, width: int = 1100, height: int = 700, flags: tuple[str, ...] = ()) -> None:
        self.console: list[str] = []
        self._profile = tempfile.TemporaryDirectory(prefix="gen3dexport-chromium-")
        (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
        window = (f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "--remote-debugging-pipe")
        # The shell puts the pipes where Chromium looks for them, whatever numbers they have here.
        script = f'exec "$@" 3<&{to_read} 4>&{from_write} 2>/dev/null'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", str(CHROMIUM), *FLAGS, *window, *flags, "about:blank"],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        self._to, self._from, self._buffer, self._count, self._session = to_write, from_read, b"", 0, ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        for _ in range(50):  # its other processes write on for a moment
            try:
                self._profile.cleanup()
                return
            except OSError:
                time.sleep(0.1)

    def go(self, address: str) -> None:
        """Open an address and wait for what its page names; what its scripts ask for may come later."""
        self._ask("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """What an expression, or the promise that it is, comes to.

        Raises:
            RuntimeError: with the script's own error.
        """
        found = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", found["exceptionDetails"])))
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true; a TimeoutError with the page's text otherwise."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := self.value(script):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{script} after {seconds} s: {self.value('document.body.innerText')}; {self.console}")

    def picture(self, path: Path) -> None:
        """Write what is seen as .png."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _read(self, seconds: float = 120) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], seconds)[0]:
                raise TimeoutError(f"Chromium says nothing for {seconds} s")
            piece = os.read(self._from, 2**20)
            if not piece:
                raise RuntimeError("Chromium has ended")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event.get("method") == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        if event.get("method") == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning"):
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in given["args"]))
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(given["exceptionDetails"].get("exception", {}).get("description")))
