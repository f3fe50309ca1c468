"""A static site of a bundle: a page, the bundle's programs, a runtime and a viewer; at run time it needs no network.

SITE/
  index.html  page/    the page
  gen3d/               host steps in JavaScript (`embed/web/src`)
  vendor/PACKAGE/      files of npm packages
  bundle/              the bundle without golden data and reports
  site.json            what the page may offer
  NOTICES.txt          licences of all of it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from gen3dexport import __version__
from gen3dexport.bundle.drafts import writing
from gen3dexport.bundle.manifest import Manifest, verify
from gen3dexport.bundle.notices import NOTICES
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.documents.host_steps import HostSteps, MarchingCubes
from gen3dexport.documents.shipped import own_licence
from gen3dexport.errors import UsageError
from gen3dexport.web.packages import Package, sources

SITE = "site.json"
BUNDLE = "bundle"
_TAKEN = ("programs", "host")


def check_bundle(bundle: Path) -> Manifest:
    """The manifest of a bundle that a page can run.

    Raises:
        UsageError: for one of another target, or whose host steps the page cannot follow.
        VerificationError: when a file is not as the manifest says.
    """
    manifest = verify(bundle, reports=False)
    if manifest.target["backend"] != "onnx":
        raise UsageError(
            f"{bundle}: is for target {manifest.target['name']}, and browsers run ONNX files; build it with: "
            f"gen3dexport build {manifest.recipe['name']} --target onnx"
        )
    prompt_to_mesh(bundle, manifest, "the page", "JavaScript")
    return manifest


def prompt_to_mesh(bundle: Path, manifest: Manifest, shows: str, follows: str) -> HostSteps:
    """The host steps of a bundle, from a prompt to a mesh.

    Args:
        shows: what has a prompt box and shows a mesh; follows: what follows the steps; both in words.

    Raises:
        UsageError: for a bundle without host steps, or with others.
    """
    if (steps := manifest.host_steps) is None:
        raise UsageError(
            f"{bundle}: has no host steps that {follows} could follow; build it again, and if they stay away, its "
            f"family ({manifest.family}) declares none for this recipe: docs/host-steps.md"
        )
    if not steps.request.prompt or steps.request.image:
        raise UsageError(f"{bundle}: takes no prompt, and {shows} has nothing else to give it")
    if not isinstance(steps.assets.get("mesh"), MarchingCubes):
        raise UsageError(f"{bundle}: makes {', '.join(steps.assets)}, and {shows} shows a mesh")
    return steps


def write_site(bundle: Path, out: Path, packages: Sequence[Package], webgpu: bool) -> None:
    """Write the site of a bundle; a site that was there is replaced when the new one is whole.

    Raises:
        UsageError: as `check_bundle` does; when `out` is something else than a site; when it cannot be written.
        VerificationError: when a file of the bundle is not as the manifest says.
    """
    manifest = check_bundle(bundle)
    with writing(out, SITE, "site") as draft:
        for path in sources().joinpath("page").iterdir():
            _copy(path, draft / (path.name if path.suffix == ".html" else f"page/{path.name}"))
        for path in sources().joinpath("src").glob("*.js"):
            _copy(path, draft / "gen3d" / path.name)
        for package in packages:
            for name in package.files:
                _copy(package.folder / name, draft / "vendor" / package.name / name)
        taken = [name for name in manifest.files if name.split("/")[0] in (*_TAKEN, NOTICES)]
        for name in (MANIFEST, *taken):
            _copy(bundle / name, draft / BUNDLE / name)
        (draft / SITE).write_text(json.dumps({"gen3dexport": __version__, "webgpu": webgpu}) + "\n", encoding="utf-8")
        (draft / NOTICES).write_text(_notices(packages), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _notices(packages: Sequence[Package]) -> str:
    lines = ["A site made by gen3dexport.", "", "gen3dexport: Apache-2.0, whose text is below"]
    lines += [f"{package.name} {package.version}: {package.licence}" for package in packages]
    lines += [f"the bundle: {BUNDLE}/{NOTICES}"]
    texts = {"gen3dexport": own_licence().read_text(encoding="utf-8")}
    for package in packages:
        own = dict(package.texts()) or {"LICENSE": _stated(package.name)}  # not every package brings its own text
        texts |= {f"{package.name} {name}": text for name, text in own.items()}
    texts["the table of gen3d/marching_cubes.js"] = _stated("scikit-image")
    for title, text in texts.items():
        lines += ["", f"{f' {title} ':=^80}", "", text.strip("\n")]
    return "\n".join(lines) + "\n"


def _stated(name: str) -> str:
    return (sources() / f"LICENSE.{name}").read_text(encoding="utf-8")
