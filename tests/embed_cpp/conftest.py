"""What tests of the library and of its wrappers share: one build of it, and tiny bundles that it runs."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import embed_cpp_builds
import pytest


@pytest.fixture(scope="session")
def needs_library() -> None:
    """Skip where the library cannot be built."""
    if importlib.util.find_spec("executorch") is None:
        pytest.skip("needs the extra: pip install 'gen3dexport[executorch]'")
    if not (shutil.which("cmake") and shutil.which("g++")):
        pytest.skip("needs cmake and g++ (Debian: apt-get install cmake g++ clang)")


@pytest.fixture(scope="session")
def plain(needs_library: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with g++ and installed; the installed tool alone is what an application ships."""
    folder = embed_cpp_builds.built(tmp_path_factory.mktemp("gcc") / "build", "-DCMAKE_CXX_COMPILER=g++")
    subprocess.run(
        ["cmake", "--install", str(folder), "--prefix", str(folder.parent / "out")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture(scope="session")
def installed(plain: Path) -> Path:
    """Where the library is installed: `bin`, `lib`, `include`."""
    return plain.parent / "out"


@pytest.fixture(scope="session")
def features_bundle(needs_library: None, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model for ExecuTorch, which takes features; its sampler has steps of every form."""
    knobs = "knobs: {sampler: {guidance_interval: [0.6, 1.0], order: 2, reuse_guidance: [1]}}\n"
    folder = tmp_path_factory.mktemp("executorch")
    return embed_cpp_builds.tiny_bundle("executorch", tiny_weights, folder, knobs)


@pytest.fixture(scope="session")
def text_bundle(features_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a prompt, with an encoder of words."""
    import tiny_text

    return tiny_text.write(features_bundle, tmp_path_factory.mktemp("text") / "bundle")
