"""The ONNX backend: numbers, what the files hold, and a runtime that needs no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import lowering
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering import COMPONENTS, Case, calibrated, component, lower, relative_l2

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'gen3dexport[onnx]'")

from pydantic import ValidationError

from gen3dexport.backends import onnx
from gen3dexport.backends.onnx import loading as onnx_loading
from gen3dexport.backends.onnx import lowering as onnx_lowering
from gen3dexport.backends.onnx.loading import Requires, _has_vnni, _threads
from gen3dexport.bundle.program import ProgramRecord, TensorSpec
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.plan import read_target
from gen3dexport.quantization.int4_linear import _packed, unpacked
from gen3dexport.quantization.quantize import Half
from gen3dexport.quantization.quantize import quantize as apply
from gen3dexport.validation.one_component import through

NARROW = {"min_features": 32}
ALL_SCHEMES = {
    *("fp32", "fp16", "bf16", "int8-dynamic", "int8-weight"),
    *("int4-dynamic", "int4-weight", "float8-weight", "float8-dynamic", "int8-static"),
}
# Worst relative L2 error on the golden flow: (against float32 eager, against the quantized eager).
FLOORS = {
    "fp16": (3e-3, 3e-3),  # onnxruntime computes in float32, so it is nearer to float32 than eager float16 is
    "int8-dynamic": (3e-2, 1e-2),  # a value on the edge between two steps may round either way
    "int8-weight": (2e-2, 1e-5),
    "int4-weight": (0.15, 1e-5),
}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """The golden flow in a scheme, lowered once."""

    @cache
    def made(scheme: str) -> Case:
        return lower(onnx, "ss_flow", scheme, tmp_path_factory.mktemp(scheme), **NARROW)

    return made


def test_schemes_are_complete() -> None:
    assert set(onnx.SCHEMES) | set(onnx.REFUSED) == ALL_SCHEMES and not set(onnx.SCHEMES) & set(onnx.REFUSED)
    assert {*FLOORS, "int8-static"} == set(onnx.SCHEMES) - {"fp32"}  # the flow has no convolutions
    assert onnx.check(onnx.Options()) == []


@pytest.mark.parametrize("name", [*COMPONENTS, "slat_dec_gs"])  # the last has an input and an output of one name
def test_every_component_agrees(name: str, tmp_path: Path) -> None:
    case = lower(onnx, name, "fp32", tmp_path, shallow=True)
    outputs = case.program({k: case.program.xp.asarray(v) for k, v in case.inputs.items()})
    assert outputs.keys() == case.fp32.keys()
    for key, value in case.fp32.items():
        assert isinstance(outputs[key], np.ndarray) and outputs[key].dtype == value.dtype
        assert relative_l2(outputs[key], value) < 1e-5
    assert case.lowered.files == (f"{name}.onnx",) and case.lowered.unmeasured is None


@pytest.mark.parametrize("scheme", sorted(FLOORS))
def test_every_scheme_agrees(scheme: str, flow: Callable[[str], Case]) -> None:
    case = flow(scheme)
    value = case.program(case.inputs)["v"]
    to_fp32, to_quantized = FLOORS[scheme]
    assert 1e-5 < relative_l2(value, case.fp32["v"]) < to_fp32
    assert relative_l2(value, case.quantized["v"]) < to_quantized


def test_int8_per_tensor(tmp_path: Path) -> None:
    case = lower(onnx, "ss_flow", "int8-dynamic", tmp_path, **NARROW, activations="tensor")
    value = case.program(case.inputs)["v"]
    assert 1e-5 < relative_l2(value, case.fp32["v"]) < FLOORS["int8-dynamic"][0]
    assert relative_l2(value, case.quantized["v"]) < FLOORS["int8-dynamic"][1]
    assert case.lowered.facts["operators"]["MatMulInteger"] == 16
    assert case.lowered.facts["operators"]["DynamicQuantizeLinear"] == 14  # what both blocks read is rounded once
    assert "QuantizeLinear" not in case.lowered.facts["operators"]


@pytest.mark.parametrize("activations", ["tensor", "token"])
def test_int8_text_encoder_with_masked_tokens(activations: str, tmp_path: Path) -> None:
    case = lower(onnx, "text_encoder", "int8-dynamic", tmp_path, **NARROW, activations=activations)
    value = case.program(case.inputs)["features"]
    assert relative_l2(value, case.quantized["features"]) < 1e-3
    assert relative_l2(value, case.fp32["features"]) < 2e-2
    assert not value[0, 7:].any()  # masked


@pytest.mark.parametrize("name", ["ss_dec", "ss_enc"])
def test_static_int8_convolutions(name: str, tmp_path: Path) -> None:
    case = lower(onnx, name, "int8-static", tmp_path, shallow=True)
    outputs = case.program(case.inputs)
    for key, expected in case.quantized.items():
        assert 1e-5 < relative_l2(outputs[key], case.fp32[key]) < 0.1  # random weights, a long chain of roundings
        assert relative_l2(outputs[key], expected) < 0.05
    operators = case.lowered.facts["operators"]
    assert operators["Conv"] == 2 and operators["QLinearConv"] > 3  # the first and the last stay as they are


@settings(max_examples=30, deadline=None)
@given(
    rank=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "same", "valid"]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_static_int8_convolution_is_a_convolution(
    rank: int, stride: int, padding: Any, dilation: int, groups: int, bias: bool
) -> None:
    """The torch form against the float convolution, and its shape as the exporter will see it."""
    from gen3dexport.backends.onnx.int8_convolution import Int8Convolution, int8_convolution

    torch.manual_seed(0)
    kind = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[rank]
    stride = 1 if padding == "same" else stride
    plain = kind(4, 8, 3, stride, padding, dilation, groups, bias).eval()
    x = torch.randn(2, 4, *(9, 8, 7)[:rank])
    made = calibrated(Component("part", torch.nn.Sequential(plain), {"x": x}, ("y",)))
    quantized, expected = Int8Convolution(plain, made.ranges["0"]), plain(x).detach().numpy()
    assert relative_l2(quantized(x).detach(), expected) < 4e-2
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fields = (quantized.weight, quantized.scale, quantized.bias, quantized.steps, quantized.zero_points)
        rest = (quantized.stride, quantized.pads, quantized.dilation, quantized.groups)
        assert int8_convolution(mode.from_tensor(x), *fields, *rest).shape == expected.shape


@pytest.mark.parametrize("inputs", [32, 96, 128])
def test_int4_linear_is_a_linear(inputs: int) -> None:
    """Within half a step of every group's range; pairs are packed low half first."""
    from gen3dexport.backends.onnx.int4_linear import Int4Linear

    torch.manual_seed(0)
    linear = torch.nn.Linear(inputs, 24)
    quantized = Int4Linear(linear)
    assert quantized.packed.shape == (24, inputs // 32, 16) and quantized.zero.shape == (24, -(-inputs // 64))
    found = quantized(torch.eye(inputs)).T.detach() - linear.bias.detach()[:, None]  # its weight
    steps = (found - linear.weight.detach()).unflatten(1, (-1, 32)).abs() / quantized.scale[..., None]
    assert float(steps.max()) < 1.01  # half a step, and another half where the zero point was rounded
    assert _packed(torch.tensor([1, 2, 3])).tolist() == [33, 3] and unpacked(torch.tensor([33])).tolist() == [1, 2]


@pytest.mark.parametrize("per_token", [False, True])
def test_int8_linear_is_a_linear(per_token: bool) -> None:
    """The torch form against the float linear: within the rounding of weights and rows; zero in gives the bias."""
    from gen3dexport.backends.onnx.int8_linear import Int8Linear

    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 40)
    quantized = Int8Linear(linear, per_token)
    x = torch.randn(2, 5, 256)
    assert relative_l2(quantized(x).detach(), linear(x).detach().numpy()) < 2e-2
    torch.testing.assert_close(quantized(torch.zeros(1, 3, 256)), linear.bias.expand(1, 3, 40))
    shifted = x + 3  # one-sided values: the zero point of a tensor's range takes them
    assert relative_l2(quantized(shifted).detach(), linear(shifted).detach().numpy()) < 2e-2


