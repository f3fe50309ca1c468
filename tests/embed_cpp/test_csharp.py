"""The C# wrapper: compiled by mono, run against the library and a bundle; Unity's component against stubs of Unity."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

if not (shutil.which("mcs") and shutil.which("mono")):
    pytest.skip("needs mono (Debian: apt-get install mono-mcs mono-runtime)", allow_module_level=True)

CSHARP = Path(__file__).parents[2] / "embed" / "csharp"
HEADER = CSHARP.parent / "cpp" / "include" / "gen3d" / "gen3d.h"


def _compiled(out: Path, *words: str | Path) -> Path:
    command = ["mcs", "-langversion:7.2", "-warnaserror+", f"-out:{out}", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wrapper's assembly, which has no warning."""
    folder = tmp_path_factory.mktemp("csharp")
    documented = f"-doc:{folder / 'Gen3d.xml'}"  # with it, a public name without a summary is a warning
    return _compiled(folder / "Gen3d.dll", "-target:library", documented, *sorted((CSHARP / "Gen3d").glob("*.cs")))


def _mono(installed: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(installed / "lib")}
    return subprocess.run(["mono", *map(str, words)], env=environment, capture_output=True, text=True, timeout=300)


def test_what_the_wrapper_promises(wrapper: Path, installed: Path, text_bundle: Path, tmp_path: Path) -> None:
    sources = [*(CSHARP / "tests").glob("*.cs"), *(CSHARP / "Unity").glob("*.cs")]
    checks = _compiled(wrapper.parent / "Checks.exe", f"-r:{wrapper}", *sources)
    done = _mono(installed, checks, text_bundle, tmp_path)
    assert (done.returncode, done.stdout) == (0, "all checks passed\n"), done.stdout + done.stderr
    by_cpp = [installed / "bin" / "gen3d", "run", text_bundle, "-p", "a chair", "--seed", "7", "-o", tmp_path / "a.ply"]
    subprocess.run(list(map(str, by_cpp)), check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "by_csharp.ply").read_bytes() == (tmp_path / "a.ply").read_bytes()


def test_the_example_is_an_application(wrapper: Path, installed: Path, text_bundle: Path, tmp_path: Path) -> None:
    chair = _compiled(wrapper.parent / "Chair.exe", f"-r:{wrapper}", CSHARP / "Example" / "Chair.cs")
    done = _mono(installed, chair, text_bundle, "a chair", tmp_path / "a.glb", "3")
    assert done.returncode == 0 and (tmp_path / "a.glb").is_file(), done.stderr
    assert re.fullmatch(r"\d+ vertices, \d+ faces\n", done.stdout) and "0 % text_encoder" in done.stderr
    stopped = _mono(installed, chair, text_bundle, "a chair", tmp_path / "none.glb", "3", "0.5")
    assert stopped.returncode == 130 and not (tmp_path / "none.glb").exists()
    refused = _mono(installed, chair, tmp_path, "a chair", tmp_path / "none.glb")
    assert refused.returncode != 0 and "error: " in refused.stderr and str(tmp_path) in refused.stderr


def test_every_function_of_the_header_is_there() -> None:
    declared = set(re.findall(r"\b(gen3d_\w+)\(", HEADER.read_text()))
    bound = set(re.findall(r"static extern \w+ (gen3d_\w+)\(", (CSHARP / "Gen3d" / "Native.cs").read_text()))
    assert bound == declared and len(declared) > 10


def test_codes_are_the_headers() -> None:
    header = dict(re.findall(r"GEN3D_(\w+) = (\d+)", HEADER.read_text()))
    wrapped = dict(re.findall(r"^\s+(\w+) = (\d+)", (CSHARP / "Gen3d" / "Gen3dException.cs").read_text(), re.MULTILINE))
    assert {name.upper(): number for name, number in wrapped.items()} == header
