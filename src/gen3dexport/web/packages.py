"""What a site has of npm packages: pinned in `embed/web/package-lock.json`, fetched once by npm, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gen3dexport.bundle.files import digest
from gen3dexport.disk import remove
from gen3dexport.documents.caches import private_folder
from gen3dexport.documents.shipped import shipped
from gen3dexport.errors import MissingError, UsageError

PINNED = ("package.json", "package-lock.json")
_LICENCES = ("LICENSE", "LICENSE.txt", "ThirdPartyNotices.txt")
_WASM = ("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm")
_WEBGPU = (
    "dist/ort.webgpu.min.mjs",
    "dist/ort-wasm-simd-threaded.asyncify.mjs",
    "dist/ort-wasm-simd-threaded.asyncify.wasm",
)
_THREE = ("build/three.module.js", "build/three.core.js", "examples/jsm/controls/OrbitControls.js")
_NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=peer", "--omit=optional")
_MINUTES = 10
_DIGESTS = "digests.json"


@dataclass(frozen=True)
class Package:
    """An npm package that a site has files of.

    Attributes:
        version: the pinned one.
        folder: where it lies; files: what a site takes, relative to it; licence: an SPDX expression.
    """

    name: str
    version: str
    folder: Path
    files: tuple[str, ...]
    licence: str

    def texts(self) -> Iterator[tuple[str, str]]:
        """The texts of licences that it brings, by their names."""
        for name in _LICENCES:
            if (self.folder / name).is_file():
                yield name, (self.folder / name).read_text(encoding="utf-8", errors="replace")


def sources() -> Path:
    """The JavaScript package of this repository, `embed/web`."""
    return shipped("embed") / "web"


def packages(webgpu: bool, node_modules: Path | None = None) -> tuple[Package, ...]:
    """The packages that a site has files of, with every file there.

    Args:
        webgpu: whether the site can also run on graphics processors.
        node_modules: a folder where npm has put them; None takes them from the cache, where npm puts them once.

    Raises:
        MissingError: when npm is needed and not installed, or cannot get them.
        UsageError: when `node_modules` lacks one, or has another version.
    """
    folder = node_modules or _cached()
    wanted = {"onnxruntime-web": _WASM + (_WEBGPU if webgpu else ()), "three": _THREE}
    return tuple(_package(folder, name, files) for name, files in wanted.items())


def pinned() -> dict[str, str]:
    """The version of every package, by name, of `package-lock.json`."""
    found = json.loads((sources() / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return {path.removeprefix("node_modules/"): entry["version"] for path, entry in found.items() if path}


def _package(folder: Path, name: str, files: tuple[str, ...]) -> Package:
    version, place = pinned()[name], folder / name
    remedy = f"run in that folder's parent: npm install {name}@{version}"
    try:
        said = json.loads((place / "package.json").read_text(encoding="utf-8"))
        found, licence = str(said["version"]), str(said["license"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{place}: no npm package {name} ({error}); {remedy}") from error
    if found != version:
        raise UsageError(f"{place}: version {found}, and the site needs {version}; {remedy}")
    if lacking := [file for file in files if not (place / file).is_file()]:
        raise UsageError(f"{place}: lacks {', '.join(lacking)}; {remedy}")
    return Package(name, version, place, files, licence)


def _cached() -> Path:
    """The folder `node_modules` of the cache; npm fills it where it is missing, and checks what it gets by the lock."""
    lock = (sources() / "package-lock.json").read_bytes()
    folder = private_folder("web") / hashlib.sha256(lock).hexdigest()[:32]
    if folder.is_dir() and not _is_whole(folder):
        remove(folder)
    if not folder.is_dir():
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _install(draft)
            _keep(draft, folder)
        finally:
            remove(draft)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether every file has the digest that it was kept with."""
    try:
        kept = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
        return bool(kept) and all(digest(folder / name) == sha256 for name, sha256 in kept.items())
    except (OSError, ValueError, AttributeError):
        return False


def _install(draft: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        needs = " and ".join(f"{name}@{pinned()[name]}" for name in ("onnxruntime-web", "three"))
        raise MissingError(
            "npm is not installed, and a site needs it once for the browser's runtime and viewer: install Node.js, or "
            f"copy a folder node_modules with {needs} from a machine that has npm, and name it: --node-modules FOLDER"
        )
    for name in PINNED:
        shutil.copyfile(sources() / name, draft / name)
    try:
        done = subprocess.run([npm, *_NPM], cwd=draft, capture_output=True, text=True, timeout=60 * _MINUTES)
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"npm did not end in {_MINUTES} minutes; is there a network? try again") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[-600:]
        raise MissingError(f"npm could not get the site's packages ({said}); is there a network? try again")


def _keep(draft: Path, folder: Path) -> None:
    """Of what npm got, the files that a site takes, for other builds of these packages are hundreds of megabytes."""
    kept = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    digests = {}
    try:
        for package in packages(True, draft / "node_modules"):
            for name in ("package.json", *package.files, *(name for name, _ in package.texts())):
                target = kept / package.name / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(package.folder / name, target)
                digests[f"{package.name}/{name}"] = digest(target)
        (kept / _DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
        try:
            kept.rename(folder)
        except OSError:
            if not folder.is_dir():  # another command was quicker
                raise
    finally:
        remove(kept)
