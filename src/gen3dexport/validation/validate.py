"""Validate: load and run every program of a bundle from disk, in a fresh process, and judge it by its budgets."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from gen3dexport import bundle, errors
from gen3dexport.assets import kinds
from gen3dexport.bundle import Manifest
from gen3dexport.bundle.provenance import versions
from gen3dexport.disk import disk_error
from gen3dexport.reports.html import render_html
from gen3dexport.reports.report import Report, make_report, to_junit, to_markdown
from gen3dexport.validation.measure import of_prompt

Arrays = dict[str, np.ndarray]


def validate(folder: Path) -> Report:
    """Measure a bundle in a child process and write `report.json`, `.md`, `.html` and `junit.xml` into it.

    A missed budget is a result in the report, not an error.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when it was changed, or its runtime refuses a program.
    """
    manifest = bundle.verify(folder)
    measured, generated = measure_in_child(folder, manifest)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    report = make_report(manifest, folder.absolute().name, measured, versions(), created)
    try:
        _write(folder / "report.json", json.dumps(report, indent=1) + "\n")
        _write(folder / "report.md", to_markdown(report))
        _write(folder / "junit.xml", to_junit(report))
        _write(folder / "report.html", _html(folder, report, generated))
    except OSError as error:
        raise disk_error(error, folder) from error
    return report


def measure_in_child(folder: Path, manifest: Manifest) -> tuple[dict[str, Any], Arrays | None]:
    """What `validation.measure` finds in a process of its own with the target's number of threads, and what the family
    keeps of the first golden prompt's asset.

    Raises:
        GenExportError: the child's own error; VerificationError when a vendor runtime crashed on a program.
    """
    threads = str(manifest.target["measure"]["threads"])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        out, assets = Path(scratch) / "measured.json", Path(scratch) / "assets.safetensors"
        command = [sys.executable, "-m", "gen3dexport.validation.measure", str(folder.absolute()), scratch]
        child = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not out.is_file():
            tail = "\n  ".join(child.stderr.strip().splitlines()[-12:])
            raise errors.VerificationError(
                f"{folder}: a program could not be loaded and run (exit {child.returncode}):\n  {tail}"
            )
        result: dict[str, Any] = json.loads(out.read_text())
        generated = of_prompt(load_file(assets), 0) if assets.is_file() else None
    if "error" in result:
        raise getattr(errors, result["error"])(result["message"])
    return result, generated


def _html(folder: Path, report: Report, generated: Arrays | None) -> str:
    golden = folder / "golden" / "assets.safetensors"
    found = {"generated": generated, "reference": of_prompt(load_file(golden), 0) if golden.is_file() else None}
    assets: dict[str, Any] = {"prompt": report["pipeline"]["prompts"][0]}
    for name, arrays in found.items():
        for kind, key in (("mesh", name), ("gaussians", f"{name}_gaussians")):
            own = {n.partition(".")[2]: a for n, a in (arrays or {}).items() if n.startswith(f"{kind}.")}
            asset = kinds.of(kind).from_arrays(own) if own else None
            assets[key] = asset if asset is None or kinds.of(kind).problem(asset) is None else None
    return render_html(report, assets)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
