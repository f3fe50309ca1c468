"""The library over libtorch: bundles of AOTInductor run without Python as Python runs them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if not (shutil.which("cmake") and shutil.which("g++")):
    pytest.skip("needs cmake and g++ (Debian: apt-get install cmake g++)", allow_module_level=True)

import embed_cpp_builds
import tiny_text

from gen3dexport.assets import mesh_files
from gen3dexport.runtime import load


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch_folder = Path(torch.__path__[0])
    folder = tmp_path_factory.mktemp("aoti") / "build"
    embed_cpp_builds.built(folder, "-DGEN3D_RUNTIME=aoti", f"-DGEN3D_TORCH={torch_folder}", "-DBUILD_TESTING=OFF")
    return folder / "gen3d"


@pytest.fixture(scope="module")
def bundle(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model for AOTInductor on CPUs, which takes features."""
    return embed_cpp_builds.tiny_bundle("cpu-aoti", tiny_weights, tmp_path_factory.mktemp("cpu-aoti"))


def _run(tool: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(tool), *map(str, words)], capture_output=True, text=True, timeout=300)


def _features(folder: Path) -> np.ndarray:
    features = np.random.default_rng(8).standard_normal((11, 48), dtype=np.float32)
    np.save(folder / "features.npy", features)
    return features


def test_the_bytes_that_python_makes(tool: Path, bundle: Path, tmp_path: Path) -> None:
    mesh = load(bundle).generate(seed=2, features=_features(tmp_path))
    out = tmp_path / "a.glb"
    done = _run(tool, "run", bundle, "--features", tmp_path / "features.npy", "--seed", "2", "-o", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == mesh_files.content(mesh, ".glb")


def test_it_needs_no_python_and_no_library_of_cuda(tool: Path) -> None:
    used = subprocess.run(["ldd", str(tool)], capture_output=True, text=True).stdout
    assert "libtorch_cpu.so" in used and "not found" not in used
    assert not [name for name in ("libpython", "libtorch_python", "libtorch_cuda", "libcudnn") if name in used]
    assert f"torch {torch.__version__.split('+')[0]}" in _run(tool, "--version").stdout


def _needs(**fields: Any) -> Callable[[dict[str, Any]], object]:
    def edit(data: dict[str, Any]) -> None:
        for program in data["programs"]:
            program["requires"].update(fields)

    return edit


_HOST = {"platform": "linux", "machine": "x86_64", "march": "x86-64-v9", "simdlen": 256, "isa": "avx2"}


@pytest.mark.parametrize(
    ("edit", "code", "said"),
    [
        (_needs(torch="1.13.0"), 3, "was built with torch 1.13.0"),
        (_needs(device="cuda", arch="sm_90"), 3, "needs a GPU of architecture sm_90"),
        (
            _needs(host=_HOST | {"features": ["avx2", "avx9000"]}),
            3,
            "a CPU with x86-64-v9 (avx9000 missing here)",
        ),
        (_needs(host=None), 7, "says no processor"),
        (lambda data: data["target"].update(backend="executorch"), 3, "this gen3d runs aotinductor programs"),
    ],
)
def test_what_a_package_needs_is_checked_before_it_is_opened(
    edit: Callable[[dict[str, Any]], object], code: int, said: str, tool: Path, bundle: Path, tmp_path: Path
) -> None:
    changed = tiny_text.change(Path(shutil.copytree(bundle, tmp_path / "bundle")), edit)
    _features(tmp_path)
    done = _run(tool, "run", changed, "--features", tmp_path / "features.npy", "-o", tmp_path / "a.glb")
    assert done.returncode == code and said in done.stderr, done.stderr
    assert not (tmp_path / "a.glb").exists()


def test_damage_is_found(tool: Path, bundle: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    _features(tmp_path)
    program = next((damaged / "programs").glob("*.pt2"))
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 1
    program.write_bytes(content)
    done = _run(tool, "run", damaged, "--features", tmp_path / "features.npy", "-o", tmp_path / "a.glb")
    assert done.returncode == 7 and "SHA-256 differs" in done.stderr
    for path in [*damaged.glob("programs/*.pt2")]:
        tiny_text.change(damaged, partial(_cut, path))
    cut = _run(tool, "run", damaged, "--features", tmp_path / "features.npy", "-o", tmp_path / "a.glb")
    assert cut.returncode == 7 and "not a whole AOTInductor program" in cut.stderr


def _cut(path: Path, data: dict[str, Any]) -> None:
    """A program cut short, with size and digest that fit."""
    content = path.read_bytes()[:-30]
    path.write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    data["files"][f"programs/{path.name}"].update(entry)
