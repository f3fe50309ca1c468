"""A machine behind the system's `ssh`: the user's own keys, agent, known hosts and configuration."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import IO

from gen3dexport.errors import GenExportError, MissingError, UsageError
from gen3dexport.validation.remote.address import Ssh
from gen3dexport.validation.remote.machine import Ended, framed, unframed

_OPTIONS = ("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4", "LogLevel=ERROR")
_REMEDIES = {
    "Permission denied": "let it take your key: ssh-copy-id, or an entry in ~/.ssh/config; passwords are not asked for",
    "Host key verification failed": "connect once by hand and accept its key, or correct ~/.ssh/known_hosts",
    "Could not resolve hostname": "check the name of the host",
    "Connection refused": "check the port, and that an ssh server runs there",
    "Connection timed out": "check the address, and that the machine is on and reachable",
    "No route to host": "check the address, and that the machine is on and reachable",
    "Too many authentication failures": "name one key in ~/.ssh/config (IdentityFile, IdentitiesOnly yes)",
}
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


@dataclass(frozen=True)
class SshMachine:
    """See `Machine`."""

    address: Ssh
    name: str
    kind: str = "ssh"
    wrapper: tuple[str, ...] = ()
    emulated: str | None = None

    @property
    def parent(self) -> str:
        """Where the temporary folder is made."""
        return quote(self.address.folder) if self.address.folder else '"${TMPDIR:-/tmp}"'

    def shell(self, script: str) -> Ended:
        """See `Machine`."""
        done = subprocess.run(
            self._command(framed(script)), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        ended = unframed(done.stdout)
        if ended is None:
            raise self._unreachable(done.stderr or done.stdout, done.returncode)
        return ended

    def copy(self, files: Mapping[str, Path], place: str) -> None:
        """See `Machine`. One stream of tar, so that every name and its permissions come in one connection."""
        command = self._command(framed(f"cd {quote(place)} && tar -xf -"))
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
            assert process.stdin is not None
            try:
                with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.GNU_FORMAT) as archive:
                    for name, file in files.items():
                        archive.add(file.resolve(), name, filter=_plain)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended, and says why
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            output.seek(0)
            said = output.read().decode(errors="replace")
        ended = unframed(said)
        if ended is None:
            raise self._unreachable(said, process.returncode)
        if ended.status:
            raise refused(self.name, place, ended.said)

    def start(self, script: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """See `Machine`."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self._command(script), stdin=pipe, stdout=pipe, stderr=errors)

    def _command(self, script: str) -> list[str]:
        """ssh's words. What it gives the machine's login shell is one word for `sh`, whichever shell that is."""
        if shutil.which("ssh") is None:
            raise MissingError(
                "ssh: not installed here; install an OpenSSH client (Debian: apt-get install openssh-client)"
            )
        address = self.address
        options = [word for option in _OPTIONS for word in ("-o", option)]
        port = ["-p", str(address.port)] if address.port else []
        user = ["-l", address.user] if address.user else []
        return ["ssh", "-T", *options, *port, *user, "--", address.host, f"sh -c {quote(script)}"]

    def _unreachable(self, said: str, code: int) -> GenExportError:
        last = [line.strip() for line in said.strip().splitlines() if line.strip()][-4:]
        reason = "; ".join(last) or f"ssh ended with {code}"
        remedy = next((r for words, r in _REMEDIES.items() if words in said), "try by hand: ssh with the same address")
        return MissingError(f"{self.name}: cannot be reached by ssh ({reason}); {remedy}")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A file without its owner here."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member


def refused(name: str, place: str, said: str) -> UsageError:
    """Why files could not be written there."""
    last = "; ".join(line.strip() for line in said.strip().splitlines()[-3:])
    if any(words in said for words in _FULL):
        return UsageError(
            f"{name}: no space left there for the bundle in {place} ({last}); free some, or name another folder"
        )
    return UsageError(f"{name}: {place} cannot be written there ({last}); name another folder")
