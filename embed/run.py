"""Builds and tests all of embed: C++, ARM64, Android, C#, Unreal, Blender, the browser. `make embed` calls it.

    python embed/run.py            # what is missing ends it with exit code 3, before anything is built
    python embed/run.py --check    # only say what is missing
    python embed/run.py --without-arm64 --without-blender --without-android

What is downloaded and made once stays in out/embed: a Python with bpy, ExecuTorch's wheel for ARM64, Kotlin, a bundle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "out" / "embed"
BPY = "bpy==5.0.1"
"""The last for Python 3.11; later ones need 3.13."""
EXECUTORCH = "executorch==1.5.1"
KOTLIN = "kotlin-compiler@2.2.21"
"""Of npm; the version that the Android project pins."""
COMMANDS = {
    "cmake": ("cmake", "C++"),
    "g++": ("g++", "C++"),
    "clang++": ("clang", "sanitizers, Unreal"),
    "mcs": ("mono-mcs", "C#"),
    "mono": ("mono-runtime", "C#"),
    "chromium": ("chromium", "the browser"),
    "node": ("nodejs", "the browser"),
    "npm": ("npm", "the browser"),
    "aarch64-linux-gnu-g++": ("g++-aarch64-linux-gnu", "ARM64"),
    "qemu-aarch64-static": ("qemu-user-static", "ARM64"),
    "javac": ("openjdk-17-jdk-headless", "Android"),
    "aapt": ("aapt", "Android"),
}
"""Command -> its package in Debian 12, and what needs it. nodejs: 20 or later."""
FILES = {
    "usr/share/android-framework-res/framework-res.apk": ("android-framework-res", "Android"),
    "usr/lib/llvm-*/include/c++/v1/string": ("libc++-dev", "Android"),
}
"""A file, as a pattern from the root -> its package, and what needs it."""
TESTS = ("tests/embed_cpp", "tests/line/test_web_package.py", "tests/line/test_web_page.py")
BUNDLE = (
    *("trellis-mini-color", "golden.assets=false", "knobs.sampler.steps=2", "knobs.slat_sampler.steps=2"),
    *("golden.prompts=['a chair']", "-t", "eager", "--skip-validation"),
)
"""A bundle of coloured meshes and Gaussians that is quick to build; two steps make nothing that scores could judge."""


def missing(skipped: tuple[str, ...]) -> dict[str, str]:
    """Packages that this machine lacks, and what for."""
    lacks = {package: why for command, (package, why) in COMMANDS.items() if not shutil.which(command)}
    lacks |= {package: why for pattern, (package, why) in FILES.items() if not any(Path("/").glob(pattern))}
    return {package: why for package, why in lacks.items() if why not in skipped}


def _run(*words: str | Path, **environment: str) -> None:
    print("+", *words, flush=True)
    subprocess.run(list(map(str, words)), check=True, cwd=ROOT, env={**os.environ, **environment})


def python_with_bpy() -> Path:
    """A Python 3.11 with Blender in it; its NumPy is older than ours, so it is an environment of its own."""
    folder = OUT / "bpy"
    if not (folder / "made").is_file():
        older = shutil.which("python3.11") or (sys.executable if sys.version_info[:2] == (3, 11) else "")
        if not older:
            raise SystemExit("bpy needs Python 3.11, and there is none on PATH; or: --without-blender")
        shutil.rmtree(folder, ignore_errors=True)
        _run(older, "-m", "venv", folder)
        _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", BPY)
        (folder / "made").touch()
    return folder / "bin" / "python"


def kotlin() -> Path:
    """The Kotlin compiler, as npm has it."""
    folder = OUT / "kotlin"
    if not (folder / "made").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run("npm", "pack", "--silent", "--pack-destination", folder, KOTLIN)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        next(folder.glob("*.tgz")).unlink()
        (folder / "made").touch()
    return folder / "package"


def bundle() -> Path:
    """The bundle that gen3dexport runs for Blender."""
    if not (OUT / "color").is_dir():
        _run(sys.executable, "-m", "gen3dexport", "build", *BUNDLE, "-o", OUT / "color")
    return OUT / "color"


def on_arm64() -> None:
    """The library cross-built, its tests under qemu."""
    wheel = OUT / "wheel-arm64"
    if not (wheel / "executorch").is_dir():
        wanted = (
            "--no-deps",
            "--only-binary=:all:",
            "--platform",
            "manylinux_2_28_aarch64",
            "--python-version",
            "3.11",
        )
        _run(sys.executable, "-m", "pip", "download", "--quiet", EXECUTORCH, *wanted, "-d", wheel)
        with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
            archive.extractall(wheel)
    script = ROOT / "embed" / "cpp" / "tools" / "arm64_under_qemu.sh"
    _run("bash", script, wheel / "executorch", OUT / "build-arm64")


def main() -> None:
    """Check, make, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    parser.add_argument("--without-arm64", action="store_true")
    parser.add_argument("--without-blender", action="store_true")
    parser.add_argument("--without-android", action="store_true")
    given = parser.parse_args()
    skipped = {"ARM64": given.without_arm64, "Android": given.without_android}
    if lacks := missing(tuple(name for name, without in skipped.items() if without)):
        for package, why in lacks.items():
            print(f"missing: {package} (for {why})")
        print(f"run: apt-get install {' '.join(lacks)}")
        raise SystemExit(3)
    if given.check:
        print("nothing is missing")
        return
    found = {}
    if not given.without_blender:
        found = {"GEN3DEXPORT_BPY_PYTHON": str(python_with_bpy()), "GEN3DEXPORT_BPY_BUNDLE": str(bundle())}
        _run(sys.executable, ROOT / "embed" / "blender_zip.py", OUT)
    if not given.without_android:
        found["GEN3DEXPORT_KOTLIN"] = str(kotlin())
    _run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *TESTS, **found)
    if not given.without_arm64:
        on_arm64()
    print("embed: passed")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failed:
        sys.exit(f"failed with {failed.returncode}: {' '.join(map(str, failed.cmd))}")
