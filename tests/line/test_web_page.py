"""A bundle's page in a browser and its command in Node, against Python; and the server that a page comes from."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM, Page

from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.mesh_files import read
from gen3dexport.errors import MissingError, UsageError, VerificationError
from gen3dexport.runtime.pipeline import load
from gen3dexport.web import packages
from gen3dexport.web.serve import HEADERS, address, server
from gen3dexport.web.site import SITE

Cli = Callable[..., tuple[int, str, str]]
PROMPT = "a narrow chair with a low seat, a tall backrest, four thin legs and no armrests, facing right"
STATE = "document.documentElement.dataset.state"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model for ONNX, unquantized, of few steps: rounding to int8 makes other numbers on every runtime."""
    pytest.importorskip("onnxruntime")
    from gen3dexport.build import build
    from gen3dexport.cli.app import plan_of

    out = tmp_path_factory.mktemp("onnx") / "bundle"
    fields = ["knobs.sampler.steps=3", f"golden.prompts=[{PROMPT!r}]", "golden.assets=false"]
    fields += ["components.flow.scheme=fp32", "components.text_encoder.rules={}"]
    build(plan_of("trellis-mini", "onnx", fields), out)
    return out


@pytest.fixture(scope="module")
def expected(bundle: Path) -> dict[str, Any]:
    """What Python makes with the bundle."""
    return load(bundle).generate_assets(PROMPT, seed=5)