class _LogSigmoid(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid(x)


def test_logarithms_of_small_probabilities_are_finite(tmp_path: Path) -> None:
    x = torch.tensor([-1e4, -200, -93.5, -20, -18, -1, 0, 1, 20, 60])
    one = Component("log_sigmoid", _LogSigmoid(), {"x": x}, ("y",))
    _, program = through(one, read_target("onnx"), "fp32", tmp_path)
    found = program({"x": x.numpy()})["y"]
    np.testing.assert_allclose(found, torch.nn.functional.logsigmoid(x.double()), rtol=1e-6)


def test_files_shrink(flow: Callable[[str], Case]) -> None:
    sizes = {s: (flow(s).folder / "ss_flow.onnx").stat().st_size for s in ("fp32", *FLOORS)}
    assert sizes["fp16"] < 0.7 * sizes["fp32"]
    assert sizes["int8-weight"] < 0.62 * sizes["fp32"]  # of this tiny network, a third lies outside the blocks
    assert sizes["int8-dynamic"] < 0.5 * sizes["fp32"]
    assert sizes["int4-weight"] < 0.9 * sizes["int8-weight"]


def test_facts_are_those_of_the_file(flow: Callable[[str], Case]) -> None:
    import onnx as vendor

    for scheme in ("fp32", "int8-dynamic"):
        case = flow(scheme)
        model = vendor.load(case.folder / "ss_flow.onnx")
        facts = case.lowered.facts
        assert sum(facts["operators"].values()) == len(model.graph.node) and not model.functions
        assert facts["domains"] == {"ai.onnx": 22} and facts["opset"] == 22 and facts["ir_version"] == model.ir_version
        json.dumps(facts)
    assert flow("int8-dynamic").lowered.facts["operators"]["MatMulInteger"] == 16  # 8 linears in each of 2 blocks
    assert "MatMulInteger" not in flow("fp32").lowered.facts["operators"]


def test_opset_is_an_option(tmp_path: Path) -> None:
    case = lower(onnx, "ss_dec", "fp32", tmp_path, shallow=True, opset=18)
    assert case.lowered.facts["opset"] == 18
    assert relative_l2(case.program(case.inputs)["logits"], case.fp32["logits"]) < 1e-5
    with pytest.raises(ValidationError):
        onnx.Options(opset=23)


def test_large_weights_go_to_their_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_lowering, "_INLINE_BYTES", 1000)
    case = lower(onnx, "ss_dec", "fp32", tmp_path, shallow=True)
    assert case.lowered.files == ("ss_dec.onnx", "ss_dec.onnx.data")
    assert {p.name for p in tmp_path.iterdir()} == set(case.lowered.files)
    sizes = {p.suffix: p.stat().st_size for p in tmp_path.iterdir()}
    assert sizes[".data"] > 10 * sizes[".onnx"]
    assert relative_l2(case.program(case.inputs)["logits"], case.fp32["logits"]) < 1e-5


