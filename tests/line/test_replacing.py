"""A bundle that is there goes when the new one was judged to the end, and not before."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from gen3dexport.backends import Program, eager
from gen3dexport.build import build
from gen3dexport.bundle import drafts
from gen3dexport.bundle.manifest import Manifest, read_manifest, verify
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import UnmeasuredError, UsageError, VerificationError
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target
from gen3dexport.validation import validate


@pytest.fixture
def plan(tiny_recipe: Path, fast_target: Path) -> Plan:
    """The tiny model on another target than the bundle that is there was built for."""
    target = read_target(str(fast_target)).model_copy(update={"summary": "the new one"})
    return make_plan(read_recipe(str(tiny_recipe), target), target)


def _dies(bundle: Path) -> None:
    verify(bundle)  # whole, but not yet in its place
    raise UnmeasuredError(f"{bundle}: killed by SIGKILL")


def test_a_judge_that_dies_leaves_the_old_bundle(plan: Plan, tiny_bundle: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(UnmeasuredError) as raised:
        build(plan, out, judge=_dies)
    assert str(raised.value).startswith(f"{out}: killed by SIGKILL\n{out}: the bundle that was there stays")
    assert (out / "manifest.json").read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if ".draft-" in p.name]
    build(plan, out)
    assert read_manifest(out).target["summary"] == "the new one"


def test_where_no_bundle_was_the_new_one_can_be_judged_again(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(UnmeasuredError) as raised:
        build(plan, tmp_path / "bundle", judge=_dies)
    assert str(raised.value) == f"{tmp_path / 'bundle'}: killed by SIGKILL"
    verify(tmp_path / "bundle")


def test_a_missed_budget_is_a_result_and_replaces(
    tiny_recipe: Path, tiny_bundle: Path, fast_target: Path, tmp_path: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    code, _, error = cli("build", tiny_recipe, "budgets.size_mb=0.001", "-t", fast_target, "-o", out)
    assert code == 6, error
    assert verify(out).recipe["budgets"]["size_mb"] == 0.001 and (out / "report.json").is_file()


def _put(bundle: Path, out: Path) -> None:
    """Put a copy of a bundle where another one is, as a build does."""
    with drafts.writing(out) as draft:
        shutil.copytree(bundle, draft, dirs_exist_ok=True)


def test_a_run_meanwhile_is_of_the_old_or_the_new_bundle(
    tiny_bundle: Path,
    half_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Callable[..., tuple[int, str, str]],
) -> None:
    """The new bundle comes when the old one's first program is loaded; its second one is another file."""
    out = Path(shutil.copytree(half_bundle, tmp_path / "bundle"))
    np.save(tmp_path / "f.npy", np.random.default_rng(0).standard_normal((11, 48), dtype=np.float32))
    asset = ["--features", tmp_path / "f.npy", "--kind", "voxels", "-o"]
    load, loaded = eager.load, []

    def meanwhile(folder: Path, record: ProgramRecord) -> Program:
        if not loaded:
            _put(tiny_bundle, out)
        loaded.append(record.name)
        return load(folder, record)

    with monkeypatch.context() as patch:
        patch.setattr(eager, "load", meanwhile)
        code, _, error = cli("run", out, *asset, tmp_path / "meanwhile.npz")
    assert code == 0, error
    assert loaded == ["flow", "flow", "decoder"]  # once more, of the new one
    assert cli("run", out, *asset, tmp_path / "after.npz")[0] == 0
    assert (tmp_path / "meanwhile.npz").read_bytes() == (tmp_path / "after.npz").read_bytes()


def test_a_bundle_damaged_meanwhile_is_told(
    half_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    out = Path(shutil.copytree(half_bundle, tmp_path / "bundle"))
    np.save(tmp_path / "f.npy", np.zeros((11, 48), np.float32))

    def damages(folder: Path, record: ProgramRecord) -> Program:
        (folder / "decoder.pt2").write_bytes(b"x")
        return load(folder, record)

    load = eager.load
    monkeypatch.setattr(eager, "load", damages)
    code, _, error = cli("run", out, "--features", tmp_path / "f.npy", "-o", tmp_path / "x.glb")
    assert code == VerificationError.exit_code and "decoder.pt2" in error


def test_a_validation_is_of_one_bundle(
    tiny_bundle: Path, half_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(half_bundle, tmp_path / "bundle"))
    measured, measure = [], validate.measure_in_child

    def meanwhile(folder: Path, manifest: Manifest) -> object:
        measured.append(manifest.digest)
        if len(measured) == 1:
            _put(tiny_bundle, out)
        return measure(folder, manifest)

    monkeypatch.setattr(validate, "measure_in_child", meanwhile)
    judged = validate.judge(out)
    digests = [read_manifest(bundle).digest for bundle in (half_bundle, tiny_bundle)]
    assert measured == digests and judged.digest == digests[1]
    judged.write(out)
    verify(out)
    _put(half_bundle, out)
    with pytest.raises(UsageError, match="another bundle here"):
        judged.write(out)
    verify(out)


@pytest.mark.skipif(sys.platform != "linux", reason="children are ended by Linux")
def test_a_build_killed_while_it_validates(tiny_recipe: Path, tiny_bundle: Path, tmp_path: Path, plan: Plan) -> None:
    """The old bundle stays, the process that measures ends, and what both wrote goes with the next build."""
    out = Path(shutil.copytree(tiny_bundle, tmp_path / "out" / "bundle"))
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "gen3dexport", "build", tiny_recipe, "-t", "eager", "-o", out]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}
    build_ = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    child = _measuring(build_.pid)
    assert list((tmp_path / "tmp").iterdir())
    build_.kill()
    build_.wait()
    assert _ended(child)
    assert verify(out).digest == read_manifest(tiny_bundle).digest
    assert [path for path in out.parent.iterdir() if ".draft-" in path.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        build(plan, out, judge=lambda draft: validate.validate(draft))
    assert read_manifest(out).target["summary"] == "the new one"
    assert {path.name for path in out.parent.iterdir()} == {"bundle", ".bundle.lock"}
    assert not list((tmp_path / "tmp").iterdir())


def _measuring(pid: int) -> psutil.Process:
    """The process that measures for a build, as soon as it has a folder for what it finds."""
    for _ in range(600):
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(pid).children():
                if "gen3dexport.validation.measure" in child.cmdline() and "TMPDIR" in child.environ():
                    return child
        time.sleep(0.05)
    raise AssertionError("the build does not validate")


def _ended(process: psutil.Process) -> bool:
    for _ in range(100):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False
