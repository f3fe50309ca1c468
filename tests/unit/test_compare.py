"""Compare: verdicts on regressions, and what is shown but not judged."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sample_reports import estimated, pipeline, program, quality, report, times

from gen3dexport.assets.score import Score
from gen3dexport.bundle.report_files import write_reports
from gen3dexport.errors import VerificationError
from gen3dexport.reports.records import MeasuredMemory, Quality, Report, Unmeasured
from gen3dexport.reports.report import read_report

Cli = Callable[..., tuple[int, str, str]]
V5E = "roofline v5e"
UNMEASURED = Unmeasured(reason="no GPU here")
REPORT = report()


ALL = ["--max-latency-increase", "5%", "--max-size-increase", "0.05", "--max-memory-increase", "5%"]
ALL += ["--max-quality-loss", "0.01"]


def _whole(**fields: Any) -> Report:
    """The report with other facts of whole assets."""
    return report(pipeline=pipeline(**fields))


def _one(**fields: Any) -> Report:
    """The report with other facts of its program."""
    return report(components=(program(**fields),))


@pytest.fixture
def comparison(tmp_path: Path, cli: Cli) -> Callable[..., tuple[int, str]]:
    def run(a: Report, b: Report, *options: str) -> tuple[int, str]:
        for name, side in (("a.json", a), ("b.json", b)):
            (tmp_path / name).write_text(side.to_json())
        code, out, error = cli("compare", tmp_path / "a.json", tmp_path / "b.json", *options)
        return code, out + error

    return run


@pytest.mark.parametrize(
    ("worse", "code", "metric"),
    [
        (_whole(latency=times(106)), 6, "latency_ms"),
        (report(size_bytes=2_110_000), 6, "size_mb"),
        (_one(peak_memory=MeasuredMemory(bytes=5_300_000, where="host")), 6, "peak_memory_mb"),
        (_whole(quality=(quality(iou=0.93),)), 5, "voxels.iou"),
        (_whole(quality=(quality(f_score=0.97),)), 5, "mesh.f_score"),
        (_whole(quality=(quality(f_score=math.nan),)), 5, "mesh.f_score"),
    ],
)
def test_a_regression_fails(comparison: Callable[..., tuple[int, str]], worse: Report, code: int, metric: str) -> None:
    found, out = comparison(REPORT, worse, *ALL, "--json")
    assert found == code
    rows = json.loads(out)["rows"]
    assert [r["metric"] for r in rows if r["verdict"] == "fail"] == [metric]
    assert sum(r["verdict"] == "pass" for r in rows) == 4


def test_the_same_and_the_better_pass(comparison: Callable[..., tuple[int, str]]) -> None:
    assert comparison(REPORT, REPORT, *ALL)[0] == 0
    better = report(pipeline=pipeline(latency=times(50)), size_bytes=1_000_000)
    code, out = comparison(REPORT, better, *ALL)
    assert code == 0
    assert "-50 (-50.0%)" in out


def test_without_thresholds_nothing_is_judged(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, report(size_bytes=4_000_000), "--json")
    assert code == 0
    assert {r["verdict"] for r in json.loads(out)["rows"]} == {None}


def test_quality_comes_before_size(comparison: Callable[..., tuple[int, str]]) -> None:
    worse = report(pipeline=pipeline(quality=(quality(iou=0.5),)), size_bytes=4_000_000)
    assert comparison(REPORT, worse, *ALL)[0] == 5


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (REPORT, _whole(latency=estimated((1, V5E))), "A is measured and B is estimated"),
        (REPORT, _whole(latency=UNMEASURED), "B is unmeasured: no GPU here"),
        (_whole(latency=estimated((1, V5E))), _whole(latency=estimated((9, V5E))), "estimates are not accepted"),
        (REPORT, report(device="another CPU"), "measured on different devices"),
        (REPORT, _one(latency=times(10, 8)), "different numbers of threads"),
    ],
)
def test_what_cannot_be_compared_is_shown_and_not_judged(
    comparison: Callable[..., tuple[int, str]], a: Report, b: Report, reason: str
) -> None:
    code, out = comparison(a, b, "--max-latency-increase", "5%", "--json")
    assert code == 8
    row = next(r for r in json.loads(out)["rows"] if (r["program"], r["metric"]) == ("", "latency_ms"))
    assert row["verdict"] == "not judged"
    assert reason in row["reason"]


def test_estimates_by_one_model_are_judged_where_accepted(comparison: Callable[..., tuple[int, str]]) -> None:
    one, slower = _whole(latency=estimated((1, V5E))), _whole(latency=estimated((2, V5E)))
    other = _whole(latency=estimated((1, "another model")))
    options = ("--max-latency-increase", "5%", "--accept-estimates")
    assert [comparison(one, b, *options)[0] for b in (one, slower, other)] == [0, 6, 8]


def test_other_prompts_are_no_quality_comparison(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _whole(seed=1), "--max-quality-loss", "1%", "--json")
    assert code == 8
    assert "different prompts or seeds" in out


def test_a_program_of_one_side_only(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(report(components=()), REPORT, "--max-memory-increase", "5%", "--json")
    assert code == 8
    assert "only in B" in out


def test_markdown(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _whole(latency=times(120)), *ALL, "--markdown")
    assert code == 6
    assert out.startswith("**gen3dexport compare: fail**")
    assert "| bundle | latency, ms | 100 | 120 | +20 (+20.0%) | measured | fail (limit +5%) |" in out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {8}


@pytest.mark.parametrize("options", [(), ("--markdown",)], ids=["text", "markdown"])
def test_every_number_says_its_unit_and_its_basis(
    options: tuple[str, ...], comparison: Callable[..., tuple[int, str]]
) -> None:
    cloud = quality().scores | {"gaussians": (Score("psnr", 30.0, "higher", "dB"),)}
    a = _whole(quality=(Quality(prompt="a chair", scores=cloud),))
    b = report(
        pipeline=pipeline(latency=estimated((2, V5E))),
        components=(program(latency=UNMEASURED, peak_memory=UNMEASURED),),
    )
    code, out = comparison(a, b, *options)
    lines = [" ".join(line.replace("|", " ").split()) for line in out.splitlines()]
    assert code == 0
    for line in (
        "program what, unit A B change basis" + (" verdict" if options else ""),
        "bundle size, MB 2 2 +0 measured",
        "bundle latency, ms 100 2 – A measured, B estimated",
        "bundle voxels iou 0.95 0.95 +0 measured",
        "bundle gaussians psnr, dB 30 – – measured",
        "flow latency, ms 10 – – A measured, B unmeasured",
        "flow peak memory, MB 5 – – A measured, B unmeasured",
        "flow relative L2 to fp32 0.003 0.003 +0 measured",
        f"B: estimated by {V5E}",
        "B: unmeasured: no GPU here",
    ):
        assert lines.count(line) == 1, (line, out)


def test_verdicts_stand_below_the_table(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _whole(latency=UNMEASURED), "--max-latency-increase", "5%", "--max-size-increase=0")
    assert code == 8
    assert "\nbundle size, MB: pass (limit +0%)\n" in out
    assert "\nbundle latency, ms: not judged: B is unmeasured: no GPU here\n" in out


def test_quality_of_other_kinds_is_shown_and_its_first_score_judged(
    comparison: Callable[..., tuple[int, str]],
) -> None:
    cloud = {"gaussians": (Score("ssim", 0.9, "higher"), Score("psnr", math.inf, "higher", "dB"))}
    a, b = (_whole(quality=(Quality(prompt="a chair", scores=scores),)) for scores in (quality().scores | cloud, cloud))
    code, out = comparison(a, b, "--max-quality-loss", "1%", "--json")
    assert code == 8
    rows = {r["metric"]: r for r in json.loads(out)["rows"] if not r["program"]}
    assert rows["gaussians.ssim"]["verdict"] == "pass" and rows["gaussians.psnr"]["verdict"] is None
    assert rows["gaussians.psnr"]["a"] == {"basis": "measured", "value": "inf"}
    assert rows["mesh.f_score"]["verdict"] == "not judged" and rows["mesh.f_score"]["reason"] == "only in A"
    code, out = comparison(a, _whole(quality=(), missing="no GPU here"), "--max-quality-loss", "1%")
    assert code == 8 and "no GPU here" in out


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 3}', '{"schema": 2, "components": 3}'])
def test_an_unreadable_report(tmp_path: Path, cli: Cli, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    code, _, error = cli("compare", tmp_path / "a.json", tmp_path / "a.json")
    assert code == 7
    assert "a.json" in error


def test_a_report_of_format_1_is_refused_with_the_remedy(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "a.json").write_text('{"schema": 1}')
    code, _, error = cli("compare", tmp_path / "a.json", tmp_path / "a.json")
    assert code == 7
    assert "report format 1, and this gen3dexport reads 2; validate the bundle again" in error


@pytest.mark.parametrize("field", sorted(type(REPORT).model_fields))
def test_a_report_without_a_part_is_refused_by_its_name(tmp_path: Path, field: str) -> None:
    name = type(REPORT).model_fields[field].alias or field
    data = json.loads(REPORT.to_json())
    (tmp_path / "a.json").write_text(json.dumps({k: v for k, v in data.items() if k != name}))
    with pytest.raises(VerificationError, match=name):
        read_report(tmp_path / "a.json")


def test_a_bundle_that_was_not_validated(tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("compare", tmp_path, tmp_path)
    assert code == 2
    assert f"gen3dexport validate {tmp_path}" in error
    code, _, error = cli("compare", tmp_path / "nope", tmp_path)
    assert code == 2 and "nope: no report there; give the folder of a bundle that `gen3dexport build` made" in error


@pytest.mark.parametrize("share", ["five", "-1", "nan", "inf"])
def test_bad_threshold(comparison: Callable[..., tuple[int, str]], share: str) -> None:
    code, out = comparison(REPORT, REPORT, f"--max-size-increase={share}")
    assert code == 2
    assert "--max-size-increase" in out


def test_a_bundle_and_its_report_are_as_they_were_written(paper: Path, cli: Cli) -> None:
    write_reports(paper, {"report.json": REPORT.to_json()})
    assert cli("compare", paper, paper)[0] == 0
    (paper / "report.json").write_text(report(size_bytes=1).to_json())
    for side in (paper, paper / "report.json"):
        code, _, error = cli("compare", side, side)
        assert code == 7 and "report.json: SHA-256 differs" in error
    write_reports(paper, {"report.json": REPORT.to_json()})
    manifest = json.loads((paper / "manifest.json").read_text())
    (paper / "manifest.json").write_text(json.dumps({**manifest, "digest": 64 * "0"}, indent=1) + "\n")
    code, _, error = cli("compare", paper, paper)
    assert code == 7 and "manifest.json: was changed" in error


def test_compare_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(REPORT.to_json())
    code = (
        "import sys; sys.argv = ['gen3dexport', 'compare', sys.argv[1], sys.argv[1]]\n"
        "from gen3dexport.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
