"""Twins: the form of a component's program for its device alone is what the device runs, and what is estimated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sample_reports import estimated, program

from gen3dexport.backends import eager, xla
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import VerificationError
from gen3dexport.models import Request
from gen3dexport.reports.records import ProgramReport
from gen3dexport.reports.report import estimated_asset
from gen3dexport.runtime.pipeline import load


def test_a_twin_runs_on_its_device(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tiny_bundle)
    own = loaded.manifest.component("flow")
    twin = own.model_copy(update={"name": "flow_pallas", "role": "twin"})
    loaded.manifest = loaded.manifest.model_copy(update={"programs": (*loaded.manifest.programs, twin)})
    for here, expected in ((False, own), (True, twin)):
        monkeypatch.setattr(eager, "runs_here", lambda record, here=here: here and record is twin, raising=False)
        assert loaded.record("flow") is expected
        assert loaded.component("flow") is loaded.programs[expected.name]
    assert loaded.record("decoder") == loaded.manifest.component("decoder")


THIRD_PARTY = """\
from dataclasses import replace

from gen3dexport.backends import eager
from gen3dexport.backends.eager import PACKAGES, REFUSED, SCHEMES, UNSUPPORTED, Options, check, load, quantize


def lower(captured, options, out):
    lowered = eager.lower(captured, options, out)
    return replace(lowered, extra={f"{captured.component.name}_other": lowered})
"""


@pytest.mark.parametrize("answer", [None, True, False])
def test_a_backend_of_another_package_may_give_further_programs(
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Callable[..., tuple[int, str, str]],
    answer: bool | None,
) -> None:
    """Built with the same package whatever it answers, so from the stage cache after the first time."""
    (tmp_path / "with_twins.py").write_text(THIRD_PARTY)
    (tmp_path / "with_twins-1.dist-info").mkdir()
    (tmp_path / "with_twins-1.dist-info" / "METADATA").write_text("Name: with-twins\nVersion: 1\n")
    points = "[gen3dexport.backends]\nwith-twins = with_twins\n"
    (tmp_path / "with_twins-1.dist-info" / "entry_points.txt").write_text(points)
    (tmp_path / "twins.yaml").write_text("name: twins\nsummary: eager twice\nbackend: with-twins\ndevice: any CPU\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "with_twins", raising=False)
    assert cli("build", tiny_recipe, "-t", tmp_path / "twins.yaml", "-o", tmp_path / "b", "--skip-validation")[0] == 0
    if answer is not None:
        monkeypatch.setattr(sys.modules["with_twins"], "runs_here", lambda program: answer, raising=False)
    loaded = load(tmp_path / "b")
    assert [p.name for p in loaded.manifest.programs] == ["flow", "flow_other", "decoder", "decoder_other"]
    assert loaded.record("flow").name == ("flow_other" if answer else "flow")
    assert loaded.record("decoder").name == ("decoder_other" if answer else "decoder")
    if answer is None:
        features = np.zeros(loaded.manifest.component("flow").inputs["cond"].shape[1:], np.float32)
        loaded.run(Request(features=features))
        assert list(loaded.programs) == ["flow", "decoder"]


def test_jax_says_which_programs_run_here() -> None:
    pytest.importorskip("jax")
    record = ProgramRecord(name="flow", component="flow", files=("f",), inputs={}, outputs={})
    with pytest.raises(VerificationError, match="platforms: Field required"):
        xla.runs_here(record)
    for platforms, here in ((["tpu", "cpu"], True), (["tpu"], False)):
        assert xla.runs_here(record.model_copy(update={"requires": {"chip": "v5e", "platforms": platforms}})) is here


def test_an_asset_is_estimated_by_the_twin() -> None:
    calls = {"flow": 10, "decoder": 1}

    def row(name: str, component: str, role: str, value: float) -> ProgramReport:
        return program(name, component=component, role=role, latency=estimated((value, "roofline")))

    rows = [row("flow", "flow", "component", 5.0), row("decoder", "decoder", "component", 3.0)]
    assert estimated_asset(calls, rows) == estimated((53.0, "roofline"))
    sampler = row("flow_pallas_sampler", "flow", "sampler", 99.0)
    asset = estimated_asset(calls, [*rows, row("flow_pallas", "flow", "twin", 2.0), sampler])
    assert asset == estimated((23.0, "roofline"))
    assert estimated_asset(calls, [rows[0], program("decoder")]) is None  # one is measured: nothing is added up
