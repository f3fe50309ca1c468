"""The report's records: written and read back, told apart, judged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sample_reports import error, estimated, pipeline, program, quality, report, times

from gen3dexport.assets.score import Score, loss
from gen3dexport.documents.budgets import Budgets, wrong_scores
from gen3dexport.errors import VerificationError
from gen3dexport.reports.judge import exit_code, judge, overall
from gen3dexport.reports.records import (
    BesideUnquantized,
    Errors,
    Failure,
    Judged,
    MeasuredMemory,
    MeasuredProgram,
    MeasuredSlowdown,
    Measurement,
    ProgramReport,
    Quality,
    Report,
    Unmeasured,
)
from gen3dexport.reports.report import read_report
from gen3dexport.reports.text import number, to_junit, to_markdown
from gen3dexport.validation.validate import ANSWER

UNKNOWN = Unmeasured(reason="no GPU")
NOT_FINITE = error(1).model_copy(update={"relative_l2": math.inf, "psnr_db": -math.inf})
PROGRAMS = (
    MeasuredProgram(latency=UNKNOWN, peak_memory=UNKNOWN, missing="no GPU"),
    MeasuredProgram(latency=times(3), peak_memory=MeasuredMemory(bytes=9, where="device")),
    MeasuredProgram(
        errors=Errors(fp32={"v": NOT_FINITE}),
        latency=times(3),
        peak_memory=UNKNOWN,
        slowdown=MeasuredSlowdown(slowdown=-0.3, p50_ms=7, unquantized_p50_ms=10, runs=5, threads=2),
    ),
)


def measurement() -> Measurement:
    scores = {"voxels": (Score("iou", 1.0, "higher"),), "mesh": (Score("chamfer", math.inf, "lower", "m"),)}
    found = pipeline(
        quality=(Quality(prompt="a | b", scores=scores),),
        stages={"flow": 4.0},
        drift={"flow": ((None, 40.0), (None, None))},
    )
    return Measurement(device="a CPU", programs=dict(zip("abc", PROGRAMS, strict=True)), pipeline=found)


def test_what_the_child_process_says_is_read_as_it_was_written() -> None:
    found = measurement()
    text = found.model_dump_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert ANSWER.validate_json(text) == found
    failed = Failure(error="MissingError", message="no GPU")
    assert ANSWER.validate_json(failed.model_dump_json()) == failed


def test_a_report_is_read_as_it_was_written() -> None:
    beside = BesideUnquantized(scheme="fp32", bytes=8, size_ratio=0.5, slowdown=estimated((-0.5, "roofline")))
    parts = (
        program("flow", unquantized=beside, errors=Errors(fp32={"v": NOT_FINITE})),
        program("flow_tpu", role="twin", latency=estimated((1, "a"), (2, "b")), peak_memory=UNKNOWN, missing="no TPU"),
    )
    found = report(components=parts, pipeline=measurement().pipeline)
    data = json.loads(found.to_json())
    assert Report.model_validate(data) == found
    assert data["schema"] == 2
    assert data["components"][0]["errors"]["fp32"]["v"]["relative_l2"] == "inf"
    assert data["pipeline"]["quality"][0]["scores"]["mesh"] == [
        {"name": "chamfer", "value": "inf", "better": "lower", "unit": "m"}
    ]


@pytest.mark.parametrize(
    "latency",
    [
        {"basis": "unmeasured"},
        {"basis": "estimated", "estimates": []},
        {"basis": "measured", "p50_ms": 3.0},
        {"basis": "unmeasured", "reason": "no GPU", "p50_ms": 3.0},
        {"basis": "guessed", "value": 3.0},
    ],
)
def test_a_number_is_measured_estimated_or_unmeasured_and_nothing_else(latency: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        program(latency=latency)


def test_the_worst_error_is_nan_before_it_is_large() -> None:
    errors = Errors(fp32={"a": error(0.5), "b": error(2).model_copy(update={"relative_l2": math.nan})})
    assert math.isnan(errors.worst("fp32") or 0) and errors.worst("quantized") is None
    (budget,) = judge(Budgets(relative_l2_fp32=9), [program(errors=errors)], pipeline(), 0)
    assert budget.verdict == "fail"


def verdicts(budgets: Budgets, **fields: Any) -> dict[str, Judged]:
    judged = judge(budgets, [program()], pipeline(**fields), 2_000_000)
    return {b.name: b for b in judged}


def test_scores_have_floors_or_ceilings_by_what_is_better() -> None:
    limits = {"voxels": {"iou": 0.9}, "mesh": {"f_score": 0.995, "chamfer": 0.005}}
    found = verdicts(Budgets(scores=limits), quality=(quality(iou=0.85), quality(iou=0.97)))
    assert {name: (b.floor, b.verdict) for name, b in found.items()} == {
        "voxels.iou": (True, "pass"),
        "mesh.f_score": (True, "fail"),
        "mesh.chamfer": (False, "fail"),
    }
    assert found["voxels.iou"].value == pytest.approx(0.91)
    assert {b.exit_code for b in found.values()} == {5}


def test_scores_without_assets_are_unmeasured_and_keep_their_direction() -> None:
    limits = {"mesh": {"f_score": 0.9, "chamfer": 0.01}, "gaussians": {"psnr": 30.0}}
    found = verdicts(Budgets(scores=limits), quality=(), missing="no GPU", latency=UNKNOWN)
    assert {b.verdict for b in found.values()} == {"unmeasured"} and {b.reason for b in found.values()} == {"no GPU"}
    assert [b.floor for b in found.values()] == [True, False, True]
    assert verdicts(Budgets(scores={"gaussians": {"psnr": 30}}))["gaussians.psnr"].reason == (
        "the assets have no score gaussians.psnr"
    )


def test_a_nan_score_passes_no_budget_and_loses_everything() -> None:
    nan = (quality(iou=math.nan),)
    assert verdicts(Budgets(scores={"voxels": {"iou": 0.0}}), quality=nan)["voxels.iou"].verdict == "fail"
    assert nan[0].loss == math.inf


def test_the_loss_is_that_of_the_worst_kind() -> None:
    assert quality(iou=0.9, f_score=0.7, chamfer=8.0).loss == pytest.approx(0.3)
    with pytest.raises(ValueError, match="empty"):
        loss({})


@pytest.mark.parametrize(
    ("budgets", "accept", "code"),
    [
        (Budgets(relative_l2=1), False, 0),
        (Budgets(relative_l2=1e-9, latency_ms=1), False, 5),
        (Budgets(latency_ms=1, size_mb=1), False, 6),
        (Budgets(scores={"gaussians": {"ssim": 1}}), False, 8),
        (Budgets(scores={"gaussians": {"ssim": 1}}), True, 0),
        (Budgets(scores={"gaussians": {"ssim": 1}}, size_mb=1), True, 6),
    ],
)
def test_exit_codes(budgets: Budgets, accept: bool, code: int) -> None:
    judged = judge(budgets, [program()], pipeline(), 2_000_000)
    found = report(budgets=judged, verdict=overall(judged), accept_unmeasured=accept)
    assert exit_code(found) == code


def test_budgets_merge_score_by_score() -> None:
    target = Budgets(scores={"mesh": {"f_score": 0.5, "chamfer": 1.0}, "voxels": {"iou": 0.1}}, size_mb=9)
    found = Budgets(scores={"mesh": {"f_score": 0.9}}, latency_ms=5).over(target)
    assert found.scores == {"mesh": {"f_score": 0.9, "chamfer": 1.0}, "voxels": {"iou": 0.1}}
    assert (found.size_mb, found.latency_ms) == (9, 5)


def test_unknown_kinds_and_scores_are_named() -> None:
    budgets = Budgets(scores={"mehs": {"f_score": 1}, "mesh": {"f_scor": 1, "chamfer": 1}, "sequence": {"any": 1}})
    known = {"mesh": {"f_score": (0.0, 1.0), "chamfer": (0.0, math.inf)}, "voxels": {"iou": (0.0, 1.0)}, "sequence": {}}
    assert wrong_scores(budgets, known) == [
        "budgets.scores.mehs: this pipeline makes no such asset; did you mean 'mesh'?",
        "budgets.scores.mesh.f_scor: no such score; did you mean 'f_score'?",
    ]
    beyond = Budgets(scores={"mesh": {"f_score": 7, "chamfer": -1}, "voxels": {"iou": 1}})
    assert wrong_scores(beyond, known) == [
        "budgets.scores.mesh.f_score: 7 is no such score; give 0 to 1",
        "budgets.scores.mesh.chamfer: -1 is no such score; give 0 or more",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (4210.3, "4210"),
        (-999.6, "-1000"),
        (1.2345e7, "1.23e+07"),
        (1e-7, "1e-07"),
        (0.0, "0"),
        (1.5, "1.5"),
    ],
)
def test_a_number_has_no_exponent_where_people_write_none(value: float | None, text: str) -> None:
    assert number(value) == text


def test_texts_say_every_budget_program_and_score() -> None:
    limits = {"voxels": {"iou": 0.99}, "gaussians": {"ssim": 1}}
    judged = judge(Budgets(scores=limits, latency_ms=200), [program()], pipeline(), 2_000_000)
    found = report(budgets=judged, verdict=overall(judged), pipeline=measurement().pipeline)
    text = to_markdown(found)
    assert text.startswith("# trellis-mini on eager: fail")
    assert "| voxels.iou | ≥ 0.99 | 0.95 | measured | fail |" in text
    assert "| latency_ms | ≤ 200 ms | 100 ms | measured | pass |" in text
    assert "| flow | fp32 | 2 | 2e-06 | 0.003 | 10 (p90 12, p99 15) | measured |" in text
    assert "| prompt | voxels iou | mesh chamfer, m |" in text and "| a / b | 1 | inf |" in text
    junit = to_junit(found)
    assert 'tests="3" failures="1" skipped="1"' in junit and 'name="gaussians.ssim"' in junit


def test_records_do_not_change() -> None:
    found: ProgramReport = program()
    with pytest.raises(ValidationError):
        found.scheme = "int8"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"size_bytes":2000000', '"size_bytes":true'),
        ('"size_bytes":2000000', '"size_bytes":"2000000"'),
        ('"size_bytes":2000000', f'"size_bytes":{10**400}'),
        ('"p50_ms":100.0', '"p50_ms":NaN'),
        ('"p50_ms":100.0', '"p50_ms":true'),
        ('"value":0.95', '"value":true'),
        ('"schema":2', '"schema":2.0'),
        ('"schema":2', '"schema":true'),
        ('"facts":{}', '"facts":' + '{"a":' * 60 + "1" + "}" * 60),
    ],
)
def test_a_report_with_a_wrong_value_is_not_read(old: str, new: str, tmp_path: Path) -> None:
    text, path = report().model_dump_json(by_alias=True), tmp_path / "report.json"
    path.write_text(text)
    assert read_report(path) == report() and old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(VerificationError, match="validate the bundle again"):
        read_report(path)


def test_a_report_without_an_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[" * 100_000)
    with pytest.raises(VerificationError, match="validate the bundle again"):
        read_report(tmp_path)
