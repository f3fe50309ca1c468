"""No network and no pickle unless asked for: whole lines where there is neither."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

GUARD = """\
import os, socket

connect, names = socket.socket.connect, socket.getaddrinfo

def refused(what):
    with open(os.environ["ATTEMPTS"], "a") as file:
        print(what, file=file)
    raise OSError(101, "no network in this test")

def guarded(self, address, connect=connect):
    return connect(self, address) if self.family == socket.AF_UNIX else refused(address)

socket.socket.connect = socket.socket.connect_ex = guarded
socket.getaddrinfo = lambda *arguments, **_: refused(arguments)
"""
"""A `sitecustomize`: every Python process with it notes and refuses what goes to a network."""

LINE = """\
import json, sys
from gen3dexport.cli import main

for arguments in json.loads(sys.argv.pop()):
    print("==", *arguments, flush=True)
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (arguments, stop.code)
"""

ALONE = ["unshare", "--map-root-user", "--net"]
"""A process that has no network at all, where the kernel lets it."""
KNOCK = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


@pytest.fixture
def door() -> Iterator[str]:
    """The port of somebody who listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        yield str(own.getsockname()[1])


def test_whole_lines_need_no_network_and_no_pickle(tmp_path: Path, door: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    attempts = tmp_path / "attempts"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "ATTEMPTS": str(attempts), "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    alone = (
        ALONE
        if shutil.which("unshare") and not subprocess.run([*ALONE, "true"], capture_output=True).returncode
        else []
    )

    def python(*arguments: str, within: list[str] = alone) -> subprocess.CompletedProcess[str]:
        command = [*within, sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    assert python("-I", "-c", KNOCK, door, within=[]).returncode == 0, "without the guard there is somebody"
    assert python("-c", KNOCK, door, within=[]).returncode == 1 and door in attempts.read_text()
    assert not alone or python("-I", "-c", KNOCK, door).returncode == 1, "no network without the guard, either"
    attempts.unlink()
    fields = ["knobs.sampler.steps=2", "golden.prompts=[a tall chair]", "golden.assets=false"]
    limited = [*fields, "licences.weights=CC-BY-NC-4.0", "budgets.accept_unmeasured=true"]
    lines = [
        ["build", "trellis-mini", "--target", "eager", "-o", "bundle", "--skip-validation", *limited],
        ["validate", "bundle"],
        ["verify", "bundle"],
        ["run", "bundle", "--prompt", "a tall chair", "-o", "chair.glb"],
        ["inspect", "bundle"],
        ["sbom", "bundle", "-o", "bundle.cdx.json"],
    ]
    done = python("-c", LINE, json.dumps(lines))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not attempts.exists(), attempts.read_text()
    assert (tmp_path / "chair.glb").is_file()
    _the_licence_is_said(done, tmp_path)


def _the_licence_is_said(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    """A model that must not be used commercially: once at build and once at run, in notices, report and bill."""
    said = "trellis-mini: for non-commercial use only: weights CC-BY-NC-4.0"
    assert done.stderr.count(said) == 2, done.stderr
    assert said in (folder / "bundle" / "NOTICES.txt").read_text()
    assert said in (folder / "bundle" / "report.md").read_text()
    bill = json.loads((folder / "bundle.cdx.json").read_text())
    limits = bill["metadata"]["component"]["modelCard"]["considerations"]["technicalLimitations"]
    assert any(limit.startswith(said) for limit in limits)
    weights = [p["name"] for p in bill["components"] if p["bom-ref"].startswith("weights:flow/")]
    assert "ss_flow_txt_mini.safetensors" in weights
