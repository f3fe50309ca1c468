"""`gen3dexport pull`: a bundle from a registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.cli.push import Name, PlainHttp
from gen3dexport.cli.verify import Chain, Key

EXAMPLE = "gen3dexport pull 127.0.0.1:5000/chairs/chair-maker:1 -o chair-maker --key key.pub"


def pull(
    name: Name,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The bundle's folder (default NAME's end).")] = None,
    key: Key = None,
    chain: Chain = None,
    plain_http: PlainHttp = None,
    as_json: Json = False,
) -> None:
    """Get a bundle from an OCI registry and verify it; a bundle that is there is replaced only by a sound one.

    With --key or --certificate-chain it must be signed. User and password: as for push. Needs the extra `trust`.
    """
    from gen3dexport.bundle.drafts import writing
    from gen3dexport.cli.verify import check
    from gen3dexport.registry.artifact import pull as fetch
    from gen3dexport.registry.client import Repository
    from gen3dexport.registry.names import read_name

    place = read_name(name)
    folder = out or Path(place.name.rpartition("/")[2])
    with writing(folder) as draft:
        digest = fetch(Repository(place, plain_http), draft)
        count, size = check(draft, key, chain or [])
    emit(
        as_json,
        {"bundle": str(folder), "name": str(place), "digest": digest, "files": count, "bytes": size},
        f"{folder}: {count} files, {size / 1e6:.1f} MB, verified; from {place.host}/{place.name}@{digest}",
    )
