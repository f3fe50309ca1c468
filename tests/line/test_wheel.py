"""The wheel: what is in it, how large it is, and that it works where it lies alone."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_BYTES = 60e6
SHIPPED = ("recipes", "targets", "weights")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (path,) = folder.glob("*.whl")
    assert path.stat().st_size <= MOST_BYTES
    return zipfile.ZipFile(path)


def test_it_has_the_package_and_its_data_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in tracked.split("\0") if (ROOT / name).is_file()]
    wanted = {name.removeprefix("src/") for name in names if name.startswith("src/gen3dexport/")}
    wanted |= {f"gen3dexport/{name}" for name in names if name.partition("/")[0] in SHIPPED or name == "LICENSE"}
    # The web page's sources, without their tests.
    wanted |= {f"gen3dexport/{name}" for name in names if name.startswith("embed/web/") and "/test/" not in name}
    # What an Android project is written from: its own files, and the library's sources without its tool and tests.
    sources = (
        "embed/android/project/",
        "embed/android/viewer/",
        *(f"embed/cpp/{n}/" for n in ("include", "outside", "src")),
    )
    sources += ("embed/cpp/CMakeLists.txt", "embed/cpp/NOTICES.txt")
    wanted |= {f"gen3dexport/{name}" for name in names if name.startswith(sources)}
    # What benchmarks and training judge the shipped models by.
    wanted -= {name for name in wanted if Path(name).name in ("heldout.json", "heldout.npz")}
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == wanted
    for name in ("gen3dexport/LICENSE", "gen3dexport/recipes/trellis-mini.yaml"):
        assert wheel.read(name) == (ROOT / name.removeprefix("gen3dexport/")).read_bytes()


def test_the_base_install_needs_no_vendor(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    needs = metadata.get_all("Requires-Dist", [])
    base = {need.split(";")[0].partition(">")[0].partition("=")[0].strip() for need in needs if "extra ==" not in need}
    assert "numpy" in base and not base & {"torch", "torchao", "executorch", "jax", "onnx", "onnxruntime", "triton"}
    runtime = [need for need in needs if "extra == 'runtime'" in need]
    assert runtime and not any("torch" in need.replace("executorch-numpy-runtime", "") for need in runtime)
    assert {"executorch", "onnx", "tpu", "cuda", "runtime"} <= {*metadata.get_all("Provides-Extra", [])}


def test_it_works_outside_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "installed")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    code = "import sys; from gen3dexport.cli import main; main()"
    command = [sys.executable, "-c", code, "ls", "recipes", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    listed = json.loads(done.stdout)
    assert len(listed["recipes"]) == len([*(ROOT / "recipes").glob("*.yaml")])
