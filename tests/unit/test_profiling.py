"""What becomes of operators' times: own times, kinds, the trace, two profiles side by side, what is unmeasured."""

from __future__ import annotations

import json

import pytest

from gen3dexport.errors import UsageError
from gen3dexport.operator_times import Ran, own_times
from gen3dexport.profiling.child import InTurns
from gen3dexport.profiling.html import figures, render_html
from gen3dexport.profiling.kinds import ORDER, OUTSIDE, kind_of
from gen3dexport.profiling.profile import Profiled
from gen3dexport.profiling.records import OperatorRow, Profile, Profiles, ProgramProfile
from gen3dexport.profiling.side_by_side import WHOLE, profiles
from gen3dexport.profiling.text import notes, operator_rows, program_rows
from gen3dexport.profiling.trace import trace
from gen3dexport.reports.records import MeasuredMemory, MeasuredTimes, Unmeasured

KINDS = {
    "Fully Connected (NC, QD8, F32, QC8W) GEMM": "matrix product",
    "MatMulInteger": "matrix product",
    "aten::_int_mm": "matrix product",
    "aoti_torch_cpu_addmm_out": "matrix product",
    "graph_0_cpp_fused__to_copy_gelu_1": "fused by the compiler",
    "dot_general": "matrix product",
    "Convolution (NHWC, F32) IGEMM": "convolution",
    "Convert (NC, F32, QD8)": "rounding",
    "DynamicQuantizeLinear": "rounding",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "attention",
    "LayerNormalization": "normalization",
    "FastGelu": "activation",
    "Softmax (NC, F32)": "softmax",
    "Transpose (ND, X32)": "movement",
    "Multiply (ND)": "elementwise",
    "ReduceMax": "reduction",
    "cumsum.out": "reduction",
    "GatherND": "gather",
    "delegate call, outside its operators": OUTSIDE,
    "Zorbl": "other",
}


def times(ms: float) -> MeasuredTimes:
    return MeasuredTimes(threads=1, warmup=1, runs=3, p50_ms=ms, p90_ms=ms, p99_ms=ms, mean_ms=ms, min_ms=ms)


def program(name: str, calls: int, call: float, **operators: float) -> ProgramProfile:
    """A component's profile: operators by name with their milliseconds; profiling makes a call a tenth longer."""
    total = sum(operators.values())
    rows = [
        OperatorRow(operator=k, kind=kind_of(k), place="CPU", runs=1, ms=ms, share=ms / total, bytes=2e6)
        for k, ms in operators.items()
    ]
    return ProgramProfile(
        program=name, component=name, role="component", scheme="fp32", calls=calls, call=times(call),
        traced=times(1.1 * call), peak_memory=MeasuredMemory(bytes=5_000_000, where="host"), basis="measured",
        by="a clock", operators_ms=total, operators=tuple(rows), bytes="bytes of outputs",
    )  # fmt: skip


def profile(*programs: ProgramProfile, bundle: str = "one") -> Profile:
    return Profile(
        bundle=bundle, recipe="r", target="t", backend="b", device="d", threads=1, turns=3, created="then",
        programs=programs,
    )  # fmt: skip


def test_time_of_its_own_is_without_what_lies_inside() -> None:
    spans = [(0.0, 100.0), (10.0, 30.0), (15.0, 5.0), (50.0, 20.0), (200.0, 8.0)]
    assert own_times(spans) == [50.0, 25.0, 5.0, 20.0, 8.0]
    assert sum(own_times(spans)) == 108.0
    assert own_times([]) == []


@pytest.mark.parametrize("operator", KINDS)
def test_kinds(operator: str) -> None:
    assert kind_of(operator) == KINDS[operator]
    assert kind_of(operator) in ORDER


def test_calls_run_in_turns_and_the_first_do_not_count() -> None:
    order: list[str] = []
    turns = InTurns(lambda: order.append("plain"), 3)
    turns(lambda: order.append("traced"))
    assert order == ["plain", "traced"] * (3 + turns.warmup)
    plain, traced = turns.times(threads=1)
    assert plain.runs == 3 and isinstance(traced, MeasuredTimes) and traced.runs == 3
    said = InTurns(lambda: None, 2)
    said(lambda: 7.0)
    assert said.traced_ms == [7.0, 7.0]  # what a tracer says of its own call
    alone = InTurns(lambda: None, 2)
    assert alone.times(1)[1].basis == "unmeasured" and len(alone.plain_ms) == 2


