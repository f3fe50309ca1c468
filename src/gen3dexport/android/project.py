"""A Gradle project of a bundle: Kotlin, ExecuTorch's AAR, the library `gen3d` for the host steps, a viewer.

PROJECT/
  settings.gradle.kts  build.gradle.kts  gradle.properties  gradle/    versions are pinned in them
  app/build.gradle.kts
  app/src/main/kotlin/org/gen3dexport/gen3d/    the wrapper: bundles, assets, programs by the AAR
  app/src/main/kotlin/org/gen3dexport/app/      the application
  app/src/main/cpp/                             JNI; gen3d/ is this repository's embed/cpp
  app/src/main/assets/bundle/                   what the application needs of the bundle (or bundle/ beside app/)
  app/src/main/assets/viewer/                   a page with three.js
  app/src/main/res/values/bundle.xml            what the screen says of the bundle, and its digest
  README.md  NOTICES.txt  gen3d-app.json
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.sax.saxutils import escape

from gen3dexport import __version__
from gen3dexport.bundle.drafts import writing
from gen3dexport.bundle.manifest import Manifest, verify
from gen3dexport.bundle.notices import NOTICES
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.documents.host_steps import FlowEuler, Tokenize
from gen3dexport.documents.shipped import own_licence, shipped
from gen3dexport.errors import UsageError
from gen3dexport.web.packages import Package
from gen3dexport.web.site import prompt_to_mesh

PROJECT = "gen3d-app.json"
"""The file that says that a folder is such a project."""
LARGEST_ASSETS = 10**9
"""Bytes of a bundle that is put into the application: an APK's own limit is 4 GB, stores' are lower."""
OLDEST_EXECUTORCH = (1, 0)
"""Of the AAR, of which the classes' names and methods are those that the wrapper calls."""

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_WORDS = """
    abstract assert boolean break byte case catch char class const continue default do double else enum extends false
    final finally float for goto if implements import in instanceof int interface is long native new null package
    private protected public return short static super switch synchronized this throw throws transient true try void
    volatile when while as fun object typealias val var
"""
_JAVA_WORDS = frozenset(_WORDS.split())
_TAKEN = ("programs", "host")
_LIBRARY = ("src", "include", "outside", "CMakeLists.txt", "NOTICES.txt")
_VIEWER = ("viewer.js",)


def check_bundle(bundle: Path) -> Manifest:
    """The manifest of a bundle that the application can run.

    Raises:
        UsageError: for one of another target, or that the library cannot follow.
        VerificationError: when a file is not as the manifest says.
    """
    manifest = verify(bundle, reports=False)
    if manifest.target["backend"] != "executorch":
        raise UsageError(
            f"{bundle}: is for target {manifest.target['name']}, and Android runs ExecuTorch programs; build it with: "
            f"gen3dexport build {manifest.recipe['name']} --target executorch-arm64"
        )
    if manifest.random_weights:
        raise UsageError(f"{bundle}: has random weights, whose assets mean nothing; build it with a checkpoint")
    steps = prompt_to_mesh(bundle, manifest, "the application", "the application")
    for file in sorted({step.file for step in steps.steps if isinstance(step, Tokenize)}):
        kind = json.loads((bundle / file).read_text(encoding="utf-8")).get("model", {}).get("type")
        if kind != "WordPiece":
            raise UsageError(f"{bundle}: {file} is a tokenizer of kind {kind}, and the library has WordPiece alone")
    version = manifest.versions.get("executorch", "")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or tuple(map(int, version.split(".")[:2])) < OLDEST_EXECUTORCH:
        raise UsageError(
            f"{bundle}: was made by executorch {version or '(unknown)'}, for which there is no AAR; build it again"
        )
    return manifest


def application_id(name: str, asked: str | None) -> str:
    """The application's identifier: what was asked for, or one of the recipe's name.

    Raises:
        UsageError: for one that Android does not take.
    """
    if asked is None:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        return f"com.example.{plain if plain[:1].isalpha() and plain not in _JAVA_WORDS else f'app_{plain}'}"
    words = sorted(_JAVA_WORDS & set(asked.split(".")))
    if not _IDENTIFIER.fullmatch(asked) or words:
        why = f"{words[0]} is a word of Java or Kotlin" if words else "small letters, digits and _, two parts or more"
        raise UsageError(f"--application-id {asked}: is none ({why}); e.g. org.example.chairs")
    return asked