def test_bf16_is_refused_by_onnxruntime_itself(tmp_path: Path) -> None:
    """When this fails, onnxruntime has learnt bfloat16: take bf16 out of REFUSED."""
    made = component("ss_flow")
    made = apply(made, Half(torch.bfloat16))
    lowered = onnx.lower(Captured(made), onnx.Options(), tmp_path)
    record = ProgramRecord(name="a", component="a", files=lowered.files, inputs={}, outputs={})
    with pytest.raises(VerificationError, match="NOT_IMPLEMENTED"):
        onnx.load(tmp_path, record)


def test_schemes_that_fit_no_layer() -> None:
    with pytest.raises(UsageError, match="no half-precision form"):
        onnx.quantize(component("text_encoder"), "fp16", onnx.Options())
    for scheme in ("int8-dynamic", "int8-weight"):
        with pytest.raises(UsageError, match="no linear layer"):
            onnx.quantize(component("ss_dec"), scheme, onnx.Options())


def test_fresh_process_needs_no_torch(tmp_path: Path, flow: Callable[[str], Case]) -> None:
    case = flow("int8-dynamic")
    np.savez(tmp_path / "io.npz", **case.inputs)
    script = f"""
import json, pathlib, sys
import numpy as np
from gen3dexport.backends import onnx
from gen3dexport.bundle.program import ProgramRecord, TensorSpec
from gen3dexport.backends.onnx import loading as onnx_loading
record = ProgramRecord.model_validate_json({case.record.model_dump_json()!r})
program = onnx.load(pathlib.Path({str(case.folder)!r}), record)
inputs = dict(np.load({str(tmp_path / "io.npz")!r}))
first, second = program(inputs)["v"], program(inputs)["v"]
np.save({str(tmp_path / "v.npy")!r}, first)
loaded = sorted({{m.split(".")[0] for m in sys.modules}} & {{"torch", "torchao", "onnx", "onnxscript", "jax"}})
print(json.dumps({{"loaded": loaded, "same": bool((first == second).all())}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"loaded": [], "same": True}
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), case.program(case.inputs)["v"])


def test_same_component_same_bytes_and_no_paths(tmp_path: Path, flow: Callable[[str], Case]) -> None:
    """Another process writes the same file, and nothing in it names this machine."""
    case = flow("int8-dynamic")
    script = f"""
