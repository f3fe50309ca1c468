"""`gen3dexport embed-kit`: a conformance kit of a bundle's host steps, and implementations held to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json, emit
from gen3dexport.errors import AccuracyError, UsageError

EXAMPLE = "gen3dexport embed-kit chair-maker -o kit; gen3dexport embed-kit kit --check mine"


def embed_kit(
    folder: Annotated[
        Path, typer.Argument(help="A folder made by `gen3dexport build`; with --check, a kit.", metavar="BUNDLE|KIT")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The kit's folder (default BUNDLE-kit).")] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="FOLDER", help="What an implementation made, under the kit's names."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write golden values of every host step of a bundle, so that an implementation in any language can be checked.

    With --check, compare an implementation's values with a kit. Exit code 5: one is too far, or missing.
    """
    if check is not None:
        if out is not None:
            raise UsageError("--check: writes nothing; leave -o out")
        _compare(folder, check, as_json)
        return
    from gen3dexport.bundle.drafts import check_out
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.host_steps.kit import INDEX

    if (folder / INDEX).is_file():
        raise UsageError(
            f"{folder}: a kit, not a bundle; compare with it: gen3dexport embed-kit {folder} --check FOLDER"
        )
    place = out or folder.absolute().with_name(f"{folder.absolute().name}-kit")
    refuse_inside(folder, place)
    check_out(place, INDEX, "kit")
    from gen3dexport.host_steps.make_kit import declared_steps, make_kit
    from gen3dexport.runtime.pipeline import verified

    loaded = verified(folder, reports=False)
    declared_steps(loaded)
    kit = make_kit(loaded, place)
    said: dict[str, Any] = {"kit": str(place), "bundle": str(folder), "requests": [r.prompt for r in kit.requests]}
    said |= {"steps": [step.op for step in kit.host_steps.steps], "values": len(kit.tolerances)}
    counts = (f"{len(kit.requests)} requests", f"{len(kit.host_steps.steps)} steps", f"{len(kit.tolerances)} values")
    emit(as_json, said, f"{place}: {', '.join(counts)}; see {place / 'README.md'}")


def _compare(folder: Path, own: Path, as_json: bool) -> None:
    """Compare, say every row, and fail where one is too far."""
    from gen3dexport.host_steps.check_kit import check
    from gen3dexport.host_steps.kit import read_kit

    rows = check(read_kit(folder), folder, own)
    wrong = [row for row in rows if not row.passed]
    lines = []
    for row in rows:
        number = "" if row.found is None else f"{row.found:.3g} (limit {row.limit:g})"
        lines.append("  ".join(part for part in (f"{row.name}:", number, row.said or "ok") if part))
    data = {"kit": str(folder), "checked": str(own), "passed": not wrong, "rows": [asdict(row) for row in rows]}
    emit(as_json, data, "\n".join(lines))
    if wrong:
        raise AccuracyError(f"{own}: {len(wrong)} of {len(rows)} are not the kit's; the first is {wrong[0].name}")
