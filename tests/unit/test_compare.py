"""Compare: verdicts on regressions, and what is shown but not judged."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., tuple[int, str, str]]
Report = dict[str, Any]


def _measured(ms: float, threads: int = 2) -> Report:
    return {"kind": "measured", "threads": threads, "p50_ms": ms, "p90_ms": ms, "p99_ms": ms}


def _estimated(ms: float, by: str = "roofline v5e") -> Report:
    return {"kind": "estimated", "estimates": [{"value": ms, "by": by}]}


UNMEASURED = {"kind": "unmeasured", "reason": "no GPU here"}
REPORT: Report = {
    "schema": 1,
    "bundle": "chair-maker",
    "recipe": "trellis-mini",
    "target": "eager",
    "device": "a CPU",
    "created": "2026-11-23",
    "components": [
        {
            "name": "flow",
            "program_bytes": 1_000_000,
            "weights_bytes": 1_000_000,
            "latency": _measured(10),
            "peak_memory": {"kind": "measured", "bytes": 5_000_000},
            "errors": {"fp32": {"v": {"relative_l2": 0.01}}},
            "missing": None,
        }
    ],
    "pipeline": {
        "prompts": ["a chair"],
        "seed": 0,
        "quality": [{"iou": 0.95, "f_score": 0.99, "chamfer": 0.01}],
        "missing": None,
        "latency": _measured(100),
    },
    "size_bytes": 2_000_000,
}
ALL = ["--max-latency-increase", "5%", "--max-size-increase", "0.05", "--max-memory-increase", "5%"]
ALL += ["--max-quality-loss", "0.01"]


def _with(path: str, value: Any) -> Report:
    report = copy.deepcopy(REPORT)
    *parents, last = path.split(".")
    node: Any = report
    for key in parents:
        node = node[int(key) if key.isdigit() else key]
    node[last] = value
    return report


@pytest.fixture
def comparison(tmp_path: Path, cli: Cli) -> Callable[..., tuple[int, str]]:
    def run(a: Report, b: Report, *options: str) -> tuple[int, str]:
        for name, report in (("a.json", a), ("b.json", b)):
            (tmp_path / name).write_text(json.dumps(report))
        code, out, error = cli("compare", tmp_path / "a.json", tmp_path / "b.json", *options)
        return code, out + error

    return run


@pytest.mark.parametrize(
    ("path", "value", "code", "metric"),
    [
        ("pipeline.latency", _measured(106), 6, "latency_ms"),
        ("size_bytes", 2_110_000, 6, "size_mb"),
        ("components.0.peak_memory", {"kind": "measured", "bytes": 5_300_000}, 6, "peak_memory_mb"),
        ("pipeline.quality.0.iou", 0.93, 5, "iou"),
        ("pipeline.quality.0.f_score", 0.97, 5, "f_score"),
        ("pipeline.quality.0.f_score", "nan", 5, "f_score"),
    ],
)
def test_a_regression_fails(
    comparison: Callable[..., tuple[int, str]], path: str, value: Any, code: int, metric: str
) -> None:
    found, out = comparison(REPORT, _with(path, value), *ALL, "--json")
    assert found == code
    rows = json.loads(out)["rows"]
    assert [r["metric"] for r in rows if r["verdict"] == "fail"] == [metric]
    assert sum(r["verdict"] == "pass" for r in rows) == 4


def test_the_same_and_the_better_pass(comparison: Callable[..., tuple[int, str]]) -> None:
    assert comparison(REPORT, REPORT, *ALL)[0] == 0
    better = _with("pipeline.latency", _measured(50)) | {"size_bytes": 1_000_000}
    code, out = comparison(REPORT, better, *ALL)
    assert code == 0
    assert "-50 (-50.0%)" in out


def test_without_thresholds_nothing_is_judged(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _with("size_bytes", 4_000_000), "--json")
    assert code == 0
    assert {r["verdict"] for r in json.loads(out)["rows"]} == {None}


def test_quality_comes_before_size(comparison: Callable[..., tuple[int, str]]) -> None:
    worse = _with("pipeline.quality.0.iou", 0.5) | {"size_bytes": 4_000_000}
    assert comparison(REPORT, worse, *ALL)[0] == 5


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (REPORT, _with("pipeline.latency", _estimated(1)), "A is measured and B is estimated"),
        (REPORT, _with("pipeline.latency", UNMEASURED), "B is unmeasured: no GPU here"),
        (_with("pipeline.latency", _estimated(1)), _with("pipeline.latency", _estimated(9)), "estimates are not accep"),
        (REPORT, _with("device", "another CPU"), "measured on different devices"),
        (REPORT, _with("components.0.latency", _measured(10, 8)), "different numbers of threads"),
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
    one, slower = _with("pipeline.latency", _estimated(1)), _with("pipeline.latency", _estimated(2))
    other = _with("pipeline.latency", _estimated(1, "another model"))
    options = ("--max-latency-increase", "5%", "--accept-estimates")
    assert [comparison(one, b, *options)[0] for b in (one, slower, other)] == [0, 6, 8]


def test_other_prompts_are_no_quality_comparison(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _with("pipeline.seed", 1), "--max-quality-loss", "1%", "--json")
    assert code == 8
    assert "different prompts or seeds" in out


def test_a_program_of_one_side_only(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(_with("components", []), REPORT, "--max-memory-increase", "5%", "--json")
    assert code == 8
    assert "only in B" in out


def test_markdown(comparison: Callable[..., tuple[int, str]]) -> None:
    code, out = comparison(REPORT, _with("pipeline.latency", _measured(120)), *ALL, "--markdown")
    assert code == 6
    assert out.startswith("**gen3dexport compare: fail**")
    assert "| bundle latency_ms | 100 | 120 | +20 (+20.0%) | fail (limit +0.05) |" in out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {6}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2}', '{"schema": 1, "components": 3}'])
def test_an_unreadable_report(tmp_path: Path, cli: Cli, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    code, _, error = cli("compare", tmp_path / "a.json", tmp_path / "a.json")
    assert code == 7
    assert "a.json" in error


def test_a_bundle_that_was_not_validated(tmp_path: Path, cli: Cli) -> None:
    code, _, error = cli("compare", tmp_path, tmp_path)
    assert code == 2
    assert f"gen3dexport validate {tmp_path}" in error


@pytest.mark.parametrize("share", ["five", "-1", "nan", "inf"])
def test_bad_threshold(comparison: Callable[..., tuple[int, str]], share: str) -> None:
    code, out = comparison(REPORT, REPORT, f"--max-size-increase={share}")
    assert code == 2
    assert "--max-size-increase" in out


def test_compare_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(REPORT))
    code = (
        "import sys; sys.argv = ['gen3dexport', 'compare', sys.argv[1], sys.argv[1]]\n"
        "from gen3dexport.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
