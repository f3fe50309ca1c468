"""What `--device` names: a machine behind ssh, an Android device behind adb, or an emulated processor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from gen3dexport.errors import UsageError

FORMS = "ssh://[user@]host[:port][/folder], adb[:SERIAL] or qemu:CPU"
"""The forms that an address has."""

# No name may begin like an option of ssh or adb, or hold what a shell reads.
_PLACE = re.compile(r"(?:(?P<user>[^@]*)@)?(?:\[(?P<six>[^]]*)\]|(?P<host>[^:]*))(?::(?P<port>\d{1,5}))?")
_HOST = re.compile(r"[A-Za-z0-9_:%][A-Za-z0-9._:%-]{0,254}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SERIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{0,199}")
_CPU = re.compile(r"[a-z0-9][a-z0-9._,=-]{0,99}")


@dataclass(frozen=True)
class Ssh:
    """A machine behind ssh; `folder` is where its temporary folder is made, None for the machine's own choice."""

    host: str
    user: str | None = None
    port: int | None = None
    folder: str | None = None


@dataclass(frozen=True)
class Adb:
    """An Android device; None for the only one."""

    serial: str | None = None


@dataclass(frozen=True)
class Emulated:
    """An ARM64 processor that QEMU emulates here."""

    cpu: str


Address = Ssh | Adb | Emulated


def parse_address(text: str) -> Address:
    """The address that a text says.

    Raises:
        UsageError: when it is none.
    """
    if text.startswith("ssh://"):
        return _ssh(text)
    kind, colon, rest = text.partition(":")
    if kind == "adb" and (not colon or _SERIAL.fullmatch(rest)):
        return Adb(rest or None)
    if kind == "qemu" and _CPU.fullmatch(rest):
        if rest.split(",")[0] == "max" and "sme=off" not in rest:
            raise UsageError(
                f"--device {text}: QEMU computes int8 matrix products wrongly with SME, which `max` has; use "
                "qemu:cortex-a76, or qemu:max,sme=off"
            )
        return Emulated(rest)
    raise UsageError(f"--device {text}: unknown; give {FORMS}, e.g. ssh://pi@board, adb, qemu:cortex-a76")


def _ssh(text: str) -> Ssh:
    parts = urlsplit(text)
    found = _PLACE.fullmatch(parts.netloc)
    user, host, port = (found["user"], found["six"] or found["host"], found["port"]) if found else (None, "", None)
    if user is not None and not _USER.fullmatch(user):
        remedy = "give a key, no password" if ":" in user else f"give {FORMS}"
        raise UsageError(f"--device: {user.partition(':')[0]!r}: no name of a user for ssh; {remedy}")
    if not _HOST.fullmatch(host or "") or parts.query or parts.fragment or int(port or 1) not in range(1, 2**16):
        raise UsageError(f"--device {text}: no host and port for ssh in it; give {FORMS}")
    folder = unquote(parts.path)
    if any(ord(c) < 32 for c in folder):
        raise UsageError("--device: a folder's name holds a control character")
    return Ssh(host, user, int(port) if port else None, folder if folder.strip("/") else None)
