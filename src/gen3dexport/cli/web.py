"""`gen3dexport web`: a static site that makes assets in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit

EXAMPLE = "gen3dexport web chair-maker -o site"


def web(
    bundle: Bundle,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the site goes.")] = Path("site"),
    webgpu: Annotated[
        bool, typer.Option("--webgpu", help="Let the page run on graphics processors too: 27 MB more.")
    ] = False,
    node_modules: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A folder node_modules to take the browser's packages from, without npm."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a static site that makes assets in the browser: a page, the bundle, a runtime and a viewer.

    npm is needed once, for the browser's runtime and viewer, which are kept in the cache; the page needs no network.
    The bundle must be of a target with ONNX programs.
    """
    from gen3dexport.bundle.drafts import check_out
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.web.packages import packages
    from gen3dexport.web.site import BUNDLE, SITE, check_bundle, write_site

    refuse_inside(bundle, out)
    check_bundle(bundle)  # before npm is asked
    check_out(out, SITE, "site")
    write_site(bundle, out, packages(webgpu, node_modules), webgpu)
    files = {path.relative_to(out): path.stat().st_size for path in out.rglob("*") if path.is_file()}
    bundled = sum(size for path, size in files.items() if path.parts[0] == BUNDLE)
    page = sum(files.values()) - bundled
    told = f"{out}: page of {page / 1e6:.1f} MB, bundle of {bundled / 1e6:.1f} MB; see it: gen3dexport serve {out}"
    emit(as_json, {"path": str(out), "page_bytes": page, "bundle_bytes": bundled}, told)
