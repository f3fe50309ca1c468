"""Small samples of what benchmarks/trust tries: damaged bundles and malformed documents, each refused in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from paper_bundle import write_paper_bundle

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
for place in (BENCHMARKS, BENCHMARKS / "trust"):
    sys.path.insert(0, str(place))

import bundles  # noqa: E402
import damaged_bundles  # noqa: E402
import harms  # noqa: E402
import malformed_documents  # noqa: E402
import wrong_documents  # noqa: E402
import wrong_values  # noqa: E402

from gen3dexport.bundle.report_files import REPORTS, write_reports  # noqa: E402
from gen3dexport.plan import make_plan, read_recipe, read_target  # noqa: E402

COUNT = 60


def test_damaged_bundles(tmp_path: Path) -> None:
    """Every way to damage one, on bundles whose programs are a few bytes."""
    good = []
    for name, recipe in (("onnx", "trellis-mini-color"), ("cpu-aoti", "trellis-mini")):
        target = read_target(name)
        write_paper_bundle(make_plan(read_recipe(recipe, target), target), tmp_path / name)
        write_reports(tmp_path / name, {report: f"of {report}\n" for report in REPORTS})
        good.append(harms.Good(tmp_path / name))
    before = {path: path.read_bytes() for one in good for path in one.folder.rglob("*") if path.is_file()}
    count = max(COUNT, len(harms.all_of(good)))
    found = damaged_bundles.summary(
        [outcome for outcome, _ in damaged_bundles.outcomes(good, count, 1, tmp_path / "work")]
    )
    assert found["faults"] == []
    assert found["total"]["copies"] == count and found["total"]["refused"] >= 0.8 * count
    assert {path: path.read_bytes() for path in before} == before, "a good bundle was damaged"


def test_malformed_documents(tmp_path: Path) -> None:
    right = wrong_documents.prepare(tmp_path / "right")
    cases = wrong_documents.all_of(right)
    assert len(cases) >= 600
    found = []
    with malformed_documents.cached_exports():
        for number, case in enumerate(malformed_documents.drawn(cases, COUNT, 1)):
            folder = tmp_path / str(number)
            folder.mkdir()
            found.append(malformed_documents.outcome(case, folder))
    made = malformed_documents.summary(found)
    assert made["faults"] == []
    assert {row["group"] for row in made["rows"]} == {case.group for case in cases}


SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["a"],
    "properties": {
        "a": {"type": "integer", "minimum": 0},
        "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "c": {"type": "array", "items": {"$ref": "#/$defs/C"}},
        "d": {},
    },
    "$defs": {"C": {"type": "object", "properties": {"e": {"enum": ["x", "y"]}}, "required": ["e"]}},
}


def test_wrong_values_are_wrong_by_their_schema_and_no_right_one_is_among_them() -> None:
    right = {"a": 1, "b": "text", "c": [{"e": "x"}], "d": {"f": 1}}
    assert wrong_values.fits(right, SCHEMA, SCHEMA)
    found = list(wrong_values.wrong(right, SCHEMA))
    for one in found:
        assert repr(one.of(right)) != repr(right), one
        if one.kind not in wrong_values.NEVER and one.kind != wrong_values.DEFAULT:
            assert not wrong_values.fits(one.of(right), SCHEMA, SCHEMA), one
    kinds = {(".".join(map(str, one.path)), one.kind) for one in found}
    assert {("a", "negative"), ("a", "missing"), ("c.0.e", "missing"), ("no_such_key", "extra key")} <= kinds
    assert ("b", "null") not in kinds and ("d", "null") not in kinds and ("d.f", "huge") in kinds
    assert ("b", wrong_values.DEFAULT) in kinds
    assert json.dumps(right) == json.dumps({"a": 1, "b": "text", "c": [{"e": "x"}], "d": {"f": 1}})


@pytest.mark.parametrize(
    ("done", "fault"),
    [
        (bundles.Done(2, "error: x.yaml:1: needs a number", "", 0.1), ""),
        (bundles.Done(0, "fine", "", 0.1), "accepted"),
        (bundles.Done(1, "error: broken", "", 0.1), "exit 1"),
        (bundles.Done(2, "error: broken", "", 0.1), "no remedy"),
        (bundles.Done(2, "error: needs a number", "", 11), "took 11 s"),
        (bundles.Done(-11, "", "Traceback", 0.1), "crash"),
    ],
)
def test_a_fault_is_found(done: bundles.Done, fault: str) -> None:
    assert malformed_documents.fault(done).startswith(fault) and bool(malformed_documents.fault(done)) == bool(fault)
