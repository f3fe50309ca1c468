"""`gen3dexport sbom`: a CycloneDX document that its own validator takes, the same for the same bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from paper_bundle import rewrite
from sample_reports import report

from gen3dexport.bundle.report_files import write_reports
from gen3dexport.provenance import versions

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bill(paper: Path, cli: Cli) -> Callable[[], dict[str, Any]]:
    """The bill of the paper bundle, which the strict validator takes."""

    def made() -> dict[str, Any]:
        code, out, error = cli("sbom", paper)
        assert code == 0, error
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(out)
        assert wrong is None, wrong
        found: dict[str, Any] = json.loads(out)
        return found

    return made


def _validate(paper: Path) -> None:
    write_reports(paper, {"report.json": report().to_json(), "report.md": "measured\n"})


def test_every_file_and_tool_is_there(paper: Path, bill: Callable[[], dict[str, Any]]) -> None:
    _validate(paper)
    parts = bill()["components"]
    files = {p["name"]: p["hashes"] for p in parts if p["type"] == "file"}
    there = {str(p.relative_to(paper)): p.read_bytes() for p in paper.rglob("*") if p.is_file()}
    assert files == {
        name: [{"alg": "SHA-256", "content": hashlib.sha256(text).hexdigest()}] for name, text in there.items()
    }
    packages = {p["name"]: PackageURL.from_string(p["purl"]).version for p in parts if "purl" in p}
    assert packages == versions()


def test_the_card_says_what_was_measured(paper: Path, bill: Callable[[], dict[str, Any]]) -> None:
    card = bill()["metadata"]["component"]["modelCard"]
    assert "quantitativeAnalysis" not in card
    assert "not validated: nothing of it was measured" in card["considerations"]["technicalLimitations"]
    _validate(paper)
    model = bill()["metadata"]["component"]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "voxels.iou", "value": "0.95"}.items() <= metrics[0].items() and "a chair" in metrics[0]["slice"]
    assert model["type"] == "machine-learning-model" and model["licenses"] == [{"expression": "Apache-2.0 AND MIT"}]
    assert {o["format"] for o in model["modelCard"]["modelParameters"]["outputs"]} == {"mesh", "voxels"}
    assert any("flow: int8-dynamic" in text for text in model["modelCard"]["considerations"]["performanceTradeoffs"])


def test_weights_and_training_data_have_licences_and_digests(paper: Path, bill: Callable[[], dict[str, Any]]) -> None:
    sha256 = "0" * 63 + "1"
    rewrite(paper, lambda data: data.update(weights={"flow": {"flow.safetensors": sha256}}))
    found = bill()
    parts = {p["bom-ref"]: p for p in found["components"]}
    weights, data = parts["weights:flow/flow.safetensors"], parts["training-data"]
    assert weights["hashes"] == [{"alg": "SHA-256", "content": sha256}]
    assert weights["licenses"] == [{"expression": "Apache-2.0 AND MIT"}]
    assert data["licenses"] == [{"expression": "Apache-2.0"}] and data["hashes"]
    assert found["metadata"]["component"]["modelCard"]["modelParameters"]["datasets"] == [{"ref": "training-data"}]


def test_the_same_bundle_has_the_same_bill(
    paper: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    out = tmp_path / "bill.json"
    assert json.loads(cli("sbom", paper, "-o", out, "--json")[1]) == {"bundle": str(paper), "path": str(out)}
    paper.rename(tmp_path / "moved")
    first = cli("sbom", tmp_path / "moved")[1]
    assert out.read_text() == first and "timestamp" not in first
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    dated = json.loads(cli("sbom", tmp_path / "moved")[1])
    assert dated["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert cli("sbom", tmp_path / "moved")[0] == 2
    rewrite(tmp_path / "moved", lambda data: data["host"].update(machine="another"))
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert json.loads(cli("sbom", tmp_path / "moved")[1])["serialNumber"] != json.loads(first)["serialNumber"]


def test_a_bill_is_of_a_sound_bundle_and_lies_outside(paper: Path, cli: Cli) -> None:
    code, _, error = cli("sbom", paper, "-o", paper / "bill.json")
    assert code == 2 and "lies in the bundle" in error
    (paper / "report.json").symlink_to("/etc/hostname")
    code, out, error = cli("sbom", paper)
    assert (code, out) == (7, "") and "report.json: a link" in error
    code, _, error = cli("compare", paper, paper)
    assert code == 7 and "report.json: a link" in error
