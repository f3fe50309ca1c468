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
        raise UsageError(f"{name!r}: neither a recipe nor a target{did_you_mean(name, {*known, *aliases()})}")
    return known[name]
