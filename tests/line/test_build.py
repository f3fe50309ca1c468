"""The straight line on the tiny model and the eager target: build, cache, validate, run, verify."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gen3dexport.bundle import stage_cache
from gen3dexport.bundle.manifest import Manifest, read_manifest, verify
from gen3dexport.documents.budgets import Budgets
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.reports.judge import exit_code, judge
from gen3dexport.reports.report import read_report
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def built(tiny_bundle: Path) -> Path:
    """A bundle of the tiny model for the eager target, validated in a process of its own."""
    return tiny_bundle


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def test_manifest_says_what_was_built(built: Path) -> None:
    manifest = verify(built)
    assert manifest.components == ("flow", "decoder")
    assert manifest.parameters == {"flow": 133_320, "decoder": 402_409}
    assert manifest.calls == {"flow": 8, "decoder": 1}  # 4 steps, all of them guided
    assert not manifest.random_weights
    assert list(manifest.component("flow").inputs) == ["x", "t", "cond"]


def test_report_passes_and_is_measured(built: Path) -> None:
    report = json.loads((built / "report.json").read_text())
    assert report["verdict"] == "pass"
    for component in report["components"]:
        assert component["latency"]["basis"] == "measured"
        assert component["latency"]["p50_ms"] <= component["latency"]["p99_ms"]
        assert component["peak_memory"]["basis"] == "measured"
        for error in component["errors"]["fp32"].values():
            assert float(error["relative_l2"]) < 1e-5
    scores = [q["scores"]["voxels"][0] for q in report["pipeline"]["quality"]]
    assert [(s["name"], round(s["value"], 2)) for s in scores] == [("iou", 1.0)] * 2
    assert read_report(built).to_json() == (built / "report.json").read_text()
    assert (built / "report.md").read_text().startswith("# trellis-tiny on eager-fast: pass")
    assert 'failures="0"' in (built / "junit.xml").read_text()
    assert (built / "report.html").stat().st_size > 1000


def test_runtime_makes_the_golden_asset(built: Path) -> None:
    loaded = load(built)
    mesh = loaded.family.make_assets(loaded.run(_request(0)), loaded.settings)["mesh"]
    golden = load_file(built / "golden" / "assets.safetensors")
    np.testing.assert_allclose(mesh.vertices, golden["0.mesh.vertices"], atol=1e-4)
    np.testing.assert_array_equal(mesh.faces, golden["0.mesh.faces"])


def _request(seed: int) -> Any:
    from gen3dexport.models import Request

    return Request("first", seed, stand_in="trained")


def test_rebuild_from_the_cache_gives_the_same_bytes(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    arguments = ("build", tiny_recipe, "--target", "eager", "--skip-validation")
    assert cli(*arguments, "-o", tmp_path / "a")[0] == 0
    code, _, progress = cli(*arguments, "-o", tmp_path / "b")
    assert code == 0
    assert progress.count("cached") == 2 and "lower" not in progress
    first, second = (read_manifest(tmp_path / name).files for name in "ab")
    assert first == second


def test_an_interrupted_build_leaves_the_old_bundle_and_resumes(
    bundle: Path, tiny_recipe: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "fresh"))
    before = (bundle / "manifest.json").read_bytes()
    from gen3dexport.backends import eager

    lower = eager.lower

    def interrupted(captured: Any, options: Any, out: Path) -> Any:
        if captured.component.name == "decoder":
            os.kill(os.getpid(), signal.SIGINT)
        return lower(captured, options, out)

    monkeypatch.setattr(eager, "lower", interrupted)
    code, _, error = cli("build", tiny_recipe, "--target", "eager", "-o", bundle)
    assert (code, "interrupted" in error.lower()) == (130, True)
    assert (bundle / "manifest.json").read_bytes() == before
    verify(bundle)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".") and p.is_dir()] == []
    assert len([*stage_cache.folder().glob("*/entry.json")]) == 1  # of the flow; both were observed
    monkeypatch.setattr(eager, "lower", lower)
    code, _, progress = cli("build", tiny_recipe, "--target", "eager", "-o", bundle, "--skip-validation")
    assert code == 0
    assert progress.count("cached") == 1


def test_two_builds_of_one_bundle_at_once(bundle: Path, tiny_recipe: Path, cli: Cli) -> None:
    from gen3dexport.bundle.drafts import writing

    with writing(bundle) as draft:
        shutil.copytree(bundle, draft, dirs_exist_ok=True)
        code, _, error = cli("build", tiny_recipe, "--target", "eager", "-o", bundle)
    assert code == 2
    assert "another build is writing this bundle" in error


@pytest.mark.parametrize(
    ("budgets", "code"),
    [
        ({"scores": {"voxels": {"iou": 1.0}}}, 0),
        ({"scores": {"mesh": {"chamfer": 1e-9}}}, 5),
        ({"size_mb": 0.001}, 6),
        ({"latency_ms": 1e-6}, 6),
        ({"peak_memory_mb": 1e-6}, 6),
    ],
    ids=str,
)
def test_a_missed_budget_has_an_exit_code(built: Path, budgets: dict[str, Any], code: int) -> None:
    """Each alone, against what was measured of the bundle."""
    report = read_report(built)
    judged = judge(Budgets(**budgets), report.components, report.pipeline, report.size_bytes)
    assert [budget.verdict for budget in judged] == ["pass" if code == 0 else "fail"]
    assert exit_code(report.model_copy(update={"budgets": judged})) == code


def test_missed_costs_are_results_of_a_build(tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli) -> None:
    missed = {"latency_ms": 1e-6, "peak_memory_mb": 1e-6, "size_mb": 0.001}
    budgets = [f"budgets.{name}={limit}" for name, limit in {**missed, "scores.voxels.iou": 1.0}.items()]
    code, out, _ = cli("build", tiny_recipe, *budgets, "-t", fast_target, "-o", tmp_path / "b", "--json")
    assert code == 6
    verdicts = {budget["name"]: budget["verdict"] for budget in json.loads(out)["budgets"]}
    assert {name for name, verdict in verdicts.items() if verdict == "fail"} == set(missed)
    assert verdicts["voxels.iou"] == "pass"
    assert (tmp_path / "b" / "report.json").is_file()


def test_accuracy_below_its_floor(tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli) -> None:
    budgets = ("budgets.relative_l2_fp32=1e-6", "budgets.scores.mesh.chamfer=1e-9")
    arguments = ("components.flow.scheme=bf16", *budgets, "-t", fast_target, "-o", tmp_path / "b")
    code, out, _ = cli("build", tiny_recipe, *arguments)
    assert code == 5
    assert "fail" in out
    verdicts = {budget.name: budget.verdict for budget in read_report(tmp_path / "b").budgets}
    assert verdicts["relative_l2_fp32"] == verdicts["mesh.chamfer"] == "fail"


def test_run_writes_an_asset_and_a_picture(built: Path, tmp_path: Path, cli: Cli) -> None:
    np.save(tmp_path / "features.npy", np.random.default_rng(0).standard_normal((11, 48), dtype=np.float32))
    arguments = ("run", built, "--features", tmp_path / "features.npy", "-o", tmp_path / "asset.glb", "--render")
    code, out, error = cli(*arguments)
    assert code == 0, error
    assert (tmp_path / "asset.glb").stat().st_size > 1000
    assert (tmp_path / "asset.png").stat().st_size > 1000
    assert "faces" in out


def test_random_weights_are_said_loudly(tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli) -> None:
    arguments = ("--random-weights", "-t", fast_target, "-o", tmp_path / "b", "--json")
    code, out, error = cli("build", tiny_recipe, *arguments)
    assert json.loads(out)["random_weights"] is True
    assert code == 8, error  # no asset quality where the recipe asks for one
    manifest: Manifest = read_manifest(tmp_path / "b")
    assert manifest.random_weights
    code, _, error = cli("run", tmp_path / "b", "-o", tmp_path / "x.glb")
    assert code == 2 and "random weights" in error
    assert not (tmp_path / "x.glb").exists()


def _flip_a_byte(bundle: Path) -> None:
    path = bundle / "programs" / "flow.pt2"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(bundle: Path) -> None:
    path = bundle / "programs" / "flow.pt2"
    path.write_bytes(path.read_bytes()[:-100])


def _of_format(bundle: Path, number: int) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": number}))


def _outside(bundle: Path) -> None:
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    data["files"]["../secret"] = {"bytes": 1, "sha256": "0"}
    path.write_text(json.dumps(data))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped byte": (_flip_a_byte, "SHA-256 differs"),
    "a truncated program": (_truncate, "the manifest says"),
    "a missing program": (lambda b: (b / "programs" / "flow.pt2").unlink(), "missing"),
    "an extra file": (lambda b: (b / "programs" / "extra.pt2").write_text("x"), "not in the manifest"),
    "a newer format": (lambda b: _of_format(b, 99), "upgrade gen3dexport"),
    "an older format": (lambda b: _of_format(b, 1), "build the bundle again"),
    "a damaged manifest": (lambda b: (b / "manifest.json").write_text("{"), "damaged"),
    "a path outside": (_outside, "outside the bundle"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", ["verify", "validate", "run"])
def test_a_damaged_bundle_is_refused_before_it_is_parsed(bundle: Path, cli: Cli, damage: str, command: str) -> None:
    harm, message = DAMAGE[damage]
    harm(bundle)
    code, _, error = cli(command, bundle)
    assert code == VerificationError.exit_code
    assert message in error


def test_a_folder_that_is_not_a_bundle_is_not_overwritten(tmp_path: Path, tiny_recipe: Path, cli: Cli) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("words")
    code, _, error = cli("build", tiny_recipe, "-t", "eager", "-o", tmp_path / "precious")
    assert code == UsageError.exit_code
    assert "is not a bundle" in error
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "words"
