"""A real ssh server of this machine on a high port of the loopback, with its own keys; it reads nothing of the user."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
"""The server, where it is installed."""
_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile {folder}/pid
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AcceptEnv TMPDIR
Subsystem sftp internal-sftp
"""
_CLIENT = """\
Host *
 IdentityFile {folder}/user
 IdentitiesOnly yes
 IdentityAgent none
 UserKnownHostsFile {folder}/known
 GlobalKnownHostsFile none
 StrictHostKeyChecking yes
 SendEnv TMPDIR
"""


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        port: on 127.0.0.1; folder: of its keys and files; bin: a folder for PATH whose `ssh` reads this server's own
            configuration of the client and hands the rest to the system's `ssh`.
    """

    port: int
    folder: Path
    bin: Path

    @property
    def address(self) -> str:
        """Of `--device`."""
        return f"ssh://127.0.0.1:{self.port}"

    def forget_key(self) -> None:
        """The client no longer has a key that the server takes."""
        (self.folder / "user").unlink()
        _key(self.folder / "user")
        (self.folder / "user.pub").write_text("")


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server until the block ends."""
    assert SSHD is not None
    folder.mkdir(parents=True)
    for name in ("host", "user"):
        _key(folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    public = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    (folder / "server").write_text(_SERVER.format(port=port, folder=folder))
    (folder / "client").write_text(_CLIENT.format(folder=folder))
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/client "$@"\n')
    wrapper.chmod(0o755)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # OpenSSH's folder of privilege separation
    command = [SSHD, "-D", "-e", "-f", str(folder / "server")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(port, process, folder / "log")
        yield Server(port, folder, folder / "bin")
    finally:
        process.terminate()
        process.wait()


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
