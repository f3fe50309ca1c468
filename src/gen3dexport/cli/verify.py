"""`gen3dexport verify`: the files of a bundle against its manifest, and its signature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit
from gen3dexport.errors import UsageError

EXAMPLE = "gen3dexport verify chair-maker"

Key = Annotated[Path | None, typer.Option("--key", help="The public key that the bundle must be signed with, PEM.")]
Chain = Annotated[
    list[Path] | None,
    typer.Option(
        "--certificate-chain", metavar="FILE", help="Trusted certificates, PEM, instead of a key; may be repeated."
    ),
]


def verify(bundle: Bundle, key: Key = None, chain: Chain = None, as_json: Json = False) -> None:
    """Check a bundle: every file against its recorded size and digest, the reports and every value of the manifest.

    With --key or --certificate-chain its signature, too; without, a signature is named and not checked.
    """
    from gen3dexport.bundle.report_files import SIGNATURE

    count, size = check(bundle, key, chain or [])
    signed = (bundle / SIGNATURE).is_file()
    checked = key is not None or bool(chain)
    state = "valid" if checked else "not checked" if signed else "none"
    told = {"valid": ", signature valid", "not checked": "; signature not checked, name its --key", "none": ""}[state]
    emit(
        as_json,
        {"bundle": str(bundle), "files": count, "bytes": size, "signature": state},
        f"{bundle}: {count} files, {size / 1e6:.1f} MB, all as recorded{told}",
    )


def check(bundle: Path, key: Path | None, chain: list[Path]) -> tuple[int, int]:
    """Check a bundle, and its signature where a key or certificates are given; how many files and bytes it has.

    Raises:
        UsageError: when it is no bundle, or the key is none.
        VerificationError: when anything is not as it was written or signed.
    """
    from gen3dexport.runtime.pipeline import verified

    if key is not None and chain:
        raise UsageError("--key, --certificate-chain: a signature is checked with one of them; leave one out")
    manifest = verified(bundle).manifest
    if key is not None or chain:
        from gen3dexport.bundle import signatures

        signatures.check(bundle, [*manifest.files], key, chain)
    return len(manifest.files), sum(f.bytes for f in manifest.files.values())