@pytest.fixture(scope="module")
def npm_packages() -> Path:
    """The folder node_modules that a site needs: the user's cache's, else npm is asked."""
    try:
        return packages.packages(False)[0].folder.parent
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def site(bundle: Path, npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gen3dexport.web.site import write_site

    out = tmp_path_factory.mktemp("site") / "site"
    write_site(bundle, out, packages.packages(False, npm_packages), webgpu=False)
    return out


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    with server(site, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield address(made)
        made.shutdown()
        thread.join()


def _agrees(mesh: Mesh, expected: Mesh) -> None:
    assert np.array_equal(mesh.faces, expected.faces)
    assert np.abs(mesh.vertices - expected.vertices).max() < 1e-4  # float32 sums in another order


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium: apt-get install chromium, or $CHROMIUM")
def test_the_page_makes_what_python_makes(served: str, expected: dict[str, Any], tmp_path: Path) -> None:
    with Page() as page:
        page.go(f"{served}?runtime=wasm+1")
        page.wait(f"{STATE} === 'ready' || {STATE} === 'failed'", 120)
        assert page.value("crossOriginIsolated") and page.value(STATE) == "ready", page.value("document.body.innerText")

        page.value("document.getElementById('make').click()")  # without a prompt
        page.wait(f"{STATE} === 'failed'")
        assert "prompt: empty" in page.value("document.getElementById('error').innerText")

        page.value(f"document.getElementById('prompt').value = {PROMPT!r}; document.getElementById('seed').value = '5'")
        page.value("document.getElementById('make').click()")
        page.wait(f"{STATE} === 'running'")
        page.value("document.getElementById('cancel').click()")
        page.wait(f"{STATE} === 'cancelled'")
        assert page.value("document.getElementById('made').hidden")

        page.value("document.getElementById('make').click()")
        page.wait(f"{STATE} === 'done'", 120)
        assert page.value("document.getElementById('error').hidden")
        occupied = page.value("Array.from(gen3d.last.assets.voxels.data).join('')")
        voxels = np.array(list(occupied), int).reshape((32,) * 3) > 0
        both, either = (f(voxels, expected["voxels"].occupancy) for f in (np.logical_and, np.logical_or))
        assert both.sum() / either.sum() == 1 and both.any()
        for name in ("glb", "ply"):
            code = f"fetch(document.getElementById('{name}').href).then(r => r.arrayBuffer())"
            code += ".then(b => btoa(Array.from(new Uint8Array(b), c => String.fromCharCode(c)).join('')))"
            (tmp_path / f"a.{name}").write_bytes(base64.b64decode(page.value(code)))
            _agrees(read(tmp_path / f"a.{name}"), expected["mesh"])
        shades = page.value(
            "(() => { const c = document.createElement('canvas'); c.width = c.height = 64;"
            "const d = c.getContext('2d'); d.drawImage(document.getElementById('canvas'), 0, 0, 64, 64);"
            "return Array.from(d.getImageData(0, 0, 64, 64).data); })()"
        )
        seen = np.array(shades).reshape(64, 64, 4)
        covered = seen[..., 3] > 200
        assert 0.05 < covered.mean() < 0.9, "the canvas shows a mesh"
        assert np.ptp(seen[covered][:, :3].mean(-1)) > 30, "it is lit from a side"
        milliseconds = float(page.value("document.documentElement.dataset.milliseconds"))
        print(f"in Chromium: {milliseconds:.0f} ms")
        assert not page.console, page.console


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js: apt-get install nodejs")
def test_the_command_in_node_makes_what_python_makes(
    bundle: Path, npm_packages: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(npm_packages)
    command = ["node", str(packages.sources() / "bin/gen3d-run.js")]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True)

    done = run(str(bundle), "-p", PROMPT, "-s", "5", "-o", "a.glb", "-o", "a.ply", "--runtime", "wasm", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    steps = json.loads((bundle / "manifest.json").read_text())["host_steps"]["steps"]
    weights = [step["weight"] for one in steps if one["op"] == "flow_euler" for step in one["steps"]]
    assert told["calls"] == 3 + sum(1 if weight == 1 else 2 for weight in weights)
    for name in ("a.glb", "a.ply"):
        _agrees(read(tmp_path / name), expected["mesh"])
    wrong = {
        ("no-such", "-p", "a"): (2, "no-such"),
        (str(bundle), "-p", " "): (2, "prompt: empty"),
        (str(bundle), "-p", "a", "-s", "x"): (2, "seed"),
        (str(bundle), "-p", "a", "--seed", "-1"): (2, "seed: needs a whole number"),
        ("no-such", "-p", "a", "--runtime", "node"): (2, "no-such"),
        (str(bundle), "-p", "a", "-o", "a.stl"): (2, ".glb, .ply"),
        (str(bundle), "-p", "a", "--runtime", "node"): (3, "npm install onnxruntime-node"),
    }
    for arguments, (code, words) in wrong.items():
        done = run(*arguments)
        assert done.returncode == code and words in done.stderr, (arguments, done.stderr)
    done = run("no-such", "-p", "a", "--json")
    assert (done.returncode, done.stderr) == (2, "") and json.loads(done.stdout)["error"] == "UsageError"


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js: apt-get install nodejs")
def test_the_command_in_node_passes_the_kit(bundle: Path, npm_packages: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "node_modules").symlink_to(npm_packages)
    assert cli("embed-kit", bundle, "-o", tmp_path / "kit")[0] == 0
    command = [
        "node",
        packages.sources() / "bin/gen3d-run.js",
        bundle,
        "--runtime",
        "wasm",
        "--kit",
        "kit",
        "-o",
        "mine",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, out, error = cli("embed-kit", tmp_path / "kit", "--check", tmp_path / "mine")
    assert code == 0 and "noise/9223372036854775807.npy" in out, out + error


def _get(where: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, Any, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(where, method=method, headers=headers or {})) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_the_server(served: str, site: Path) -> None:
    wasm = "vendor/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
    types = {"": "text/html", "page/app.js": "text/javascript", wasm: "application/wasm", SITE: "application/json"}
    types |= {"vendor/onnxruntime-web/dist/ort.wasm.min.mjs": "text/javascript", "page/icon.svg": "image/svg+xml"}
    for path, kind in types.items():
        status, headers, content = _get(served + path)
        assert status == 200 and headers["Content-Type"].startswith(kind), path
        assert all(headers[name] == value for name, value in HEADERS.items()), path
        assert content == (site / (path or "index.html")).read_bytes()
    status, headers, content = _get(served, "HEAD")
    assert status == 200 and not content and int(headers["Content-Length"]) == (site / "index.html").stat().st_size
    (site.parent / "secret").write_text("secret")
    (site / "link").symlink_to(site.parent / "secret")
    (site / "linked").mkdir()
    (site / "linked" / "index.html").symlink_to(site.parent / "secret")
    outside = ("../secret", "..%2fsecret", "%2e%2e/secret", "link", "linked/", "/../../secret")
    for path in (*outside, "%00", "bundle/", "vendor", "no-such"):
        status, _, content = _get(served + path)
        assert status == 404 and b"secret" not in content.replace(b"no-such", b""), path
    assert _get(served, "POST")[0] == 501
    (site / "link").unlink()
    shutil.rmtree(site / "linked")


def test_serve_ends_on_ctrl_c(site: Path, cli: Cli) -> None:
    command = [sys.executable, "-m", "gen3dexport", "serve", str(site), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(4)]
        where = json.loads("".join(lines))["address"]
        assert _get(where)[0] == 200
        port = where.split(":")[-1].strip("/")
        code, _, error = cli("serve", site, "--port", port)
        assert code == UsageError.exit_code and "--port" in error
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, process.stderr.read()
    code, _, error = cli("serve", site.parent)
    assert code == UsageError.exit_code and "gen3dexport web" in error


def test_the_site_is_written_whole(
    bundle: Path, npm_packages: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    arguments = ["web", bundle, "-o", out, "--node-modules", npm_packages]
    code, text, error = cli(*arguments, "--json")
    assert code == 0, error
    told = json.loads(text)
    assert told["page_bytes"] <= 25e6 and told["bundle_bytes"] > 1e6
    notices = (out / "NOTICES.txt").read_text()
    assert all(words in notices for words in ("Microsoft", "three.js", "scikit-image", "Apache License"))
    assert not (out / "bundle" / "golden").exists() and (out / "bundle" / "NOTICES.txt").is_file()
    (out / "mine.txt").write_text("of the old site")
    assert cli(*arguments)[0] == 0 and not (out / "mine.txt").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name not in ("site", ".site.lock")]
    text = "".join(path.read_text() for path in (*(out / "page").iterdir(), out / "index.html", *out.glob("gen3d/*")))
    assert "http://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "") and "https://" not in text

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    code, _, error = cli("web", bundle, "-o", tmp_path / "other", "--node-modules", npm_packages)
    assert code == UsageError.exit_code and "is not a site" in error and (tmp_path / "other" / "file").is_file()


def test_what_a_page_cannot_run_is_told(
    bundle: Path, prompted: Path, npm_packages: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = cli("web", prompted, "-o", tmp_path / "site")
    assert code == UsageError.exit_code and "--target onnx" in error
    harmed = Path(shutil.copytree(bundle, tmp_path / "harmed"))
    (harmed / "programs" / "flow.onnx").write_bytes(b"no program")
    code, _, error = cli("web", harmed, "-o", tmp_path / "site")
    assert code == VerificationError.exit_code and "flow.onnx" in error

    code, _, error = cli("web", bundle, "-o", bundle / "site")
    assert code == UsageError.exit_code and "lies in the bundle" in error

    empty = tmp_path / "node_modules"
    (empty / "three").mkdir(parents=True)
    code, _, error = cli("web", bundle, "-o", tmp_path / "site", "--node-modules", empty)
    assert code == UsageError.exit_code and "npm install onnxruntime-web@" in error
    shutil.copytree(npm_packages / "onnxruntime-web", empty / "onnxruntime-web")
    (empty / "three" / "package.json").write_text('{"version": "0.1.0", "license": "MIT"}')
    code, _, error = cli("web", bundle, "-o", tmp_path / "site", "--node-modules", empty)
    assert code == UsageError.exit_code and "0.1.0" in error and "three@" in error

    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(empty))
    code, _, error = cli("web", bundle, "-o", tmp_path / "site")
    assert code == MissingError.exit_code and "--node-modules" in error
    (empty / "npm").write_text("#!/bin/sh\necho no network >&2; exit 1\n")
    (empty / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(empty), "/bin", "/usr/bin"]))
    code, _, error = cli("web", bundle, "-o", tmp_path / "site")
    assert code == MissingError.exit_code and "no network" in error
    assert not (tmp_path / "site").exists() and not any((tmp_path / "cache" / "web").iterdir())


def test_a_changed_byte_of_a_kept_package_counts_as_absent(
    npm_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in of npm copies what the real one has put there, and counts."""
    npm, count = tmp_path / "bin" / "npm", tmp_path / "count"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\necho once >> "{count}"; cp -rL "{npm_packages}" node_modules\n')
    npm.chmod(0o755)
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")
    for calls, changed in ((1, False), (1, True), (2, False)):
        found = {package.name: package for package in packages.packages(webgpu=False)}
        file = found["three"].folder / "build/three.core.js"
        assert file.read_bytes() == (npm_packages / "three" / "build/three.core.js").read_bytes()
        assert len(count.read_text().split()) == calls
        if changed:
            file.write_bytes(file.read_bytes()[:-1] + b"x")
