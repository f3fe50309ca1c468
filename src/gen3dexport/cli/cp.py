"""`gen3dexport cp`: a shipped recipe or target into a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, emit, require_folder
from gen3dexport.cli.show import find_document
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport cp trellis-mini my-recipe.yaml"


def cp(
    name: Annotated[str, typer.Argument(help="A shipped recipe or target.", metavar="NAME")],
    path: Annotated[Path, typer.Argument(help="Where the copy goes.", metavar="PATH")],
    as_json: Json = False,
) -> None:
    """Copy a shipped recipe or target, to change it."""
    written = copy_document(name, path)
    of_target = find_document(name).parent.name == "targets"
    build = f"gen3dexport build RECIPE --target {written}" if of_target else f"gen3dexport build {written}"
    emit(as_json, {"path": str(written)}, f"{written}: edit it, then: {build}")


def copy_document(name: str, path: Path) -> Path:
    """Copy a shipped document to a new file.

    Raises:
        UsageError: when the file exists or cannot be written.
    """
    from gen3dexport.disk import disk_error

    source = find_document(name)
    path = path / source.name if path.is_dir() else path
    require_folder(path)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as stream:
            stream.write(source.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise UsageError(f"{path}: exists; choose another name") from error
    except OSError as error:
        raise disk_error(error, path) from error
    return path
