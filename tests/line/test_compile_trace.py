"""`build --trace`: torch's trace of what a build exports, rendered; where none can be kept, it is told at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gen3dexport.profiling import compile_trace

Cli = Callable[..., tuple[int, str, str]]


def test_a_build_is_traced_and_rendered(tiny_recipe: Path, fast_target: Path, tmp_path: Path) -> None:
    out, trace = tmp_path / "bundle", tmp_path / "trace"
    command = [sys.executable, "-m", "gen3dexport", "build", tiny_recipe, "--target", fast_target, "-o", out]
    command += ["--skip-validation", "--trace", trace, "golden.assets=false"]
    own = {**os.environ, "GEN3DEXPORT_CACHE": str(tmp_path / "cache")}  # nothing is in the stage cache
    done = subprocess.run([*map(str, command)], env=own, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    (log,) = trace.glob(compile_trace.LOGS)
    page = trace / compile_trace.PAGES / "index.html"
    assert f"trace:  {page}" in done.stderr
    assert "<html" in page.read_text() and len([*page.parent.rglob("*")]) > 2
    assert log.stat().st_size > 10_000
    assert not [*out.rglob("*trace*")] and "TORCH_TRACE" not in (out / "manifest.json").read_text()


def test_what_cannot_be_traced_is_told_first(
    tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    code, _, error = cli("build", tiny_recipe, "--trace", tmp_path / "full")
    assert code == 2 and "not empty; name a new folder for --trace" in error
    code, _, error = cli("build", tiny_recipe, "--check-reproducible", "--trace", tmp_path / "new")
    assert code == 2 and "leave --trace out" in error
    monkeypatch.setattr(compile_trace, "_tlparse", lambda: None)
    code, _, error = cli("build", tiny_recipe, "--trace", tmp_path / "new")
    assert code == 3 and "pip install 'gen3dexport[trace]'" in error
    assert not (tmp_path / "new").exists()
