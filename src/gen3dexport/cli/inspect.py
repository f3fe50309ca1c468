"""`gen3dexport inspect`: what a manifest says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen3dexport.cli.app import Bundle, Json

if TYPE_CHECKING:
    from gen3dexport.bundle.manifest import Manifest

EXAMPLE = "gen3dexport inspect chair-maker"
HEAD = ("program", "role", "scheme", "parameters, M", "size, MB", "files")


def inspect(bundle: Bundle, as_json: Json = False) -> None:
    """Show a bundle's manifest: components, schemes, sizes and operators."""
    from gen3dexport.bundle.manifest import read_manifest

    manifest = read_manifest(bundle)
    if as_json:
        print(json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1))
    else:
        show_manifest(manifest, bundle)


def show_manifest(manifest: Manifest, folder: Path) -> None:
    """Programs, sizes and operators of a bundle."""
    from gen3dexport.cli.tables import terminal
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.documents.licences import warning
    from gen3dexport.reports.text import number

    console = terminal()
    console.print(
        f"[bold]{folder}[/bold]: {manifest.recipe['name']} for {manifest.target['name']}, family {manifest.family}"
    )
    licences = manifest.licences
    console.print("licences: " + "; ".join(f"{what} {text}" for what, text in licences.lines()), markup=False)
    if (limit := warning(manifest.recipe["name"], licences)) is not None:
        console.print(limit, style="yellow", markup=False)
    if manifest.random_weights:
        console.print("[yellow]random weights: sizes only[/yellow]")
    rows = []
    for p in manifest.programs:
        sizes = manifest.parameters[p.component] / 1e6, manifest.bytes_of(p) / 1e6
        rows.append((p.name, p.role, p.scheme, *(number(size, 4) for size in sizes), ", ".join(p.files)))
    show_rows(HEAD, rows)
    for p in manifest.programs:
        inputs = ", ".join(f"{k} {s.dtype} {'x'.join(map(str, s.shape))}" for k, s in p.inputs.items())
        console.print(f"[dim]{p.name} takes:[/dim] {inputs}")
    for p in manifest.programs:
        for key, value in {**p.requires, **p.facts}.items():
            console.print(f"[dim]{p.name} {key}:[/dim] {_fact(value)}")
    console.print("built with " + ", ".join(f"{k} {v}" for k, v in manifest.versions.items()))


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_fact(v)}" for k, v in value.items()) or "nothing"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
