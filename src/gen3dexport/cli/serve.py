"""`gen3dexport serve`: a site at an address of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.errors import Interrupted

EXAMPLE = "gen3dexport serve site"


def serve(
    site: Annotated[Path, typer.Argument(help="A folder made by `gen3dexport web`.", metavar="SITE")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0 takes a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="The address that it listens at; as it is, this machine alone can ask.")
    ] = "127.0.0.1",
    as_json: Json = False,
) -> None:
    """Serve a site until Ctrl-C, with the headers that let the page use several threads."""
    from gen3dexport.web.serve import address, server

    with server(site, host, port) as made:
        where = address(made)
        emit(as_json, {"address": where, "path": str(site)}, f"{site}: {where} (Ctrl-C ends it)")
        print(end="", flush=True)
        try:
            made.serve_forever()
        except Interrupted:
            return
