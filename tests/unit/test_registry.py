"""`gen3dexport push` and `pull`, with a real registry on this machine."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar

import docker_registry
import pytest
import requests
from docker_registry import USER, WORD, Registry
from paper_bundle import rewrite

from gen3dexport.bundle.files import digest
from gen3dexport.bundle.report_files import REPORTS, write_reports
from gen3dexport.errors import UsageError
from gen3dexport.registry import credentials
from gen3dexport.registry.artifact import ARTIFACT_TYPE
from gen3dexport.registry.client import CERTIFICATES, Repository, digest_of
from gen3dexport.registry.names import read_name

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's own credentials."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in (credentials.USER, credentials.PASSWORD):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that is open to all."""
    with docker_registry.running(tmp_path_factory.mktemp("registry")) as found:
        yield found


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_was_pushed_is_pulled(
    registry: Registry, paper: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reports(paper, dict.fromkeys(REPORTS, "measured\n"))
    (paper / "host" / "empty.txt").touch()
    rewrite(paper, lambda data: data["files"].update({"host/empty.txt": {"bytes": 0, "sha256": _EMPTY}}))
    write_reports(paper, dict.fromkeys(REPORTS, "measured\n"))
    name = f"{registry.host}/chairs/chair-maker:1"
    code, out, error = cli("push", paper, name, "--json")
    assert code == 0, error
    pushed = json.loads(out)["digest"]
    assert json.loads(cli("push", paper, f"{name}-again", "--json")[1])["digest"] == pushed
    code, out, error = cli("pull", name, "-o", tmp_path / "one", "--json")
    assert code == 0 and json.loads(out)["digest"] == pushed, error
    assert _contents(tmp_path / "one") == _contents(paper) and "programs/flow.bin" in _contents(paper)
    (tmp_path / "one" / "programs" / "flow.bin").write_text("damaged")
    code, out, error = cli("pull", f"{registry.host}/chairs/chair-maker@{pushed}", "-o", tmp_path / "one")
    assert code == 0 and pushed in out and _contents(tmp_path / "one") == _contents(paper), error
    monkeypatch.chdir(tmp_path)
    assert cli("pull", name)[0] == 0 and _contents(tmp_path / "chair-maker") == _contents(paper)


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _artifact(host: str, titles: dict[str, bytes], **changes: Any) -> str:
    """An artifact of files with these titles, whatever they are; its name."""
    name = f"{host}/evil/bundle:1"
    repository = Repository(read_name(name))
    layers = []
    for title, content in titles.items():
        repository.put_blob(digest_of(content), content)
        described = {"mediaType": "text/plain", "digest": digest_of(content), "size": len(content)}
        layers.append({**described, "annotations": {"org.opencontainers.image.title": title.partition("#")[0]}})
    repository.put_blob(digest_of(b"{}"), b"{}")
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
    kind = "application/vnd.oci.image.manifest.v1+json"
    made = {"schemaVersion": 2, "mediaType": kind, "artifactType": ARTIFACT_TYPE, "config": config, "layers": layers}
    repository.put_manifest(json.dumps({**made, **changes}).encode())
    return name


OUTSIDE = {
    "../evil": "lies outside",
    "programs/../../evil": "lies outside",
    "/tmp/evil": "lies outside",
    "programs\\evil": "no plain relative path",
    "programs//evil": "no plain relative path",
    "": "no plain relative path",
    "manifest.json#again": "more than one file",
    "manifest.json/evil": "a file and a folder",
}


@pytest.mark.parametrize("title", OUTSIDE)
def test_no_file_lies_outside_of_a_pulled_bundle(title: str, registry: Registry, cli: Cli, tmp_path: Path) -> None:
    name = _artifact(registry.host, {"manifest.json": b"{}", title: b"evil"})
    code, _, error = cli("pull", name, "-o", tmp_path / "pulled" / "bundle")
    assert code == 7 and OUTSIDE[title] in error, error
    assert not [p for p in tmp_path.rglob("*") if p.name in ("evil", "bundle", "manifest.json")]


def test_what_is_no_bundle_is_told(registry: Registry, cli: Cli, tmp_path: Path) -> None:
    whole = {"manifest.json": b"{}"}
    for files, changes, words in (
        (whole, {"artifactType": "application/vnd.other"}, "artifact type"),
        ({"other.json": b"{}"}, {}, "no manifest.json"),
        (whole, {}, "manifest.json: damaged"),
    ):
        name = _artifact(registry.host, files, **changes)
        code, _, error = cli("pull", name, "-o", tmp_path / "bundle")
        assert code == 7 and words in error and not (tmp_path / "bundle").exists(), error
    assert cli("pull", name, "-o", tmp_path)[0] == 2  # a folder that is something else stays


def test_damaged_bytes_are_told_and_the_old_bundle_stays(
    registry: Registry, paper: Path, cli: Cli, tmp_path: Path
) -> None:
    (paper / "golden" / "flow.safetensors").write_text("only here")
    rewrite(paper, lambda data: data["files"].update({"golden/flow.safetensors": _listed(paper)}))
    name = f"{registry.host}/damaged:1"
    assert cli("push", paper, name)[0] == 0 and cli("pull", name, "-o", tmp_path / "old")[0] == 0
    before = _contents(tmp_path / "old")
    blob = registry.blob(digest(paper / "golden" / "flow.safetensors"))
    for content in (b"0nly here", b"only", b"only here and more"):
        blob.write_bytes(content)
        code, _, error = cli("pull", name, "-o", tmp_path / "old")
        assert (code, "pull it again" in error) == (7, True), error
        assert _contents(tmp_path / "old") == before
    assert not [p for p in tmp_path.iterdir() if "draft" in p.name]


def _listed(paper: Path) -> dict[str, Any]:
    path = paper / "golden" / "flow.safetensors"
    return {"bytes": path.stat().st_size, "sha256": digest(path)}


def test_a_pulled_bundle_can_be_asked_for_its_signature(
    registry: Registry, paper: Path, cli: Cli, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    for name in ("own", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (tmp_path / f"{name}.pub").write_bytes(public)
        (tmp_path / f"{name}.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    place = f"{registry.host}/signed:1"
    assert cli("push", paper, place)[0] == 0
    code, _, error = cli("pull", place, "-o", tmp_path / "new", "--key", tmp_path / "own.pub")
    assert code == 7 and "model.sig: missing" in error and not (tmp_path / "new").exists()
    assert cli("sign", paper, "--key", tmp_path / "own.pem")[0] == cli("push", paper, place)[0] == 0
    assert cli("pull", place, "-o", tmp_path / "new", "--key", tmp_path / "other.pub")[0] == 7
    assert cli("pull", place, "-o", tmp_path / "new", "--key", tmp_path / "own.pub")[0] == 0


def test_what_a_registry_does_not_give_is_told(registry: Registry, paper: Path, cli: Cli, tmp_path: Path) -> None:
    code, _, error = cli("pull", f"{registry.host}/nothing:1", "-o", tmp_path / "new")
    assert code == 3 and "404" in error
    code, _, error = cli("pull", "127.0.0.1:1/nothing:1", "-o", tmp_path / "new", "--json")
    assert code == 3
    code, _, error = cli("push", paper, "127.0.0.1:1/nothing:1")
    assert code == 3 and "cannot be reached (no connection)" in error
    (paper / "programs" / "flow.bin").write_text("damaged")
    assert cli("push", paper, f"{registry.host}/damaged:2")[0] == 7
    assert cli("pull", f"{registry.host}/damaged:2", "-o", tmp_path / "new")[0] == 3
    assert cli("push", paper.parent, f"{registry.host}/damaged:2")[0] == 2


@pytest.mark.parametrize("how", ["environment", "docker", "tokens"])
def test_credentials(how: str, paper: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them, with wrong ones, with right ones; they are never shown."""

    def log_in(word: str) -> None:
        if how == "docker":
            (tmp_path / "docker").mkdir(exist_ok=True)
            entry = {"auth": base64.b64encode(f"{USER}:{word}".encode()).decode()}
            (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {registry.host: entry}}))
        else:
            monkeypatch.setenv(credentials.USER, USER)
            monkeypatch.setenv(credentials.PASSWORD, word)

    def attempt() -> tuple[int, int]:
        codes = []
        for command in (("push", paper, name), ("pull", name, "-o", tmp_path / "pulled")):
            code, out, error = cli(*command)
            assert WORD not in out + error and "wrong-word" not in out + error
            assert code == 0 or "401" in error, error
            codes.append(code)
        return codes[0], codes[1]

    (tmp_path / "registry").mkdir()
    with docker_registry.with_tokens(tmp_path / "registry") as (tokens, scopes):
        auth = tokens if how == "tokens" else docker_registry.with_password(tmp_path / "registry")
        with docker_registry.running(tmp_path / "registry", auth) as registry:
            name = f"{registry.host}/closed/bundle:1"
            assert attempt() == (3, 3)
            log_in("wrong-word")
            assert attempt() == (3, 3)
            log_in(WORD)
            assert attempt() == (0, 0)
    asked = {tuple(sorted(scope.rpartition(":")[2].split(","))) for scope in scopes}
    assert how != "tokens" or asked == {("pull",), ("pull", "push")}
    assert _contents(tmp_path / "pulled") == _contents(paper)


def test_docker_s_helpers_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").mkdir()
    config = tmp_path / "docker" / "config.json"
    config.write_text(json.dumps({"credHelpers": {"localhost:5000": "here"}, "credsStore": "../evil"}))
    helper = tmp_path / "docker-credential-here"
    helper.write_text('#!/bin/sh\nread host; echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"$1\\"}"\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert credentials.credentials("localhost:5000") == ("localhost:5000", "get")
    for text in (config.read_text(), '{"credsStore": "is-not-there"}', '{"auths": {"x:1": {"auth": "?"}}}', "{", "[]"):
        config.write_text(text)
        with pytest.raises(UsageError, match="Docker's configuration"):
            credentials.credentials("x:1")
    config.write_text('{"auths": {"x:1": {}}}')
    assert credentials.credentials("x:1") is credentials.credentials("y:1") is None


@pytest.mark.parametrize(
    "text",
    [
        "chair-maker:1", "chairs/chair-maker:1", "localhost:5000/chairs", "localhost:5000/Chairs:1", "localhost/../x:1",
        "localhost:5000/x@sha256:12", "http://localhost:5000/x:1", f"{USER}:{WORD}@localhost:5000/x:1",
        "localhost/x:1\n",
    ],
)  # fmt: skip
def test_what_is_no_name_is_told_and_no_password_repeated(text: str, cli: Cli, paper: Path) -> None:
    code, out, error = cli("push", paper, text)
    assert code == 2 and "HOST[:PORT]/NAME:TAG" in error and WORD not in out + error


def test_registries_elsewhere_are_asked_over_tls() -> None:
    for text, scheme in (
        ("localhost:5000/x:1", "http"), ("127.0.0.1/x:1", "http"), ("[::1]:5000/x:1", "http"),
        ("registry.example/x:1", "https"), ("localhost.example/x:1", "https"), ("registry:5000/x:1", "https"),
    ):  # fmt: skip
        assert Repository(read_name(text)).base.startswith(f"{scheme}://")
    assert Repository(read_name("registry.example/x:1"), plain_http=True).base.startswith("http://")


def test_a_registry_of_one_s_own_authority(
    paper: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate counts when its authority is named; on this machine TLS has to be asked for."""
    monkeypatch.delenv(CERTIFICATES, raising=False)
    (tmp_path / "registry").mkdir()
    tls = docker_registry.with_certificate(tmp_path / "registry")
    with docker_registry.running(tmp_path / "registry", tls=tls) as registry:
        name = f"{registry.host}/closed/bundle:1"
        code, _, error = cli("push", paper, name, "--tls")
        assert code == 3 and f"its certificate is not trusted: {CERTIFICATES}=FILE" in error, error
        assert cli("push", paper, name)[0] == 3  # it does not speak plain HTTP
        monkeypatch.setenv(CERTIFICATES, str(tmp_path / "registry" / "authority.crt"))
        code, _, error = cli("push", paper, name, "--tls")
        assert code == 0, error
        code, _, error = cli("pull", name, "--tls", "-o", tmp_path / "pulled")
        assert code == 0 and _contents(tmp_path / "pulled") == _contents(paper), error
        (tmp_path / "wrong.crt").write_text("no certificate")
        for file, expected in ((tmp_path / "no-such.crt", 2), (tmp_path / "wrong.crt", 3)):
            monkeypatch.setenv(CERTIFICATES, str(file))
            code, _, error = cli("pull", name, "--tls", "-o", tmp_path / "pulled")
            assert code == expected and f"{CERTIFICATES}=" in error, error


class _Evil(BaseHTTPRequestHandler):
    """A registry that does what `lies` says with a bundle's manifest and blobs."""

    content: ClassVar[dict[str, bytes]] = {}
    lies: ClassVar[str] = ""
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = self.content[self.path.rpartition("/")[2]]
        if "/blobs/" in self.path and self.lies == "more":
            body += bytes(2**20)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "/blobs/" in self.path and self.lies in ("less", "stalls"):
            self.wfile.write(body[:-1])
            self.wfile.flush()
            if self.lies == "stalls":
                Event().wait(60)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def evil(paper: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a bundle in a registry that lies about it."""
    layers, content = [], {}
    for path in sorted(p for p in paper.rglob("*") if p.is_file()):
        found, title = path.read_bytes(), str(path.relative_to(paper))
        described = {"mediaType": "text/plain", "digest": digest_of(found), "size": len(found)}
        layers.append({**described, "annotations": {"org.opencontainers.image.title": title}})
        content[digest_of(found)] = found
    made = {"schemaVersion": 2, "artifactType": ARTIFACT_TYPE, "layers": layers}
    monkeypatch.setattr(_Evil, "content", {**content, "1": json.dumps(made).encode()})
    with ThreadingHTTPServer(("127.0.0.1", 0), _Evil) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/evil:1"
        server.shutdown()


@pytest.mark.parametrize(("lies", "expected"), [("", 0), ("more", 7), ("less", 3)])
def test_a_registry_that_lies_leaves_nothing(
    lies: str, expected: int, evil: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Evil, "lies", lies)
    code, _, error = cli("pull", evil, "-o", tmp_path / "there" / "new")
    assert code == expected, error
    assert (tmp_path / "there" / "new").exists() == (code == 0)
    assert not [p for p in (tmp_path / "there").glob(".*") if "draft" in p.name]


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_a_pull_that_is_stopped_leaves_the_old_bundle(
    how: str, evil: str, paper: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Evil, "lies", "stalls")
    monkeypatch.setattr(_Evil, "asked", [])
    shutil.copytree(paper, tmp_path / "there" / "old")
    command = [sys.executable, "-m", "gen3dexport", "pull", evil, "-o", str(tmp_path / "there" / "old")]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not any("/blobs/" in path for path in _Evil.asked) and time.monotonic() < end:
        time.sleep(0.02)
    started.send_signal(signal.Signals[how])
    assert started.wait(20) == (130 if how == "SIGINT" else -9)
    assert _contents(tmp_path / "there" / "old") == _contents(paper)
    monkeypatch.setattr(_Evil, "lies", "")
    assert cli("pull", evil, "-o", tmp_path / "there" / "old")[0] == 0  # removes what the killed one left
    assert not [p for p in (tmp_path / "there").iterdir() if "draft" in p.name]


def test_no_answer_leads_from_tls_to_plain_http() -> None:
    """Neither a redirect nor the address of an upload, nor the service for tokens."""
    session = Repository(read_name("registry.example/x:1"))._session
    request = requests.Request("GET", "http://registry.example/x").prepare()
    with pytest.raises(requests.exceptions.InvalidSchema):
        session.send(request)
