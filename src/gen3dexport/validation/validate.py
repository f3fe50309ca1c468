"""Validate: load and run every program of a bundle from disk, in a fresh process, and judge it by its budgets."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gen3dexport.assets import kinds
from gen3dexport.bundle import golden
from gen3dexport.bundle.manifest import Manifest, read_manifest, verify
from gen3dexport.bundle.report_files import write_reports, write_text
from gen3dexport.children import of_this_process
from gen3dexport.disk import disk_error, scratch
from gen3dexport.errors import GenExportError, UsageError, of_kind
from gen3dexport.provenance import versions
from gen3dexport.reports.html import Shown, render_html
from gen3dexport.reports.records import Failure, Measurement, Report
from gen3dexport.reports.report import make_report
from gen3dexport.reports.text import to_junit, to_markdown
from gen3dexport.runtime import child_end
from gen3dexport.validation.measure import MEASURED

Measure = Callable[[Path, Manifest], tuple[Measurement, dict[str, Any]]]
"""What measures a bundle: its measurement, and the assets of the first golden prompt by kind."""
ANSWER: TypeAdapter[Measurement | Failure] = TypeAdapter(Measurement | Failure)


@dataclass(frozen=True)
class Judged:
    """A bundle's report, and the files that tell it: name -> text.

    Attributes:
        folder: where the bundle lies; digest: of its manifest.
    """

    report: Report
    files: Mapping[str, str]
    folder: Path
    digest: str

    def write(self, place: Path) -> None:
        """Write the files into a folder, which is made when it is missing; in the bundle itself, their digests too.

        Raises:
            UsageError: when it cannot be written, or another bundle lies there by now.
        """
        try:
            place.mkdir(parents=True, exist_ok=True)
            if place.samefile(self.folder):
                if read_manifest(place).digest != self.digest:
                    raise UsageError(f"{place}: a build has put another bundle here; validate that one too")
                write_reports(place, self.files)
                return
            for name, text in self.files.items():
                write_text(place / name, text)
        except OSError as error:
            raise disk_error(error, place) from error


def validate(folder: Path, name: str = "") -> Report:
    """Judge a bundle and write its report into it.

    A missed budget is a result in the report, not an error.

    Args:
        name: what the report calls the bundle; its folder's name when none is given.

    Raises:
        UsageError: when the folder is not a bundle, or cannot be written.
        VerificationError: when it was changed, or its runtime refuses a program.
    """
    judged = judge(folder, name)
    judged.write(folder)
    return judged.report


def judge(
    folder: Path, name: str = "", measured: Measure | None = None, runtime_versions: Mapping[str, str] | None = None
) -> Judged:
    """Measure a bundle; nothing is written.

    Args:
        name: as in `validate`.
        measured: what measures it; a child process on this machine when none is given.
        runtime_versions: of what ran its programs, where that is not installed here; read when all is measured.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when it was changed, or its runtime refuses a program.
    """
    manifest, found, generated, reference = _measured(folder, measured or measure_in_child)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    report = make_report(
        manifest, name or folder.absolute().name, found, {**versions(), **(runtime_versions or {})}, created
    )
    page = render_html(report, Shown(report.pipeline.prompts[0], generated, reference))
    texts = {"report.json": report.to_json(), "report.md": to_markdown(report), "junit.xml": to_junit(report)}
    return Judged(report, {**texts, "report.html": page}, folder, manifest.digest)


def _measured(folder: Path, measure: Measure) -> tuple[Manifest, Measurement, dict[str, Any], dict[str, Any]]:
    """A bundle's manifest, what was measured of it, and the first assets that it made and ought to make; measured again
    where a build has put another bundle there meanwhile."""
    while True:
        manifest = verify(folder, reports=False)
        try:
            measured, generated = measure(folder, manifest)
            reference = first_assets(folder / golden.FOLDER / golden.ASSETS)
        except (GenExportError, OSError):
            if read_manifest(folder).digest == manifest.digest:
                raise
        else:
            if read_manifest(folder).digest == manifest.digest:
                return manifest, measured, generated, reference


def measure_in_child(folder: Path, manifest: Manifest) -> tuple[Measurement, dict[str, Any]]:
    """What `validation.measure` finds in a process of its own with the target's number of threads, and the assets of
    the first golden prompt by kind (none where no assets are made).

    Raises:
        GenExportError: the child's own error, or how it was killed (`child_end`).
    """
    measured, made = measure_assets_in_child(folder, manifest)
    return measured, made[0] if made else {}


def measure_assets_in_child(folder: Path, manifest: Manifest) -> tuple[Measurement, list[dict[str, Any]]]:
    """Likewise, and the assets of every golden prompt.

    Raises:
        GenExportError: see `measure_in_child`.
    """
    threads = str(manifest.target["measure"]["threads"])
    with scratch() as place:  # where runtimes unpack programs too: a killed child leaves nothing
        own = {"OMP_NUM_THREADS": threads, "TQDM_DISABLE": "1", "TMPDIR": str(place)}
        environment, out = of_this_process({**os.environ, **own}), place / MEASURED
        command = [sys.executable, "-m", "gen3dexport.validation.measure", str(folder.absolute()), str(place)]
        child = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not out.is_file():
            raise child_end.told(str(folder), child.returncode, child.stderr)
        answer = ANSWER.validate_json(out.read_text())
        generated = all_assets(place / golden.ASSETS)
    if isinstance(answer, Failure):
        raise of_kind(answer.error, answer.message)
    return answer, generated


def first_assets(path: Path) -> dict[str, Any]:
    """The first prompt's assets in a file, by kind; none without the file."""
    return next(iter(all_assets(path, 1)), {})


def all_assets(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The assets in a file of every prompt, or of so many, by kind; none without the file."""
    made = golden.read_assets(path)[:most] if path.is_file() else []
    return [{kind: kinds.of(kind).from_arrays(arrays) for kind, arrays in assets.items()} for assets in made]
