"""Names of artifacts in registries: `HOST[:PORT]/NAME:TAG` or `HOST[:PORT]/NAME@sha256:DIGEST`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gen3dexport.errors import UsageError

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    r"(?P<host>localhost(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?|[A-Za-z0-9-]+:\d+)"
    rf"/(?P<name>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))",
    re.ASCII,
)
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ArtifactName:
    """Where an artifact lies.

    Attributes:
        host: of the registry, with its port.
        name: of the repository there.
        version: the tag, or the digest with its `sha256:`.
    """

    host: str
    name: str
    version: str

    def __str__(self) -> str:
        sign = "@" if self.version.startswith("sha256:") else ":"
        return f"{self.host}/{self.name}{sign}{self.version}"

    @property
    def local(self) -> bool:
        """Whether the registry is on this machine, where plain HTTP is the custom."""
        return re.sub(r":\d+$", "", self.host) in _LOCAL


def read_name(text: str) -> ArtifactName:
    """The name that a text is.

    Raises:
        UsageError: when it is none; the text is not repeated where it may hold a password.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        shown = "the name of the artifact" if "@" in text.partition("/")[0] else repr(text)
        raise UsageError(
            f"{shown}: write HOST[:PORT]/NAME:TAG, in small letters, e.g. 127.0.0.1:5000/chairs/chair-maker:1; no user "
            "and no password: they come from Docker's configuration or the environment"
        )
    return ArtifactName(found["host"], found["name"], found["tag"] or found["digest"])
