"""Commands that look at what there is: ls, show, cp, verify, inspect, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, app, emit


@app.command("ls", epilog="Example: gen3dexport ls targets")
def list_(
    what: Annotated[str, typer.Argument(help="recipes, targets, families or schemes; all when left out.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Schemes on targets as a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List what there is to build."""
    from gen3dexport.cli.listing import listing, scheme_matrix
    from gen3dexport.cli.show import show_listing
    from gen3dexport.errors import UsageError

    if markdown:
        if what != "schemes" or as_json:
            raise UsageError("ls --markdown is of schemes, and no JSON: gen3dexport ls schemes --markdown")
        print(scheme_matrix(), end="")
        return
    found = listing(what)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_listing(found)


@app.command(epilog="Example: gen3dexport show trellis-mini")
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="NAME")], as_json: Json = False
) -> None:
    """Print a shipped recipe or target."""
    from gen3dexport.cli.listing import find_document

    path = find_document(name)
    emit(as_json, {"path": str(path), "text": path.read_text()}, path.read_text().rstrip())


@app.command(epilog="Example: gen3dexport cp trellis-mini my-recipe.yaml")
def cp(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="RECIPE")],
    path: Annotated[Path, typer.Argument(help="Where the copy goes.", metavar="PATH")],
    as_json: Json = False,
) -> None:
    """Copy a shipped recipe or target, to change it."""
    from gen3dexport.cli.listing import copy_document

    written = copy_document(recipe, path)
    emit(as_json, {"path": str(written)}, f"{written}: edit it, then: gen3dexport build {written}")


@app.command(epilog="Example: gen3dexport verify chair-maker")
def verify(bundle: Bundle, as_json: Json = False) -> None:
    """Check every file of a bundle against its recorded size and digest."""
    from gen3dexport.bundle import verify as verify_bundle

    manifest = verify_bundle(bundle)
    count, size = len(manifest.files), sum(f.bytes for f in manifest.files.values())
    emit(
        as_json,
        {"bundle": str(bundle), "files": count, "bytes": size},
        f"{bundle}: {count} files, {size / 1e6:.1f} MB, all as recorded",
    )


@app.command(epilog="Example: gen3dexport inspect chair-maker")
def inspect(bundle: Bundle, as_json: Json = False) -> None:
    """Show a bundle's manifest: components, schemes, sizes and operators."""
    from gen3dexport.bundle import read_manifest
    from gen3dexport.cli.show import show_manifest

    manifest = read_manifest(bundle)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1))
    else:
        show_manifest(manifest, bundle)


@app.command(epilog="Example: gen3dexport doctor --target tpu")
def doctor(
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target.")] = "", as_json: Json = False
) -> None:
    """Say what is installed, what is missing, and the command that mends it."""
    from gen3dexport.cli.doctor import examine
    from gen3dexport.cli.show import show_doctor

    found = examine(target)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_doctor(found)
    raise typer.Exit(3 if target and found["targets"][0]["missing"] else 0)
