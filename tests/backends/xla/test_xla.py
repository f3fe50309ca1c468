"""The XLA backend: programs run from disk on JAX's CPU, compiled for a TPU that is not there, refused where unsound."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flow_schedules
import numpy as np
import pytest
import torch
from lowering import COMPONENTS, GOLDEN, Case, component, lower, relative_l2
from torch import Tensor, nn

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
pytest.importorskip("torchax")

import jax.numpy as jnp  # noqa: E402

from gen3dexport.backends import xla  # noqa: E402
from gen3dexport.backends.xla.capture import Lowerings  # noqa: E402
from gen3dexport.backends.xla.chips import CHIPS, Requires  # noqa: E402
from gen3dexport.backends.xla.compile_child import repaired  # noqa: E402
from gen3dexport.backends.xla.compile_tpu import Unknown, compile_tpu  # noqa: E402
from gen3dexport.backends.xla.hlo import cycles  # noqa: E402
from gen3dexport.backends.xla.network import network  # noqa: E402
from gen3dexport.backends.xla.operators import convolution, einsum_attention, embedding, lowerings  # noqa: E402
from gen3dexport.backends.xla.roofline import roofline  # noqa: E402
from gen3dexport.backends.xla.sampler import sample as sampled  # noqa: E402
from gen3dexport.bundle.program import Lowered, ProgramRecord, TensorSpec, program_record  # noqa: E402
from gen3dexport.errors import ExportError, MissingError, UsageError, VerificationError  # noqa: E402
from gen3dexport.export import Captured  # noqa: E402
from gen3dexport.models.component import Component  # noqa: E402
from gen3dexport.models.flow_sampler import sample  # noqa: E402
from gen3dexport.models.trellis.networks.golden_sets import read_golden  # noqa: E402

OFF = {"compile": False}
V5E = CHIPS["v5e"]
CUSTOM_CALLS = Path(__file__).parent / "xla_stablehlo.json"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Every component in float32, lowered without the TPU compile."""
    folder = tmp_path_factory.mktemp("xla")
    made = {}
    for name in COMPONENTS:
        (folder / name).mkdir()
        made[name] = lower(xla, name, "fp32", folder / name, **OFF)
    return made


def test_schemes_are_complete() -> None:
    assert set(xla.SCHEMES) | set(xla.REFUSED) == {
        *("fp32", "fp16", "bf16", "int8-dynamic", "int8-weight"),
        *("int4-dynamic", "int4-weight", "float8-weight", "float8-dynamic", "int8-static"),
    }
    assert xla.check(xla.Options()) == []


