"""The module for Unreal: compiled against stubs of Unreal's types, run against the library and a bundle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNREAL = Path(__file__).parents[2] / "embed" / "unreal"
SOURCE = UNREAL / "Gen3d" / "Source" / "Gen3dUnreal"
STUBS = UNREAL / "tests" / "stubs"


def _run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, words)), env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_module_against_stubs(installed: Path, text_bundle: Path, tmp_path: Path) -> None:
    compiler = shutil.which("clang++") or "g++"
    folders = (SOURCE / "Public", SOURCE / "Private", STUBS)
    words: list[str | Path] = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pthread", "-g"]
    words += ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    words += [*(f"-I{folder}" for folder in folders), "-isystem", installed / "include"]
    words += [UNREAL / "tests" / "checks.cpp", *sorted((SOURCE / "Private").glob("*.cpp"))]
    words += [f"-L{installed / 'lib'}", "-lgen3d", f"-Wl,-rpath,{installed / 'lib'}", "-o", tmp_path / "checks"]
    _run(*words)
    assert _run(tmp_path / "checks", text_bundle) == "all checks passed\n"


def test_no_type_of_unreal_is_in_the_core(installed: Path, tmp_path: Path) -> None:
    core = SOURCE / "Private" / "Gen3dMaker.cpp"
    _run(
        "g++",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-isystem",
        installed / "include",
        "-c",
        core,
        "-o",
        "/dev/null",
    )


@pytest.mark.skipif(not shutil.which("mcs"), reason="needs mono (Debian: apt-get install mono-mcs mono-runtime)")
def test_the_build_rules_name_what_is_installed(installed: Path, tmp_path: Path) -> None:
    _run(
        "mcs",
        "-warnaserror+",
        f"-out:{tmp_path / 'rules.exe'}",
        SOURCE / "Gen3dUnreal.Build.cs",
        STUBS / "UnrealBuildTool.cs",
    )
    plugin = tmp_path / "plugin"
    (plugin / "ThirdParty").mkdir(parents=True)
    (plugin / "ThirdParty" / "gen3d").symlink_to(installed)
    asked = _run("mono", tmp_path / "rules.exe", PLUGIN=str(plugin)).splitlines()
    assert len(asked) == 6 and all(Path(path).exists() for path in asked)


def test_the_descriptor_names_the_module() -> None:
    descriptor = json.loads((UNREAL / "Gen3d" / "Gen3d.uplugin").read_text())
    assert descriptor["FileVersion"] == 3
    assert [module["Name"] for module in descriptor["Modules"]] == [path.name for path in SOURCE.parent.iterdir()]
