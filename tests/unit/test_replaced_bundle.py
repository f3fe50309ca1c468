"""A bundle that a build replaces, or a validation writes reports into, while others read it: one of the two, whole."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from paper_bundle import rewrite

from gen3dexport.backends import eager
from gen3dexport.bundle import drafts, files, report_files
from gen3dexport.bundle.files import file_of
from gen3dexport.bundle.manifest import read_manifest, verify
from gen3dexport.bundle.report_files import REPORTS, write_reports
from gen3dexport.errors import VerificationError
from gen3dexport.models import Request
from gen3dexport.runtime import load
from gen3dexport.runtime.condition_cache import ConditionCache


@pytest.fixture
def bundle(paper: Path) -> Path:
    """One whose programs are no programs."""
    return paper


def _replace(bundle: Path, *changed: str) -> None:
    """Put another bundle in the place of one: the manifest and the files `changed` are others."""
    with drafts.writing(bundle) as draft:
        shutil.copytree(bundle, draft, dirs_exist_ok=True)
        for name in changed:
            (draft / name).write_text("of another bundle")
        listed = {name: file_of(draft / name).model_dump() for name in changed}
        rewrite(draft, lambda data: (data["host"].update(machine="another"), data["files"].update(listed)))


@pytest.mark.parametrize("changed", [True, False])
def test_a_program_is_not_taken_from_the_bundle_that_came_between(
    changed: bool, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the comparison of its bytes and their loading."""
    taken: list[str] = []

    def opened(folder: Path, record: object) -> object:
        _replace(bundle, *(["programs/flow.bin"] if changed else []))
        taken.append((folder / "flow.bin").read_text())
        return object()

    loaded = load(bundle)
    monkeypatch.setattr(eager, "load", opened)
    if changed:
        with pytest.raises(VerificationError, match=r"changed after it was loaded; load it again"):
            loaded.program(loaded.manifest.component("flow"))
        assert taken == ["of another bundle"] and not loaded.programs
    else:  # the same bytes, of whichever bundle
        assert loaded.program(loaded.manifest.component("flow")) is loaded.programs["flow"]
    assert loaded.replaced()


def test_host_files_are_not_read_from_the_bundle_that_came_between(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(bundle)
    monkeypatch.setattr(loaded.family, "begin", lambda *_: _replace(bundle, "host/tokenizer.json"))
    with pytest.raises(VerificationError, match=r"load it again:\n  host/tokenizer.json"):
        loaded.begin(Request("a chair"), None)


def test_a_bundle_that_is_gone_or_damaged_is_not_another_one(bundle: Path) -> None:
    loaded = load(bundle)
    assert not loaded.replaced()
    (bundle / "manifest.json").write_text("{")
    assert not loaded.replaced()
    shutil.rmtree(bundle)
    assert not loaded.replaced()


TEXTS = {name: f"of {name}\n" for name in REPORTS}


def test_reports_that_are_being_written_are_no_damage(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A validation writes all of them between the reading of their digests and that of the first report."""
    write_reports(bundle, TEXTS)
    digest, done = report_files.digest, []

    def meanwhile(path: Path) -> str:
        if not done:
            done.append(path)
            write_reports(bundle, {name: f"another {text}" for name, text in TEXTS.items()})
        return digest(path)

    monkeypatch.setattr(report_files, "digest", meanwhile)
    verify(bundle)
    assert done
    (bundle / "report.md").write_text("changed")
    with pytest.raises(VerificationError, match=r"report\.md: SHA-256 differs"):
        verify(bundle)


def test_validations_write_their_reports_one_after_another(bundle: Path) -> None:
    """Their temporary files have the same names."""
    errors: list[BaseException] = []

    def write(k: int) -> None:
        try:
            for _ in range(20):
                write_reports(bundle, {name: f"{k} {text}" for name, text in TEXTS.items()})
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    verify(bundle)
    assert len({(bundle / name).read_text()[0] for name in REPORTS}) == 1


def test_files_that_go_while_a_bundle_is_verified(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk, digest = os.walk, files.digest

    def temporary(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for parent, folders, names in walk(folder):
            yield parent, folders, [*names, ".junit.xml.tmp"]  # which was renamed just now

    monkeypatch.setattr(files.os, "walk", temporary)
    verify(bundle)

    def removed(path: Path) -> str:
        if path.name == "flow.bin":
            path.unlink()
        return digest(path)

    monkeypatch.setattr(files, "digest", removed)
    listed = read_manifest(bundle).files["programs/flow.bin"]
    assert files.change(bundle, "programs/flow.bin", listed) == "programs/flow.bin: missing"


def test_conditions_that_are_pruned_meanwhile_are_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nothing")  # listed, and not there
    ConditionCache(tmp_path).store("key", {"cond": np.zeros(3, np.float32)})
    assert ConditionCache(tmp_path).find("key") is not None
    assert not recwarn.list