@pytest.mark.parametrize(
    ("scheme", "message"), [("fp16", "bfloat16 and int8, not float16"), ("int4", "not a scheme of this backend")]
)
def test_refused_schemes(scheme: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        xla.quantize(component("ss_flow_patch2"), scheme, xla.Options())


def test_fresh_process_without_torch(cases: dict[str, Case], tmp_path: Path) -> None:
    """Another process runs every program from disk with JAX and NumPy alone, and torch never gets imported."""
    for name, case in cases.items():
        (tmp_path / f"{name}.json").write_text(case.record.model_dump_json())
        np.savez(tmp_path / f"{name}.npz", folder=str(case.folder), **case.inputs)
    script = """
import sys, pathlib
import numpy as np
from gen3dexport.backends import find
from gen3dexport.bundle.program import ProgramRecord
xla, here = find("xla"), pathlib.Path(sys.argv[1])
for path in sorted(here.glob("*.json")):
    record = ProgramRecord.model_validate_json(path.read_text())
    stored = dict(np.load(path.with_suffix(".npz")))
    program = xla.load(pathlib.Path(str(stored.pop("folder"))), record)
    np.savez(here / f"{path.stem}.out.npz", **program(stored))
assert "jax" in sys.modules and not {"torch", "torchax"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=300)
    for name, case in cases.items():
        outputs = np.load(tmp_path / f"{name}.out.npz")
        golden = read_golden(GOLDEN / name).expected() if name != "text_encoder" else {}
        assert set(outputs) == set(case.fp32) and set(golden) <= set(outputs)
        for key in outputs:
            assert relative_l2(outputs[key], case.fp32[key]) < 1e-5, (name, key)
        for key, value in golden.items():
            assert relative_l2(outputs[key], value.numpy()) < 1e-5, (name, key)


def test_programs_describe_themselves(cases: dict[str, Case]) -> None:
    facts = cases["ss_flow"].lowered.facts
    assert cases["ss_flow"].lowered.requires == Requires(chip="v5e", platforms=("tpu", "cpu"))
    assert facts["blocks_scanned"] == 2
    assert facts["stablehlo"]["operators"]["while"] == 1
    assert facts["calling_convention_version"] >= 10
    assert set(facts["versions"]) >= {"jax", "jaxlib", "libtpu", "torchax", "torch"}
    assert facts["weights_bytes"] == (cases["ss_flow"].folder / "ss_flow.safetensors").stat().st_size
    assert cases["ss_flow"].lowered.unmeasured == "no TPU v5e on this machine"
    assert [e.by.split()[0] for e in cases["ss_flow"].lowered.estimates["latency_ms"]] == ["roofline"]
    # Token ids are int32 in the program: NumPy's int64 is cast at the door (the runs above), or refused out of range.
    text = cases["text_encoder"]
    assert text.inputs["ids"].dtype == np.int64 and text.record.inputs["ids"].dtype == "int32"
    assert cases["ss_flow"].record.inputs["t"] == TensorSpec(shape=(2,), dtype="float32")
    with pytest.raises(UsageError, match="do not fit int32"):
        text.program({**text.inputs, "ids": text.inputs["ids"] + 2**40})


def test_stablehlo_is_as_recorded(cases: dict[str, Case]) -> None:
    """Custom calls and kinds of operators; a change shows what a new jax or torchax made of the same network."""
    found = {
        name: {
            "custom_calls": case.lowered.facts["stablehlo"]["custom_calls"],
            "operators": sorted(case.lowered.facts["stablehlo"]["operators"]),
        }
        for name, case in cases.items()
    }
    if found != json.loads(CUSTOM_CALLS.read_text()):
        actual = CUSTOM_CALLS.with_suffix(".json.actual")
        actual.write_text(json.dumps(found, indent=1) + "\n")
        pytest.fail(f"the programs hold other operators than {CUSTOM_CALLS.name} records; see {actual.name}")


def test_bad_calls_and_files(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["ss_dec"]
    with pytest.raises(UsageError, match=r"takes inputs \['z'\], got \['x'\]"):
        case.program({"x": case.inputs["z"]})
    with pytest.raises(UsageError, match=r"input z has shape \[1, 8\], needs \[1, 8, 4, 4, 4\]"):
        case.program({"z": case.inputs["z"][:, :, 0, 0, 0]})
    other = case.record.model_copy(update={"files": ("ss_dec.jaxexp", "../ss_enc/ss_enc.safetensors")})
    with pytest.raises(VerificationError, match="does not hold the weights of ss_dec"):
        xla.load(case.folder, other)
    (tmp_path / "ss_dec.jaxexp").write_bytes(b"not a program")
    (tmp_path / "ss_dec.safetensors").write_bytes((case.folder / "ss_dec.safetensors").read_bytes())
    with pytest.raises(VerificationError, match=r"not a jax\.export program"):
        xla.load(tmp_path, case.record)
    with pytest.raises(VerificationError, match="not readable"):
        xla.load(tmp_path, case.record.model_copy(update={"files": ("gone.jaxexp", "ss_dec.safetensors")}))


def test_lowering_twice_gives_the_same_bytes(cases: dict[str, Case], tmp_path: Path) -> None:
    again = lower(xla, "ss_flow_patch2", "fp32", tmp_path, **OFF)
    for name in again.lowered.files:
        data = (tmp_path / name).read_bytes()
        assert data == (cases["ss_flow_patch2"].folder / name).read_bytes()
        assert str(Path(__file__).parents[3]).encode() not in data and b"site-packages" not in data


def test_scan_equals_unrolled() -> None:
    made = component("ss_flow_text")
    inputs = [v.numpy() for v in made.inputs.values()]
    outputs = []
    for scan, depth in ((True, 3), (False, 0)):
        whole = network(Captured(made), scan=scan)
        assert whole.blocks == depth
        state = {
            k: np.stack([t.numpy() for t in s]) if isinstance(s, tuple) else s.detach().numpy()
            for k, s in whole.sources.items()
        }
        outputs.append(jax.jit(lambda s, w=whole: w.call(s, inputs, Lowerings(lowerings()))[0])(state))
    assert relative_l2(outputs[0], np.asarray(outputs[1])) < 2e-6


@pytest.mark.parametrize(("scheme", "floor"), [("bf16", 1e-2), ("int8-dynamic", 1.2e-2), ("int8-weight", 1e-2)])
def test_schemes_agree_with_their_eager_form(scheme: str, floor: float, tmp_path: Path) -> None:
    case = lower(xla, "ss_flow_patch2", scheme, tmp_path, min_features=40, **OFF)
    value = case.program(case.inputs)["v"]
    assert relative_l2(value, case.quantized["v"]) < floor
    assert 1e-3 < relative_l2(value, case.fp32["v"]) < 3e-2
    whole = 1e-5 if scheme == "int8-weight" else floor  # nothing is rounded on the way when the rest is float32
    (tmp_path / "fp32").mkdir()
    lone = lower(xla, "ss_flow_patch2", scheme, tmp_path / "fp32", min_features=40, rest="fp32", **OFF)
    assert relative_l2(lone.program(lone.inputs)["v"], lone.quantized["v"]) < whole
    text = jax.export.deserialize(bytearray((tmp_path / case.lowered.files[0]).read_bytes())).mlir_module()
    # Signed 8-bit products, 32-bit sums.
    products = re.findall(r"dot_general .*: \(tensor<[\dx]*xi8>, tensor<[\dx]*xi8>\) -> tensor<[\dx]*xi32>", text)
    assert bool(products) is (scheme == "int8-dynamic") and "ui8" not in text
    assert case.lowered.facts["weights_bytes"] < 0.65 * 4 * component("ss_flow_patch2").parameters


@pytest.mark.parametrize("name", flow_schedules.SCHEDULES)
def test_loop_of_a_program_is_the_hosts(name: str) -> None:
    _, loop = flow_schedules.network(name)
    conditions = {"cond": flow_schedules.CONDITIONS[True], "neg_cond": flow_schedules.CONDITIONS[False]}

    def velocity(fed: Any) -> Any:
        return jnp.sin(fed["x"] + fed["t"] / 1000) + 0.5 * fed["cond"] * fed["x"]

    time = jax.ShapeDtypeStruct((1,), jnp.float32)
    found = sampled(velocity, {"x": flow_schedules.NOISE, **conditions}, loop, time)
    expected = sample(flow_schedules.velocity, flow_schedules.NOISE, flow_schedules.SCHEDULES[name])
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-6, atol=1e-6)


def test_sampler_is_one_program(golden_sampler: tuple[Component, dict[str, Tensor]], tmp_path: Path) -> None:
    made, tensors = golden_sampler
    lowered = xla.lower(Captured(made), xla.Options(compile=False), tmp_path)
    assert set(lowered.extra) == {"flow_sampler", "flow_pallas", "flow_pallas_sampler"}
    extra = lowered.extra["flow_sampler"]
    guided = sum(w != 1.0 for w in made.loop.guidance) if made.loop else 0
    assert extra.facts["network_calls"] == 6 + guided == len(tensors["mid.calls"])
    assert extra.files == ("flow_sampler.jaxexp", "flow.safetensors")
    program = xla.load(tmp_path, record("flow_sampler", extra))
    inputs = {"x": tensors["in.noise"], "cond": tensors["in.cond"], "neg_cond": tensors["in.neg_cond"]}
    value = program({k: v.numpy() for k, v in inputs.items()})["x"]
    assert relative_l2(value, tensors["out.samples"].numpy()) < 1e-4
    # The network is in the program once, and its cost is counted once per call.
    assert extra.facts["flops"] == pytest.approx(extra.facts["network_calls"] * lowered.facts["flops"], rel=1e-6)
    assert extra.facts["program_bytes"] < 1.3 * lowered.facts["program_bytes"]


def record(name: str, lowered: Lowered) -> ProgramRecord:
    return program_record(name, lowered, {}, {})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Lowered]:
    """The flow and its twin with kernels, compiled for v5e."""
    folder = tmp_path_factory.mktemp("compiled")
    made = component("ss_flow")
    made = made.with_inputs({k: v[:1] for k, v in made.inputs.items()})
    options = xla.Options(attention_min_keys=256, matmul_precision="default")
    return folder, xla.lower(Captured(made), options, folder)


def test_tpu_compile_gives_memory_and_both_estimates(compiled: tuple[Path, Lowered]) -> None:
    lowered = compiled[1]
    memory = lowered.facts["memory"]
    weights = sum(math.prod(t["shape"]) * 4 for t in _header(compiled[0] / "ss_flow.safetensors").values())
    assert memory["arguments"] >= weights and memory["outputs"] >= 8 * 8**3 * 4
    assert memory["total"] < lowered.facts["hbm_bytes"] == 16 * 2**30
    assert lowered.estimates["memory_bytes"][0].value == memory["total"]
    own, theirs = lowered.estimates["latency_ms"]
    assert own.by.startswith("roofline v5e") and theirs.by.startswith("libtpu cost analysis v5e")
    assert 0.001 < own.value < 10 and 0.001 < theirs.value < 10
    assert lowered.facts["compile"]["effort"] == 0 and lowered.facts["compile"]["cpu_seconds"] > 0


def _header(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert isinstance(header, dict)
    return header


def test_twin_is_for_tpu_alone(compiled: tuple[Path, Lowered]) -> None:
    folder, lowered = compiled
    twin = lowered.extra["ss_flow_pallas"]
    assert twin.requires == Requires(chip="v5e", platforms=("tpu",)) and twin.facts["twin_of"] == "ss_flow"
    assert twin.facts["stablehlo"]["custom_calls"] == ["tpu_custom_call"]
    # Self-attention over 512 tokens takes the kernel, cross-attention over 11 does not.
    shape = {"batch": 1, "heads": 2, "queries": 512, "keys": 512, "width": 32}
    assert twin.facts["kernels"] == {"attention": [shape]}
    assert "tpu_custom_call" in twin.facts["compiled_custom_calls"] and twin.facts["memory"]["total"] > 0
    assert twin.files[1] == lowered.files[1]
    filling = 2 * 4 * 512 * 512 * 2 * 32  # two heads of zeros fill the lanes, in both blocks
    assert twin.facts["flops"] == pytest.approx(lowered.facts["flops"] + filling, rel=0.01)
    assert twin.facts["hbm_traffic_bytes"] < 0.7 * lowered.facts["hbm_traffic_bytes"]
    with pytest.raises(MissingError, match="is for tpu, JAX has cpu here"):
        xla.load(folder, record("ss_flow_pallas", twin))


def test_too_big_names_component_and_bytes(tmp_path: Path) -> None:
    with torch.device("meta"):
        huge = nn.Linear(50_000, 50_000, bias=False)
    function = jax.jit(lambda w, x: {"y": x["x"] @ w["weight"]})
    shape = jax.ShapeDtypeStruct((50_000, 50_000), jnp.float32)
    exported = jax.export.export(function, platforms=["tpu", "cpu"])({"weight": shape}, {"x": shape})
    path = tmp_path / "huge.jaxexp"
    path.write_bytes(exported.serialize())
    bytes_needed = 3 * huge.weight.numel() * 4
    with pytest.raises(ExportError, match=r"^huge: needs \d+ bytes .* HBM, a v5e has \d+ ") as caught:
        compile_tpu(path, "huge", V5E, 200)
    needed = float(str(caught.value).split()[2])
    assert needed == pytest.approx(bytes_needed, rel=0.01)


def test_v6e_compiles_too(tmp_path: Path) -> None:
    made = Component("up", nn.Linear(256, 256).eval(), {"x": torch.rand(8, 256)}, ("y",))
    estimates = {}
    for chip in ("v5e", "v6e"):
        lowered = xla.lower(Captured(made), xla.Options(chip=chip, matmul_precision="default"), tmp_path)
        assert lowered.facts["hbm_bytes"] == CHIPS[chip].hbm and lowered.unmeasured == f"no TPU {chip} on this machine"
        estimates[chip] = [e.value for e in lowered.estimates["latency_ms"]]
    assert all(new < old for new, old in zip(estimates["v6e"], estimates["v5e"], strict=True))


def test_compile_that_takes_too_long_is_said(cases: dict[str, Case]) -> None:
    case = cases["ss_dec"]
    answer = compile_tpu(case.folder / case.lowered.files[0], "ss_dec", V5E, 0.05)
    assert isinstance(answer, Unknown) and "longer than 0.05 s" in answer.reason


def test_compiler_failure_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.jaxexp").write_bytes(b"nothing")
    with pytest.raises(ExportError, match="x: the TPU compiler ended with status 1"):
        compile_tpu(tmp_path / "x.jaxexp", "x", V5E, 200)


class Hash(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * 73856093) ^ (x * 19349663)


class Sample(nn.Module):
    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        return nn.functional.grid_sample(x, grid, align_corners=False)


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.double() * 2).float()


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("calls").add_(1)
        return x + 1


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (Hash(), [torch.arange(9)], r"aten\.__xor__.*int32 on a TPU and wraps"),
        (Hash(), [torch.arange(9)], r"aten\.mul.*2\^20 or more"),
        (Sample(), [torch.rand(1, 2, 5, 5), torch.rand(1, 3, 3, 2)], "grid_sampler.*index the flattened grid"),
        (Double(), [torch.rand(3)], "float64, which a TPU does not have"),
        (Counter(), [torch.rand(3)], "forward writes calls"),
        (
            nn.ConvTranspose2d(4, 4, 3, stride=2, output_padding=1, groups=2),
            [torch.rand(1, 4, 5, 5)],
            "output_padding and groups comes out wrong",
        ),
    ],
)
def test_silently_wrong_operators_are_refused(
    module: nn.Module, inputs: list[Tensor], message: str, tmp_path: Path
) -> None:
    made = Component("odd", module.eval(), {f"x{i}": v for i, v in enumerate(inputs)}, ("y",))
    with pytest.raises(ExportError, match=message):
        xla.lower(Captured(made), xla.Options(compile=False), tmp_path)


def test_grouped_transposed_convolution_without_padding_is_taken(tmp_path: Path) -> None:
    made = Component("up", nn.ConvTranspose2d(4, 6, 3, stride=2).eval(), {"x": torch.rand(1, 4, 5, 5)}, ("y",))
    expected = made.run()["y"]
    lowered = xla.lower(Captured(made), xla.Options(compile=False), tmp_path)
    value = xla.load(tmp_path, record("up", lowered))({"x": made.inputs["x"].numpy()})["y"]
    assert relative_l2(value, expected.numpy()) < 1e-6


class TwoBlocks(nn.Module):
    """A stack whose blocks may differ in what scan cannot see."""

    stack = "blocks"

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([make(0), make(1)])

    def before(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x * 1,)

    def after(self, x: Tensor) -> Tensor:
        return x * 1

    def forward(self, x: Tensor) -> Tensor:
        (h,) = self.before(x)
        for block in self.blocks:
            h = block(h)
        return self.after(h)


class Shift(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.register_buffer("by", torch.full((3,), by), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Widen(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.sum()


def test_blocks_that_differ_unseen_are_refused(tmp_path: Path) -> None:
    made = Component("odd", TwoBlocks(lambda i: Shift(float(i))).eval(), {"x": torch.rand(3)}, ("y",), stack="blocks")
    with pytest.raises(ExportError, match="buffer by of block 1 differs"):
        xla.lower(Captured(made), xla.Options(compile=False), tmp_path)


def test_blocks_of_unlike_form_are_no_loop(tmp_path: Path) -> None:
    made = Component("odd", TwoBlocks(lambda i: Widen(1 + i)).eval(), {"x": torch.rand(3)}, ("y",), stack="blocks")
    assert xla.lower(Captured(made), xla.Options(compile=False), tmp_path).facts["blocks_scanned"] == 0


@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), [(1, 1, 1, 3), (2, 0, 1, 2), (2, 2, 2, 3)])
def test_convolution_by_planes(stride: int, padding: int, dilation: int, kernel: int) -> None:
    x, weight, bias = torch.randn(2, 3, 7, 8, 9), torch.randn(4, 3, kernel, kernel, kernel), torch.randn(4)
    expected = nn.functional.conv3d(x, weight, bias, stride, padding, dilation).numpy()
    arguments = ([stride] * 3, [padding] * 3, [dilation] * 3, False, [0] * 3, 1)
    found = convolution(jnp.asarray(x.numpy()), jnp.asarray(weight.numpy()), jnp.asarray(bias.numpy()), *arguments)
    assert relative_l2(found, expected) < 2e-6


@pytest.mark.parametrize("width", [1, 2, 8, 9])
@pytest.mark.parametrize("shape", [(5,), (3, 40)])
def test_rows_of_a_table(width: int, shape: tuple[int, ...]) -> None:
    table, rows = torch.randn(17, width), torch.randint(17, shape)
    found = embedding(jnp.asarray(table.numpy()), jnp.asarray(rows.numpy()))
    assert torch.equal(torch.from_numpy(np.array(found)), nn.functional.embedding(rows, table))


@pytest.mark.parametrize("causal", [False, True])
def test_einsum_attention_with_masks(causal: bool) -> None:
    q, k, v = (torch.randn(2, 3, n, 8) for n in (5, 5, 5))
    mask = None if causal else (torch.rand(2, 1, 5, 5) > 0.3) | torch.eye(5, dtype=torch.bool)  # no row without a key
    expected = nn.functional.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=0.7).numpy()
    arrays = [jnp.asarray(a.numpy()) for a in (q, k, v)]
    found = einsum_attention(*arrays, None if mask is None else jnp.asarray(mask.numpy()), 0.0, causal, scale=0.7)
    assert relative_l2(found, expected) < 1e-6


def count(function: Callable[..., Any], *shapes: tuple[tuple[int, ...], Any]) -> Any:
    return roofline(jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(s, d) for s, d in shapes)), V5E)


def test_roofline_counts() -> None:
    bf16, f32, i8 = jnp.bfloat16, jnp.float32, jnp.int8
    big = [((4096, 4096), bf16)] * 2
    product = count(lambda a, b: jnp.tanh(a @ b), *big)
    assert product.flops == 2 * 4096**3 and product.bytes == 3 * 4096**2 * 2
    assert product.seconds == pytest.approx(2 * 4096**3 / 197e12)
    thin = count(lambda a, b: a @ b, ((1, 4096), bf16), ((4096, 4096), bf16))
    assert thin.seconds == pytest.approx(thin.bytes / 819e9)  # bound by memory
    exact = count(lambda a, b: jnp.matmul(a, b, precision="highest"), *[((4096, 4096), f32)] * 2)
    assert exact.seconds == pytest.approx(6 * product.seconds)
    whole = count(lambda a, b: jax.lax.dot(a, b, preferred_element_type=jnp.int32), *[((4096, 4096), i8)] * 2)
    assert whole.seconds == pytest.approx(2 * 4096**3 / 393e12)
    dequantized = count(lambda a, b: a @ b.astype(bf16), ((1, 4096), bf16), ((4096, 4096), i8))
    assert dequantized.bytes == pytest.approx(4096**2 + 4 * 4096)  # int8 is what is read
    looped = count(lambda a, b: jax.lax.fori_loop(0, 7, lambda _, x: x @ b, a), *big)
    assert looped.flops == 7 * product.flops and looped.seconds == pytest.approx(7 * product.seconds)
    kernel = count(
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "VALID"), ((1, 8, 10, 10), f32), ((16, 8, 3, 3), f32)
    )
    assert kernel.flops == 2 * 16 * 8 * 8 * 8 * 9
    with pytest.raises(ExportError, match="trip count"):
        count(lambda a: jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x - 1, a), ((3,), f32))


def test_compiler_figures_are_repaired() -> None:
    assert repaired(-2.75) == pytest.approx(0.25) and repaired(0.25) == 0.25
    text = """
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %a = f32[4]{0} fusion(%x), kind=kLoop, calls=%f, backend_config={"window_config":{"estimated_cycles":"100"}}
}
%inner (p: (s32[])) -> (s32[]) {
  %w = (s32[]) while(%t), condition=%cond.2, body=%body
}
%cond.1 (p: (s32[])) -> pred[] {
  %c = s32[]{:T(128)} constant(5)
}
%cond.2 (p: (s32[])) -> pred[] {
  %c = s32[]{:T(128)} constant(24)
}
ENTRY %main (x: f32[4]) -> f32[4] {
  %b = f32[4]{0} copy(%x), backend_config={"window_config":{"estimated_cycles":"10"}}
  %w = (s32[]) while(%t), condition=%cond.1, body=%inner
}
"""
    counted = cycles(text)
    assert (counted.once, counted.total) == (110, 10 + 5 * 24 * 100)
    assert counted.repeat == pytest.approx(12010 / 110)
