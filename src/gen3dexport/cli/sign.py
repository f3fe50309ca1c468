"""`gen3dexport sign`: a bundle and a private key into a signature in the bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport sign chair-maker --key key.pem"


def sign(
    bundle: Bundle,
    key: Annotated[Path, typer.Option("--key", help="The private key: ECDSA on P-256, P-384 or P-521, PEM.")],
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="The key's certificate, PEM; goes into the signature.")
    ] = None,
    chain: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate-chain",
            metavar="FILE",
            help="Certificates between that one and a trusted root; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign a bundle in the OpenSSF model-signing format; the signature is its file model.sig.

    The manifest and every file that it lists are signed, the reports are not. The password of an encrypted key is read
    from the environment: GEN3DEXPORT_KEY_PASSWORD. Needs the extra `trust`, and no network.
    """
    from gen3dexport.bundle import signatures
    from gen3dexport.runtime.pipeline import verified

    if chain and certificate is None:
        raise UsageError("--certificate-chain: belongs to a certificate; name that with --certificate")
    manifest = verified(bundle).manifest
    path = signatures.sign(bundle, key, certificate, chain or [])
    count = len(manifest.files) + 1
    emit(as_json, {"signature": str(path), "files": count}, f"{path}: signature of {count} files")
