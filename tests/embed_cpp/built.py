"""The library built with two compilers, and the tiny model's bundles: made once for all files of this folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import conftest
import executorch
import pytest
import tiny_text

from gen3dexport.build import build
from gen3dexport.plan import make_plan, read_recipe, read_target

SOURCES = Path(__file__).parents[2] / "embed" / "cpp"
RUNTIME = Path(executorch.__path__[0])
QUICK = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DGEN3D_WERROR=ON"]


def _built(folder: Path, *options: str) -> Path:
    """The library, its tool and its tests."""
    configure = ["cmake", "-S", str(SOURCES), "-B", str(folder), f"-DGEN3D_EXECUTORCH={RUNTIME}", *QUICK, *options]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with g++ and installed; the installed tool alone is what an application ships."""
    folder = _built(tmp_path_factory.mktemp("gcc") / "build", "-DCMAKE_CXX_COMPILER=g++")
    subprocess.run(
        ["cmake", "--install", str(folder), "--prefix", str(folder.parent / "out")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture(scope="session")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with clang (g++ without one) under the address and undefined sanitizers."""
    c, cpp = ("clang", "clang++") if shutil.which("clang++") else ("gcc", "g++")
    compilers = [f"-DCMAKE_C_COMPILER={c}", f"-DCMAKE_CXX_COMPILER={cpp}"]
    return _built(tmp_path_factory.mktemp("careful") / "build", *compilers, "-DGEN3D_SANITIZE=ON")


@pytest.fixture(scope="session")
def features_bundle(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model for ExecuTorch, which takes features; its sampler has steps of every form."""
    folder = tmp_path_factory.mktemp("executorch")
    knobs = "knobs: {sampler: {guidance_interval: [0.6, 1.0], order: 2, reuse_guidance: [1]}}\n"
    (folder / "tiny.yaml").write_text(conftest.TINY_RECIPE.format(weights=tiny_weights) + knobs)
    target = read_target("executorch")
    build(make_plan(read_recipe(str(folder / "tiny.yaml"), target), target), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="session")
def text_bundle(features_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text.write(features_bundle, tmp_path_factory.mktemp("text") / "bundle")
