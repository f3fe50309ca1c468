"""A real registry on this machine: Debian's docker-registry, open, with a password, or with tokens."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

USER, WORD = "somebody", "a-secret-word"
_HASH = "$2b$04$I6jKB4pwjF8KSOxS61R9aeXT43ZEX0nzsOZg/1W39KxWedvDiJpjS"  # bcrypt of the word
PROGRAM = shutil.which("docker-registry") or ""


@dataclass(frozen=True)
class Registry:
    """A running registry: its address, and the folder where its blobs lie."""

    host: str
    folder: Path

    def blob(self, sha256: str) -> Path:
        """The file of a blob."""
        return self.folder / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"


@contextmanager
def running(folder: Path, auth: dict[str, Any] | None = None, tls: dict[str, Any] | None = None) -> Iterator[Registry]:
    """A registry with its files in a folder; skips the test where there is none to start."""
    if not PROGRAM:
        pytest.skip("docker-registry is not installed: apt-get install docker-registry")
    host = f"127.0.0.1:{_free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": host, **({"tls": tls} if tls else {})},
        **({"auth": auth} if auth else {}),
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with subprocess.Popen([PROGRAM, "serve", str(folder / "config.yml")], stderr=subprocess.PIPE) as process:
        try:
            _wait_for(host, process)
            yield Registry(host, folder / "blobs")
        finally:
            process.terminate()


def with_password(folder: Path) -> dict[str, Any]:
    """What a registry asks for that takes `USER` and `WORD`."""
    (folder / "users").write_text(f"{USER}:{_HASH}\n")
    return {"htpasswd": {"realm": "here", "path": str(folder / "users")}}


def with_certificate(folder: Path) -> dict[str, Any]:
    """A certificate for registries on this machine and its key; `authority.crt` in the folder vouches for it."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority = _certificate(keys[0], "authority", None, keys[0], [])
    own = _certificate(keys[1], "registry", authority, keys[0], [x509.IPAddress(ip_address("127.0.0.1"))])
    (folder / "authority.crt").write_bytes(authority.public_bytes(Encoding.PEM))
    (folder / "registry.crt").write_bytes(own.public_bytes(Encoding.PEM))
    secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "registry.pem").write_bytes(secret)
    return {"certificate": str(folder / "registry.crt"), "key": str(folder / "registry.pem")}


@contextmanager
def with_tokens(folder: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """What a registry asks for that takes tokens; the service that gives them to `USER`, and what it was asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key)
    (folder / "tokens.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    scopes: list[str] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            expected = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                self.send_error(401)
                return
            (scope,) = parse_qs(urlsplit(self.path).query)["scope"]
            scopes.append(scope)
            kind, name, actions = scope.split(":")
            access = [{"type": kind, "name": name, "actions": actions.split(",")}]
            body = json.dumps({"token": _token(key, certificate, access)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}/token"
        bundle = str(folder / "tokens.crt")
        yield {"token": {"realm": where, "service": "here", "issuer": "tests", "rootcertbundle": bundle}}, scopes
        server.shutdown()


def _token(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, access: list[dict[str, Any]]) -> str:
    now = int(time.time())
    chain = [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]
    times = {"iat": now, "nbf": now - 60, "exp": now + 600}
    claims = {"iss": "tests", "sub": USER, "aud": "here", "jti": "1", **times, "access": access}
    text = ".".join(
        _base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256", "x5c": chain}, claims)
    )
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return _certificate(key, "tokens", None, key, [])


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    places: list[x509.GeneralName],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC) - timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(start).not_valid_after(start + timedelta(days=3))
    made = made.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    identity = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity)
    made = made.add_extension(authority, critical=False)
    if issuer is None:
        flags = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True, "digital_signature": True}
        made = made.add_extension(x509.KeyUsage(**flags), critical=True)
    if places:
        made = made.add_extension(x509.SubjectAlternativeName(places), critical=False)
    return made.sign(issuer_key, hashes.SHA256())


_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
_USAGES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port: int = own.getsockname()[1]
    return port


def _wait_for(host: str, process: subprocess.Popen[bytes]) -> None:
    name, _, port = host.partition(":")
    for _ in range(200):
        with socket.socket() as own:
            if own.connect_ex((name, int(port))) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    said = process.stderr.read().decode() if process.poll() is not None and process.stderr else "it does not answer"
    raise AssertionError(f"{PROGRAM} did not start: {said[-1000:]}")
