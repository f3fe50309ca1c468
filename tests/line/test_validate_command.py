"""`gen3dexport validate` where the bundle cannot be written: checked first, and the numbers shown in any case."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gen3dexport.validation import validate

Cli = Callable[..., tuple[int, str, str]]
REPORTS = {"report.json", "report.md", "report.html", "junit.xml"}


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, without its reports."""
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    for name in REPORTS:
        (copy / name).unlink()
    return copy


@pytest.fixture
def read_only(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle as on a read-only mount (its permissions would not stop root)."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: access(p, mode) and not (Path(p) == bundle and mode & os.W_OK))
    return bundle


@pytest.mark.filterwarnings("default")
def test_a_read_only_bundle_is_judged_and_its_report_shown(read_only: Path, cli: Cli) -> None:
    with pytest.warns(UserWarning, match="cannot be written; the report is not kept, name a folder for it with -o"):
        code, out, error = cli("validate", read_only)
    assert code == 0, error
    assert "pass" in out and "report:" not in out
    assert not REPORTS & {path.name for path in read_only.iterdir()}


def test_its_report_goes_where_out_says(read_only: Path, tmp_path: Path, cli: Cli) -> None:
    place = tmp_path / "new" / "reports"
    code, out, error = cli("validate", read_only, "-o", place, "--json")
    assert code == 0, error
    assert {path.name for path in place.iterdir()} == REPORTS
    assert json.loads(out) == json.loads((place / "report.json").read_text())
    assert not REPORTS & {path.name for path in read_only.iterdir()}


def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(validate, "measure_in_child", lambda *_: pytest.fail("measured first"))
    code, _, error = cli("validate", bundle, "-o", tmp_path / "file" / "reports")
    assert code == 2 and "is a file" in error


@pytest.mark.filterwarnings("default")
def test_the_numbers_are_shown_though_the_report_cannot_be_kept(bundle: Path, cli: Cli) -> None:
    (bundle / "report.html").mkdir()
    with pytest.warns(UserWarning, match=r"report\.html.*the report is not kept"):
        code, out, _ = cli("validate", bundle, "--json")
    assert code == 2
    assert json.loads(out)["verdict"] == "pass"
