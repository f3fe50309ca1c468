"""`gen3dexport push`: a bundle into a registry."""

from __future__ import annotations

from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit

EXAMPLE = "gen3dexport push chair-maker 127.0.0.1:5000/chairs/chair-maker:1"

Name = Annotated[str, typer.Argument(help="Where it lies: HOST[:PORT]/NAME:TAG.", metavar="REGISTRY/NAME:TAG")]
PlainHttp = Annotated[
    bool, typer.Option("--plain-http", help="Without encryption, as it is always done with a registry on this machine.")
]


def push(bundle: Bundle, name: Name, plain_http: PlainHttp = False, as_json: Json = False) -> None:
    """Send a bundle to an OCI registry, with its reports and its signature.

    User and password come from GEN3DEXPORT_REGISTRY_USER and GEN3DEXPORT_REGISTRY_PASSWORD, or from Docker's
    configuration. Needs the extra `trust`.
    """
    from gen3dexport.registry.artifact import push as send
    from gen3dexport.registry.client import Repository
    from gen3dexport.registry.names import read_name
    from gen3dexport.runtime.pipeline import verified

    place = read_name(name)
    manifest = verified(bundle).manifest
    digest = send(bundle, manifest, Repository(place, plain_http))
    whole = f"{place.host}/{place.name}@{digest}"
    emit(as_json, {"bundle": str(bundle), "name": str(place), "digest": digest}, f"{place}: pushed as {whole}")
