"""A stand-in for adb's server with its devices: it speaks the protocol of the server's port to the real `adb` client.

The devices are this machine: their shell is `sh` here, and `/data/local/tmp` is a folder of the test, put in its place
in every command and name. What an Android system itself would do (its loader, its permissions) it cannot show.
Source of the protocol: AOSP, packages/modules/adb: OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT and shell_protocol.h.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

VERSION = 41
"""Of the protocol between client and server: a client of another version would start a server of its own."""
TMP = "/data/local/tmp"
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PROBLEMS = {
    "unauthorized": "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set",
    "offline": "device offline",
}


@dataclass
class Devices:
    """What the server has.

    Attributes:
        folder: in the place of /data/local/tmp; states: serial number -> device, unauthorized or offline.
        full: whether files are refused for want of space; seen: the services that were asked for.
    """

    folder: Path
    states: dict[str, str] = field(default_factory=lambda: {"emulator-5554": "device"})
    full: bool = False
    seen: list[str] = field(default_factory=list)
    port: int = 0

    def environment(self) -> dict[str, str]:
        """For a client of this server alone."""
        return {**os.environ, "ANDROID_ADB_SERVER_PORT": str(self.port)}


@contextmanager
def serving(folder: Path) -> Iterator[Devices]:
    """A server until the block ends."""
    folder.mkdir()
    (folder.parent / "bin").mkdir()
    getprop = folder.parent / "bin" / "getprop"
    getprop.write_text("#!/bin/sh\ncase $1 in ro.product.model) echo Phone 7;; *) echo Stand-in;; esac\n")
    getprop.chmod(0o755)
    devices = Devices(folder)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                _Connection(self.request, devices).serve()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        devices.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield devices
        finally:
            server.shutdown()
            thread.join()


class _Connection:
    def __init__(self, stream: socket.socket, devices: Devices) -> None:
        self.stream, self.devices = stream, devices

    def serve(self) -> None:
        """Host services end the connection, but for one that chooses a device, whose service comes next."""
        while True:
            service = self._exactly(int(self._exactly(4), 16)).decode()
            self.devices.seen.append(service)
            if not self._host(service):
                return

    def _host(self, service: str) -> bool:
        """Whether another service comes on this connection."""
        states = self.devices.states
        if service == "host:version":
            self._okay(f"{VERSION:04x}")
        elif service.startswith("host:devices"):
            self._okay("".join(f"{serial}\t{state}\n" for serial, state in states.items()))
        elif service.startswith(("host:tport:", "host:transport")) or service.endswith(":features"):
            problem = self._problem(self._wanted(service))
            if problem:
                self._fail(problem)
            elif service.endswith(":features"):
                self._okay("shell_v2,cmd")
            else:
                self.stream.sendall(b"OKAY" + (struct.pack("<Q", 1) if ":tport:" in service else b""))
                return True
        elif service.startswith("shell,"):
            self.stream.sendall(b"OKAY")
            self._shell(service.partition(":")[2])
        elif service == "sync:":
            self.stream.sendall(b"OKAY")
            self._sync()
        else:
            self._fail(f"unknown host service {service}")
        return False

    def _wanted(self, service: str) -> str | None:
        if service.startswith("host-serial:"):
            return service.removeprefix("host-serial:").removesuffix(":features")
        for start in ("host:tport:serial:", "host:transport:"):
            if service.startswith(start):
                return service.removeprefix(start)
        return None

    def _problem(self, serial: str | None) -> str | None:
        states = self.devices.states
        if serial is None:
            if len(states) != 1:
                return "more than one device/emulator" if states else "no devices/emulators found"
            serial = next(iter(states))
        if serial not in states:
            return f"device '{serial}' not found"
        return _PROBLEMS.get(states[serial])

    def _shell(self, command: str) -> None:
        own = f"{self.devices.folder.parent / 'bin'}:{os.environ['PATH']}"
        process = subprocess.Popen(
            ["sh", "-c", command.replace(TMP, str(self.devices.folder))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": own},
        )
        assert process.stdin and process.stdout and process.stderr
        lock = threading.Lock()

        def copy(pipe: int, kind: int) -> None:
            while piece := os.read(pipe, 65536):
                with lock, suppress(OSError):
                    self.stream.sendall(struct.pack("<BI", kind, len(piece)) + piece)

        outputs = [
            threading.Thread(target=copy, args=(pipe.fileno(), kind), daemon=True)
            for pipe, kind in ((process.stdout, _STDOUT), (process.stderr, _STDERR))
        ]
        stdin = threading.Thread(target=self._stdin, args=(process,), daemon=True)
        for thread in (*outputs, stdin):
            thread.start()
        for thread in outputs:
            thread.join()
        status = process.wait()
        self.stream.sendall(struct.pack("<BIB", _EXIT, 1, status & 255))

    def _stdin(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        with suppress(OSError, ConnectionError):
            while True:
                kind, length = struct.unpack("<BI", self._exactly(5))
                content = self._exactly(length)
                if kind == _STDIN:
                    process.stdin.write(content)
                    process.stdin.flush()
                elif kind == _CLOSE_STDIN:
                    break
        with suppress(OSError):
            process.stdin.close()

    def _sync(self) -> None:
        while True:
            kind, length = struct.unpack("<4sI", self._exactly(8))
            if kind == b"QUIT":
                return
            name = self._exactly(length).decode()
            if kind == b"STAT":
                self._stat(self._here(name))
            elif kind == b"SEND":
                self._receive(*name.rsplit(",", 1))
            else:
                self._sync_fail(f"unknown request {kind!r}")

    def _stat(self, path: Path) -> None:
        found = path.stat() if path.exists() else None
        values = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
        self.stream.sendall(b"STAT" + struct.pack("<III", *values))

    def _receive(self, name: str, mode: str) -> None:
        content = b""
        while True:
            kind, length = struct.unpack("<4sI", self._exactly(8))
            if kind == b"DONE":
                break
            content += self._exactly(length)
        if self.devices.full:
            self._sync_fail("couldn't write: No space left on device")
            return
        path = self._here(name)
        path.write_bytes(content)
        path.chmod(int(mode) & 0o777)
        self.stream.sendall(b"OKAY" + struct.pack("<I", 0))

    def _here(self, name: str) -> Path:
        return Path(name.replace(TMP, str(self.devices.folder)))

    def _sync_fail(self, reason: str) -> None:
        self.stream.sendall(b"FAIL" + struct.pack("<I", len(reason)) + reason.encode())

    def _okay(self, text: str) -> None:
        self.stream.sendall(b"OKAY" + f"{len(text):04x}{text}".encode())

    def _fail(self, reason: str) -> None:
        self.stream.sendall(b"FAIL" + f"{len(reason):04x}{reason}".encode())

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.stream.recv(count - len(content))
            if not piece:
                raise ConnectionError
            content += piece
        return content