def test_shares_are_of_one_asset() -> None:
    found = profile(program("flow", 9, 10, MatMul=8, Mul=1), program("decoder", 1, 10, Conv=9.5))
    assert [row[0:7:6] for row in program_rows(found)] == [("flow", "90.0%"), ("decoder", "10.0%")]
    assert [row[:2] for row in operator_rows(found, 2)] == [("flow", "MatMul"), ("decoder", "Conv")]  # 72, 9.5, 9
    assert any("takes 1.10 × a plain one, and its operators are 82% of it" in note for note in notes(found))


def test_two_bundles_side_by_side() -> None:
    a, b = program("flow", 1, 10, MatMul=8, Mul=1), program("flow", 1, 5, Gemm=4, Mul=0.5)
    found = profiles(profile(a), profile(b, bundle="two"))
    ratios = {(r.component, r.operator): r for r in found.ratios}
    assert ratios["flow", WHOLE].ratio == pytest.approx(0.5)
    assert ratios["flow", "matrix product"].ratio == pytest.approx(0.5)
    rest = ratios["flow", OUTSIDE]
    assert (rest.a_ms, rest.b_ms) == (pytest.approx(2), pytest.approx(1))  # 11 - 9, 5.5 - 4.5
    assert [(r.operator, r.ratio) for r in found.names] == [("Mul", pytest.approx(0.5))]
    assert Profiles.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_kind_that_one_bundle_has_not_has_no_ratio() -> None:
    found = profiles(profile(program("flow", 1, 9, MatMul=8)), profile(program("flow", 1, 9, Softmax=8)))
    (softmax,) = [r for r in found.ratios if r.operator == "softmax"]
    assert (softmax.a_ms, softmax.b_ms, softmax.ratio) == (None, 8, None)


def test_what_is_unmeasured_says_why() -> None:
    unknown = Unmeasured(reason="no TPU")
    one = program("flow", 1, 10, MatMul=8).model_copy(
        update={"call": unknown, "traced": unknown, "basis": "unmeasured", "reason": "no profiler", "operators": ()}
        | {"operators_ms": None}
    )
    assert one.call_ms is None and one.overhead is None
    assert notes(profile(one)) == ["flow: operators unmeasured: no profiler", "flow: call unmeasured: no TPU"]
    assert program_rows(profile(one))[0][3:7] == ("–", "–", "–", "–")
    assert "no profiler" in render_html(profiles(profile(one)))


def test_the_trace_is_chrome_s() -> None:
    call = [Ran("outer", "a", "CPU", 0.0, 4.0, 10.0), Ran("MatMul", "b", "CPU", 2.0, 6.0, 6.0, 64)]
    two = profile(program("flow", 1, 1, MatMul=1), program("decoder", 1, 1, MatMul=1))
    found = json.loads(trace([Profiled(two, {"flow": call, "decoder": call})] * 2))
    complete = [e for e in found["traceEvents"] if e["ph"] == "X"]
    assert len(complete) == 8 and {e["pid"] for e in complete} == {1, 2}
    assert all({"name", "ts", "dur", "pid", "tid"} <= {*e} and e["dur"] >= 0 for e in complete)
    threads = {(e["pid"], e["tid"]): e["args"]["name"] for e in found["traceEvents"] if e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in complete} == {*threads} and threads[1, 2] == "decoder: CPU"
    first, second = (
        [e for e in complete if e["pid"] == 1 and e["args"]["component"] == name] for name in ("flow", "decoder")
    )
    assert max(e["ts"] + e["dur"] for e in first) < min(e["ts"] for e in second)
    assert first[1]["args"] == {
        "name": "b", "own_us": 6.0, "basis": "measured", "component": "flow", "bytes": 64
    }  # fmt: skip


def test_the_page_has_a_bar_for_each_component_and_operator() -> None:
    one = profile(program("flow", 9, 10, MatMul=8, Mul=1), program("<b>", 1, 10, Conv=9))
    drawn = figures(profiles(one))
    kinds = drawn["plot-kinds"]
    assert kinds is not None
    bars = {trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in kinds["data"]}
    assert bars["matrix product"]["flow"] == pytest.approx(72) and bars["convolution"]["<b>"] == pytest.approx(9)
    operators = drawn["plot-operators-flow"]
    assert operators is not None and operators["data"][0]["y"] == ["MatMul", "Mul"]
    page = render_html(profiles(one))
    assert "<b>" not in page.split("<script", 1)[0] and "&lt;b&gt;" in page


def test_a_place_in_the_bundle_is_refused(tmp_path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from gen3dexport.cli.profile import profile as command

    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    for out in (bundle, bundle / "profile"):
        with pytest.raises(UsageError, match="lies in the bundle, whose files are fixed"):
            command(bundle, out=out)
    assert [path.name for path in bundle.iterdir()] == ["manifest.json"]
