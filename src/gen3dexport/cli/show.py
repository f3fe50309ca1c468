"""`gen3dexport show`: a shipped recipe or target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport show trellis-mini"


def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="NAME")], as_json: Json = False
) -> None:
    """Print a shipped recipe or target."""
    path = find_document(name)
    emit(as_json, {"path": str(path), "text": path.read_text()}, path.read_text().rstrip())


def find_document(name: str) -> Path:
    """The file of a shipped recipe or target.

    Raises:
        UsageError: when there is none of that name.
    """
    from gen3dexport.documents.shipped import did_you_mean, documents
    from gen3dexport.documents.target import aliases

    known = documents("recipes") | documents("targets")
    name = aliases().get(name, name)
    if name not in known:
        from gen3dexport.quantization.schemes import SCHEMES

        what = f"{name!r}: neither a recipe nor a target"
        if name.endswith((".yaml", ".yml")):
            raise UsageError(f"{what} that is shipped, and show and cp are of those; see: gen3dexport ls")
        if name in SCHEMES:
            raise UsageError(f"{what} but a scheme; see: gen3dexport ls schemes")
        raise UsageError(what + did_you_mean(name, {*known, *aliases()}, "gen3dexport ls"))
    return known[name]
