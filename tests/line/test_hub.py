"""Weights from a hub: huggingface_hub against a server of this test, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gen3dexport.documents import hub
from gen3dexport.errors import UsageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/TRELLIS-tiny"


class Hub(ThreadingHTTPServer):
    """Serves one repository's folder at one commit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, head: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requests.append(path)
        files = {p.relative_to(self.server.folder).as_posix(): p for p in self.server.folder.rglob("*") if p.is_file()}
        if path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
            self.send(json.dumps({"id": REPOSITORY, "sha": COMMIT}).encode(), head)
        elif path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            rows = [row(name, file) for name, file in files.items()]
            self.send(json.dumps(rows).encode(), head)
        elif (found := re.fullmatch(f"/{REPOSITORY}/resolve/{COMMIT}/(.+)", path)) and found[1] in files:
            self.send(files[found[1]].read_bytes(), head)
        else:
            self.send(b"{}", head, 404)

    def send(self, body: bytes, head: bool, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if status == 404:
            self.send_header("X-Error-Code", "RevisionNotFound")
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def row(name: str, file: Path) -> dict[str, object]:
    """What a listing says of a file."""
    return {"type": "file", "path": name, "size": file.stat().st_size, "oid": hashlib.sha1(name.encode()).hexdigest()}


@pytest.fixture
def server(tiny_weights: Path) -> Iterator[Hub]:
    found = Hub(tiny_weights)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def plan(recipe: Path, weights: str, endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "GEN3DEXPORT_CACHE": str(cache)}
    code = "from gen3dexport.cli import main; main()"
    command = [sys.executable, "-c", code, "plan", str(recipe), "--target", "eager", f"weights={weights}"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_plan_of_weights_on_a_hub_downloads_them_once(server: Hub, tiny_recipe: Path, tmp_path: Path) -> None:
    address = f"{hub.PREFIX}{REPOSITORY}@{COMMIT}"
    first = plan(tiny_recipe, address, server.address, tmp_path / "cache")
    assert first.returncode == 0, (first.stderr, server.requests)
    assert any(path.endswith("ss_flow_tiny.safetensors") for path in server.requests)
    server.requests.clear()
    second = plan(tiny_recipe, address, server.address, tmp_path / "cache")
    assert second.returncode == 0 and second.stdout == first.stdout
    assert server.requests == []


def test_a_commit_that_is_not_there_is_said(server: Hub, tiny_recipe: Path, tmp_path: Path) -> None:
    missing = plan(tiny_recipe, f"{hub.PREFIX}{REPOSITORY}@{'f' * 40}", server.address, tmp_path / "cache")
    assert missing.returncode == 3
    assert "f" * 40 in missing.stderr and "weights=FOLDER" in missing.stderr


@pytest.mark.parametrize("address", ["hf://someone/model", "hf://someone/model@main", "hf://model@" + COMMIT, "hf://"])
def test_an_address_without_a_commit_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="40 hexadecimal digits"):
        hub.fetched(address, ["*"])
