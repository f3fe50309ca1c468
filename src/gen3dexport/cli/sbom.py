"""`gen3dexport sbom`: a bundle's bill of materials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gen3dexport.cli.app import Bundle, Json, emit

EXAMPLE = "gen3dexport sbom chair-maker -o chair-maker.cdx.json"


def sbom(
    bundle: Bundle,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file outside the bundle (default standard output).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a bundle's bill of materials: CycloneDX 1.6 with the model's card, as JSON.

    It has the SHA-256 of every file, licences, what the weights were made of, every tool's version, and what was
    measured. The same bundle gives the same bytes; there is a time in it when SOURCE_DATE_EPOCH is set.
    """
    from gen3dexport.bundle.files import file_of
    from gen3dexport.bundle.report_files import DIGESTS, MANIFEST, REPORTS, SIGNATURE, refuse_inside
    from gen3dexport.disk import check_place, write_output
    from gen3dexport.reports.bill import bill
    from gen3dexport.reports.report import read_report
    from gen3dexport.runtime.pipeline import verified

    if out is not None:
        refuse_inside(bundle, out)
        check_place(out)
    loaded = verified(bundle)
    rest = {n: file_of(bundle / n) for n in (MANIFEST, *REPORTS, DIGESTS, SIGNATURE) if (bundle / n).is_file()}
    report = read_report(bundle) if "report.json" in rest else None
    text = json.dumps(bill(loaded.manifest, rest, loaded.settings.asset_kinds, report), indent=1) + "\n"
    if out is None:
        print(text, end="")
    else:
        write_output(out, text.encode())
        said = f"{out}: bill of materials of {bundle} (CycloneDX 1.6)"
        emit(as_json, {"bundle": str(bundle), "path": str(out)}, said)