import pathlib, sys
sys.path.insert(0, {str(Path(lowering.__file__).parent)!r})
from lowering import lower
from gen3dexport.backends import onnx
lower(onnx, "ss_flow", "int8-dynamic", pathlib.Path({str(tmp_path)!r}), min_features=32)
"""
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    here, there = ((f / "ss_flow.onnx").read_bytes() for f in (case.folder, tmp_path))
    assert hashlib.sha256(here).hexdigest() == hashlib.sha256(there).hexdigest()
    for path in (Path(torch.__file__).parent, Path(__file__).parents[3]):
        assert str(path).encode() not in here
    assert b"stack_trace" not in here and b"pkg.torch" not in here


def test_threads_come_from_the_target_or_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def record(**needs: int) -> ProgramRecord:
        return ProgramRecord(name="a", component="a", files=("a.onnx",), inputs={}, outputs={}, requires=needs)

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert _threads(record(threads=2)) == 2
    assert _threads(record(threads=0)) == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert _threads(record()) == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(UsageError, match="OMP_NUM_THREADS"):
        _threads(record())
    case = lower(onnx, "ss_dec", "fp32", tmp_path, shallow=True, threads=1)
    assert case.lowered.requires == Requires(threads=1, idle_threads="sleep")
    spins = case.record.model_copy(update={"requires": {"threads": 1, "idle_threads": "spin"}})
    for loaded, spinning in ((case.program, "0"), (onnx.load(case.folder, spins), "1")):
        entries = loaded.session.get_session_options()  # type: ignore[attr-defined]
        assert entries.get_session_config_entry("session.intra_op.allow_spinning") == spinning
    options = case.program.session.get_session_options()  # type: ignore[attr-defined]
    assert options.intra_op_num_threads == 1 and options.use_deterministic_compute
    assert case.program.session.get_providers() == ["CPUExecutionProvider"]  # type: ignore[attr-defined]


def test_exact_sums_where_vnni_is_not_known(tmp_path: Path) -> None:
    """8-bit products of the largest values: 16-bit sums would saturate."""
    for text, known in (
        ("flags : sse avx2 avx_vnni fma\n", True),
        ("flags : sse avx2\n", False),
        ("Features : asimd\n", False),
    ):
        (tmp_path / "cpuinfo").write_text(text)
        assert _has_vnni(tmp_path / "cpuinfo") is known
    assert _has_vnni(tmp_path / "none") is False


@pytest.mark.parametrize("vnni", [False, True])
def test_integer_sums_do_not_saturate_here(vnni: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest 8-bit products in a row: kernels with 16-bit sums lose them."""
    if vnni and not _has_vnni():
        pytest.skip("this processor has no VNNI, so the fast kernels are not used here")
    monkeypatch.setattr(onnx_loading, "_has_vnni", lambda: vnni)
    linear = torch.nn.Linear(256, 8, bias=False)
    with torch.no_grad():
        linear.weight.fill_(1.0)
    made = Component("sum", torch.nn.Sequential(linear), {"x": torch.full((1, 4, 256), 2.0)}, ("y",))
    made = onnx.quantize(made, "int8-dynamic", onnx.Options())
    lowered = onnx.lower(Captured(made), onnx.Options(), tmp_path)
    spec = {"x": TensorSpec(shape=(1, 4, 256), dtype="float32"), "y": TensorSpec(shape=(1, 4, 8), dtype="float32")}
    record = ProgramRecord(
        name="sum", component="sum", files=lowered.files, inputs={"x": spec["x"]}, outputs={"y": spec["y"]}
    )
    value = onnx.load(tmp_path, record)({"x": np.full((1, 4, 256), 2.0, np.float32)})["y"]
    np.testing.assert_allclose(value, 512.0, rtol=1e-5)


def test_bad_calls_name_every_input(flow: Callable[[str], Case]) -> None:
    case = flow("fp32")
    with pytest.raises(UsageError, match="cond is missing; y is not an input"):
        case.program({"x": case.inputs["x"], "t": case.inputs["t"], "y": case.inputs["t"]})
    with pytest.raises(UsageError, match="t is float64"):
        case.program({**case.inputs, "t": case.inputs["t"].astype(np.float64)})


def test_damaged_program(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"not protobuf at all")
    record = ProgramRecord(name="a", component="a", files=("a.onnx",), inputs={}, outputs={})
    with pytest.raises(VerificationError, match="onnxruntime refuses"):
        onnx.load(tmp_path, record)
