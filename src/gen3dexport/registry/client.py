"""The OCI distribution protocol over HTTP: blobs and manifests of one repository, with digests that are checked."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from gen3dexport.errors import MissingError, UsageError, VerificationError
from gen3dexport.registry.credentials import PASSWORD, USER, Credentials, credentials
from gen3dexport.registry.names import ArtifactName

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CERTIFICATES = "REQUESTS_CA_BUNDLE"
"""Environment variable with a file of certificates (PEM) that vouch for registries."""
_LARGEST_MANIFEST = 4 * 2**20  # what registries take
_PIECE = 2**20
_TIMEOUT = (20, 300)  # seconds to connect, and between two pieces
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Repository:
    """One repository of a registry.

    Attributes:
        name: of the artifact that is asked for.
        base: address of the repository.
    """

    def __init__(self, name: ArtifactName, plain_http: bool | None = None) -> None:
        """Nothing is sent yet.

        Args:
            plain_http: without encryption; None: where the registry is on this machine.
        """
        self.name = name
        self._scheme = "http" if (name.local if plain_http is None else plain_http) else "https"
        self.base = f"{self._scheme}://{name.host}/v2/{name.name}"
        self._session = requests.Session()
        if self._scheme == "https":
            del self._session.adapters["http://"]  # no answer leads to where others read along, or answer instead
        self._authorization: str | None = None

    def has_blob(self, digest: str) -> bool:
        """Whether the registry has a blob already."""
        with self._call("HEAD", f"{self.base}/blobs/{digest}", "pull,push", missing_is_fine=True) as answer:
            return bool(answer.ok)

    def put_blob(self, digest: str, content: bytes | Path) -> None:
        """Send a blob, if the registry has none of its digest.

        Raises:
            MissingError: when the registry does not take it.
        """
        if self.has_blob(digest):
            return
        with self._call("POST", f"{self.base}/blobs/uploads/", "pull,push") as answer:
            where = answer.headers.get("Location")
            if where is None:
                raise MissingError(f"{self.name}: the registry names no place for a file; is it an OCI registry?")
            place = urljoin(str(answer.url), where)
        place += ("&" if urlsplit(place).query else "?") + f"digest={digest}"
        octets = {"Content-Type": "application/octet-stream"}
        if isinstance(content, Path) and not content.stat().st_size:
            content = b""  # requests sends an empty stream in chunks, which registries do not take
        if isinstance(content, bytes):
            with self._call("PUT", place, "pull,push", data=content, headers=octets):
                return
        with content.open("rb") as stream, self._call("PUT", place, "pull,push", data=stream, headers=octets):
            return

    def put_manifest(self, content: bytes) -> None:
        """Send a manifest under the artifact's tag.

        Raises:
            MissingError: when the registry does not take it.
        """
        where = f"{self.base}/manifests/{self.name.version}"
        with self._call("PUT", where, "pull,push", data=content, headers={"Content-Type": MANIFEST_TYPE}):
            return

    def manifest(self) -> bytes:
        """The manifest of the artifact; of a digest, checked.

        Raises:
            MissingError: when the registry does not give it.
            VerificationError: when it has another digest, or is too large to be one.
        """
        where = f"{self.base}/manifests/{self.name.version}"
        with self._call("GET", where, "pull", headers={"Accept": MANIFEST_TYPE}, stream=True) as answer:
            content = b"".join(self._pieces(answer, _LARGEST_MANIFEST))
        asked = self.name.version
        if asked.startswith("sha256:") and digest_of(content) != asked:
            raise VerificationError(f"{self.name}: the registry gave a manifest of another digest; pull it again")
        return content

    def get_blob(self, digest: str, size: int, path: Path) -> None:
        """Write a blob into a new file.

        Raises:
            MissingError: when the registry does not give it.
            VerificationError: when it has another size or digest.
        """
        found, count = hashlib.sha256(), 0
        with self._call("GET", f"{self.base}/blobs/{digest}", "pull", stream=True) as answer, path.open("xb") as stream:
            for piece in self._pieces(answer, size):
                found.update(piece)
                count += len(piece)
                stream.write(piece)
        if count != size or f"sha256:{found.hexdigest()}" != digest:
            raise VerificationError(f"{self.name}: blob {digest}: the registry gave other bytes; pull it again")

    def _pieces(self, answer: requests.Response, most: int) -> Iterator[bytes]:
        """What an answer holds, piece by piece, never more than it may.

        Raises:
            MissingError: when the connection breaks.
            VerificationError: when there is more.
        """
        count = 0
        try:
            for piece in answer.iter_content(_PIECE):
                count += len(piece)
                if count > most:
                    raise VerificationError(f"{self.name}: the registry gave more bytes than it said; pull it again")
                yield piece
        except requests.RequestException as error:
            raise self._unreachable(error) from error

    @contextmanager
    def _call(
        self, method: str, url: str, actions: str, missing_is_fine: bool = False, **arguments: Any
    ) -> Iterator[requests.Response]:
        """One request; once more with credentials when the registry asks for them.

        Raises:
            MissingError: when the registry cannot be reached, or says no.
            UsageError: when the certificates that vouch for registries cannot be read.
        """
        answer = self._send(method, url, **arguments)
        if answer.status_code == requests.codes.unauthorized:
            challenge = answer.headers.get("WWW-Authenticate", "")
            answer.close()
            self._authorization = self._answer_to(challenge, actions)
            if self._authorization is not None:
                if hasattr(arguments.get("data"), "seek"):
                    arguments["data"].seek(0)
                answer = self._send(method, url, **arguments)
        with answer:
            if not answer.ok and not (missing_is_fine and answer.status_code == requests.codes.not_found):
                raise MissingError(f"{self.name}: {self._refusal(answer)}")
            yield answer

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None = None, **arguments: Any
    ) -> requests.Response:
        own = urlsplit(url).netloc == self.name.host  # an upload may go elsewhere, where the credentials mean nothing
        told = {"Authorization": self._authorization} if own and self._authorization else {}
        try:
            return self._session.request(
                method, url, headers={**(headers or {}), **told}, timeout=_TIMEOUT, auth=_as_it_is, **arguments
            )
        except requests.RequestException as error:
            raise self._unreachable(error) from error
        except OSError as error:
            if (file := os.environ.get(CERTIFICATES)) is None:
                raise
            raise UsageError(
                f"{CERTIFICATES}={file}: certificates cannot be read ({error}); name a PEM file"
            ) from error

    def _answer_to(self, challenge: str, actions: str) -> str | None:
        """The header that a registry asks for; None where this has no credentials for it."""
        known = credentials(self.name.host)
        kind, _, fields = challenge.partition(" ")
        if kind.lower() == "basic":
            return None if known is None else _basic(known)
        if kind.lower() != "bearer":
            return None
        asked = dict(_CHALLENGE.findall(fields))
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme != "https" and self._scheme == "https":
            raise MissingError(
                f"{self.name}: the registry sends credentials over plain HTTP, to {realm!r}; they stay here"
            )
        wanted = {
            "service": asked.get("service", ""),
            "scope": asked.get("scope") or f"repository:{self.name.name}:{actions}",
        }
        headers = {} if known is None else {"Authorization": _basic(known)}
        try:
            answer = self._session.get(realm, params=wanted, headers=headers, timeout=_TIMEOUT, auth=_as_it_is)
            found = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError) as error:
            raise self._unreachable(error) from error
        token = found.get("token") or found.get("access_token") if isinstance(found, dict) else None
        return f"Bearer {token}" if token else None

    def _refusal(self, answer: requests.Response) -> str:
        """What a registry's answer means, and what helps."""
        match answer.status_code:
            case requests.codes.unauthorized | requests.codes.forbidden:
                return (
                    f"the registry asks for another user ({answer.status_code}); log in with Docker, or set {USER} and "
                    f"{PASSWORD}"
                )
            case requests.codes.not_found:
                return "the registry has nothing of this name and tag (404); check both"
        return f"the registry answers {answer.status_code} {answer.reason}; try again, or ask whoever runs it"

    def _unreachable(self, error: Exception) -> MissingError:
        kinds = {
            requests.exceptions.SSLError: (
                f"its certificate is not trusted: {CERTIFICATES}=FILE names those of your own authority; or it speaks "
                "plain HTTP: --plain-http"
            ),
            requests.exceptions.InvalidSchema: "it leads to an address without encryption, where nothing is sent",
            requests.exceptions.Timeout: "it does not answer",
            requests.exceptions.ConnectionError: "no connection",
        }
        reason = next((words for kind, words in kinds.items() if isinstance(error, kind)), type(error).__name__)
        return MissingError(f"{self.name}: the registry cannot be reached ({reason}); check the name and the network")


def digest_of(content: bytes) -> str:
    """The digest of bytes as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _basic(known: Credentials) -> str:
    return f"Basic {base64.b64encode(':'.join(known).encode()).decode()}"


def _as_it_is(request: Any) -> Any:
    """No credentials but those in the headers: requests would look for a `.netrc`."""
    return request
