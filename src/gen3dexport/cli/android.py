"""`gen3dexport android`: a Gradle project of an application that makes assets on phones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit

EXAMPLE = "gen3dexport android chair-maker -o app"


def android(
    bundle: Bundle,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the project goes.")] = Path("app"),
    identifier: Annotated[
        str | None,
        typer.Option("--application-id", metavar="NAME", help="The application's identifier, e.g. org.example.chairs."),
    ] = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Leave the bundle out of the application, for adb to put it on a device.")
    ] = False,
    node_modules: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A folder node_modules to take the viewer's package from, without npm."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a Gradle project of an application that makes assets with the bundle: Kotlin, ExecuTorch's AAR, a viewer.

    npm is needed once, for the viewer, which is kept in the cache. The bundle must be of an ExecuTorch target. The
    project is built with Android's SDK and NDK: see README.md in it.
    """
    from gen3dexport.android.project import application_id, check_bundle, check_empty, write_project
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.web.packages import packages

    refuse_inside(bundle, out)
    name = application_id(check_bundle(bundle).recipe["name"], identifier)  # before npm is asked
    check_empty(out)
    three = next(package for package in packages(False, node_modules) if package.name == "three")
    write_project(bundle, out, three, name, beside)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    told = f"{out}: {name}, {size / 1e6:.1f} MB of sources and bundle; how to build it: {out / 'README.md'}"
    emit(as_json, {"path": str(out), "application_id": name, "bytes": size, "beside": beside}, told)