def write_project(bundle: Path, out: Path, three: Package, identifier: str, beside: bool = False) -> Manifest:
    """Write the project of a bundle; it appears whole or not at all.

    Args:
        three: the viewer's package; beside: put the bundle beside the application instead of into it.

    Raises:
        UsageError: as `check_bundle` does; when there is something at `out`; when the bundle is too large for an
            application; when it cannot be written.
        VerificationError: when a file of the bundle is not as the manifest says.
    """
    manifest = check_bundle(bundle)
    check_empty(out)
    taken = [name for name in manifest.files if name.split("/")[0] in (*_TAKEN, NOTICES)]
    size = sum(manifest.files[name].bytes for name in taken)
    if size > LARGEST_ASSETS and not beside:
        raise UsageError(
            f"{bundle}: {size / 1e9:.1f} GB, too much for an application's own files; leave it beside: --beside"
        )
    with writing(out, PROJECT, "project") as draft:
        main = draft / "app" / "src" / "main"
        _copy_tree(shipped("embed") / "android" / "project", draft)
        for name in _LIBRARY:
            _copy_tree(shipped("embed") / "cpp" / name, main / "cpp" / "gen3d" / name)
        assets = main / "assets"
        _viewer(assets / "viewer", three)
        place = draft / "bundle" if beside else assets / "bundle"
        for name in (MANIFEST, *taken):
            _copy_tree(bundle / name, place / name)
        listed = [] if beside else [MANIFEST, *taken]
        _write(assets / "bundle-files.txt", "".join(f"{name}\n" for name in listed))
        _write(main / "res" / "values" / "bundle.xml", _strings(manifest))
        _write(draft / "gradle.properties", _properties(identifier, manifest.versions["executorch"]))
        _write(draft / NOTICES, _notices(three))
        told = {"gen3dexport": __version__, "bundle": manifest.digest, "beside": beside}
        _write(draft / PROJECT, json.dumps(told) + "\n")
    return manifest


def check_empty(out: Path) -> None:
    """Refuse an output where there is something: a project that was worked on is not written over.

    Raises:
        UsageError: for such an output.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"{out}: exists, and a project that may have been worked on is not replaced; choose another -o"
        )


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        for path in sorted(source.iterdir()):
            _copy_tree(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _viewer(folder: Path, three: Package) -> None:
    """The page: the web page's viewer, with a script and a style of its own."""
    own, page = shipped("embed") / "android" / "viewer", shipped("embed") / "web" / "page"
    _copy_tree(own / "index.html", folder / "index.html")
    for name in ("show.js", "view.css"):
        _copy_tree(own / name, folder / "page" / name)
    for name in _VIEWER:
        _copy_tree(page / name, folder / "page" / name)
    for name in three.files:
        _copy_tree(three.folder / name, folder / "vendor" / three.name / name)


def _strings(manifest: Manifest) -> str:
    """What the screen says of the bundle, as Android's resources."""
    steps = manifest.host_steps
    loops = [len(step.steps) for step in steps.steps if isinstance(step, FlowEuler)] if steps else []
    recipe = manifest.recipe
    prompts = recipe["golden"].get("prompts") or [""]
    texts = {
        "app_name": recipe["name"],
        "bundle_summary": recipe.get("summary", ""),
        "bundle_prompt": prompts[0],
        "bundle_steps": f"{loops[0]} steps" if len(loops) == 1 else "",
        "bundle_digest": manifest.digest,
    }
    rows = [
        f'    <string name="{name}" translatable="false">{android_text(text)}</string>' for name, text in texts.items()
    ]
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', "<resources>", *rows, "</resources>", ""])


def android_text(text: str) -> str:
    """A text as a string resource has it.

    Source: Android's documentation of string resources: what XML escapes, and by `\\`: quotes, a leading @ or ?.
    """
    plain = " ".join(text.split())
    for mark in ("\\", "'", '"'):
        plain = plain.replace(mark, f"\\{mark}")
    return escape(f"\\{plain}" if plain[:1] in ("@", "?") else plain)


def _properties(identifier: str, executorch: str) -> str:
    return (
        "org.gradle.jvmargs=-Xmx2g\nandroid.useAndroidX=true\n"
        f"# The application's name on devices and in stores.\ngen3d.applicationId={identifier}\n"
        "# The AAR org.pytorch:executorch-android, of the version that made the programs.\n"
        f"gen3d.executorch={executorch}\n"
    )


def _notices(three: Package) -> str:
    lines = ["An application made by gen3dexport.", "", "gen3dexport: Apache-2.0, whose text is below"]
    lines += [f"{three.name} {three.version}: {three.licence}", "the bundle: NOTICES.txt beside its manifest"]
    lines += ["ExecuTorch's AAR and androidx, which Gradle gets: their own"]
    texts = {"gen3dexport": own_licence().read_text(encoding="utf-8")}
    texts["gen3d"] = (shipped("embed") / "cpp" / "NOTICES.txt").read_text(encoding="utf-8")
    texts |= {f"{three.name} {name}": text for name, text in three.texts()}
    for title, text in texts.items():
        lines += ["", f"{f' {title} ':=^80}", "", text.strip("\n")]
    return "\n".join(lines) + "\n"
