"""The executorch backend: rewriting rules against torch, programs from disk against golden outputs, stamping."""

from __future__ import annotations

import importlib.metadata
import json
import random
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lowering import Case, calibrated, component, lower, relative_l2
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gen3dexport.backends import executorch
from gen3dexport.bundle.program import Lowered, ProgramRecord, TensorSpec, program_record, specs
from gen3dexport.errors import ExportError, MissingError, UsageError, VerificationError
from gen3dexport.export import Captured, export_module
from gen3dexport.models.component import Component
from gen3dexport.networks.dpt import Fusion, Lateral

pytest.importorskip("executorch.exir")

from gen3dexport.backends.executorch import (
    attention,
    convolution,
    linear_build,
    lowering,
    normalization,
    own_runtime,
    shapes,
    tracing,
)
from gen3dexport.backends.executorch.rewriting import rewrite
from gen3dexport.backends.executorch.sites import Site

ALL_SCHEMES = {
    *("fp32", "fp16", "bf16", "int8-dynamic", "int8-weight"),
    *("int4-dynamic", "int4-weight", "float8-weight", "float8-dynamic", "int8-static"),
}
STAMPED = {"ss_flow_text": 3}  # golden networks with enough blocks


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """A golden network in a scheme, lowered once; shallow, but where blocks are stamped."""

    @cache
    def made(name: str, scheme: str = "fp32") -> Case:
        folder = tmp_path_factory.mktemp(f"{name}-{scheme}")
        return lower(executorch, name, scheme, folder, name not in STAMPED, min_features=32)

    return made


def made_by(module: nn.Module, folder: Path, *inputs: Tensor, **options: Any) -> tuple[Lowered, list[np.ndarray]]:
    """Lower any module of one output; what was written, and the outputs of the program from disk."""
    names = {f"x{i}": value for i, value in enumerate(inputs)}
    part = Component("part", module.eval(), names, ("y",), stack=getattr(module, "stack", None))
    lowered = executorch.lower(Captured(part), executorch.Options(**options), folder)
    program = executorch.load(folder, record_of(part, lowered))
    return lowered, list(program({k: v.numpy() for k, v in names.items()}).values())


def record_of(part: Component, lowered: Lowered) -> ProgramRecord:
    return program_record("part", lowered, specs(part.inputs), specs(part.run()))


# Rules against torch


def site(node_name: str = "node", chunk: int = 0, **constants: Tensor) -> Site:
    return Site(fx.Graph().placeholder(node_name), constants, chunk, "test")


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    padding=st.one_of(st.tuples(*[st.integers(0, 2)] * 3), st.sampled_from(["same", "valid"])),
    dilation=st.tuples(*[st.integers(1, 2)] * 3),
    groups=st.sampled_from([1, 2]),
    batch=st.sampled_from([1, 2]),
)
def test_conv3d_as_conv2d(kernel: Any, stride: Any, padding: Any, dilation: Any, groups: int, batch: int) -> None:
    stride = (1, 1, 1) if padding == "same" else stride  # torch has no "same" with strides
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 4, 7, 6, 5, generator=generator)
    weight, bias = torch.randn(6, 4 // groups, *kernel, generator=generator), torch.randn(6, generator=generator)
    expected = F.conv3d(x, weight, bias, stride, padding, dilation, groups)
    where = site("conv", **convolution.constants("conv", weight))
    found = convolution.conv3d(where, x, weight, bias, stride, padding, dilation, groups)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(8)), data=st.data())
def test_permutes_of_at_most_five_axes(order: list[int], data: st.DataObject) -> None:
    x = torch.arange(2**6).reshape(data.draw(st.permutations([2, 2, 2, 2, 2, 2, 1, 1])))
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            if func is torch.ops.aten.permute.default:
                largest = max(largest, len(args[1]))
            return func(*args, **(kwargs or {}))

    with Watch():
        found = shapes.permute(site(), x, order)
    assert torch.equal(found, x.permute(order)) and largest <= shapes.LARGEST_PERMUTE


@pytest.mark.parametrize("chunk", [0, 4, 5, 64])
@pytest.mark.parametrize("mask", ["none", "additive", "boolean", "causal", "grouped"])
def test_attention_in_chunks(chunk: int, mask: str) -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, 4, n, 8, generator=generator) for n in (10, 10, 10))
    options: dict[str, Any] = {}
    if mask == "additive":
        options["attn_mask"] = torch.randn(2, 1, 1, 10, generator=generator)
    elif mask == "boolean":
        options["attn_mask"] = torch.rand(10, 10, generator=generator) > 0.3
        options["attn_mask"][:, 0] = True
    elif mask == "causal":
        options["is_causal"] = True
    elif mask == "grouped":
        k, v, options["enable_gqa"] = k[:, :2], v[:, :2], True
    expected = F.scaled_dot_product_attention(q, k, v, scale=0.3, **options)
    torch.testing.assert_close(attention.attend(site(chunk=chunk), q, k, v, scale=0.3, **options), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("axes", [1, 2])
def test_layer_norm_computes_in_float32(dtype: torch.dtype, axes: int) -> None:
    x = (torch.randn(3, 4, 6) * 5 + 20).to(dtype)
    weight, bias = torch.randn(x.shape[3 - axes :]), torch.randn(x.shape[3 - axes :])
    width = weight.numel()
    constants = {f"mean_{width}": torch.full((1, width), 1 / width)}
    found = normalization.layer_norm(site(**constants), x, weight.shape, weight, bias)
    expected = F.layer_norm(x.float(), weight.shape, weight, bias).to(dtype)
    assert found.dtype is dtype and found.shape == x.shape
    torch.testing.assert_close(found, expected)


class Everything(nn.Module):
    """Operators with a rule, and shapes that rules must leave alone."""

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        c = torch.stack(x.unbind(1), dim=1).select(1, 0)[:, None] + a.sum(-1, keepdim=True) - b.mean(-1)[..., None]
        d = F.rms_norm(x, (8,)) + F.normalize(x, dim=-1) * x.norm(dim=-1, keepdim=True).clamp_min(0.5)
        e = x.split(3, dim=1)[1].mean(dim=1, keepdim=True) + x.norm(dim=(1, 2), keepdim=True) + x.norm(p=1)
        long = x.reshape(1, 2, 2, 3, 2, 2, 2).permute(6, 1, 4, 0, 2, 5, 3).flatten(2)
        return torch.cat([c.expand_as(x), F.gelu(d, approximate="tanh"), F.silu(d) + F.gelu(e)], -1) + long.mean()


def test_rewriting_keeps_the_function() -> None:
    x = torch.randn(2, 6, 8)
    program = rewrite(export_module(Everything(), (x,), "everything"), 4, "everything")
    torch.testing.assert_close(program.module()(x), Everything()(x))
    targets = {str(n.target) for n in program.graph.nodes}
    assert targets.isdisjoint({"aten.unbind.int", "aten.chunk.default", "aten.select.int", "aten.rms_norm.default"})


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 1:3].mul_(2).add_(x[:, :2])
        return torch.cat([x, y.detach().relu_()], 1)


def test_rewriting_keeps_changes_in_place_apart() -> None:
    x = torch.randn(2, 4)
    program = rewrite(export_module(InPlace(), (x,), "in place"), 0, "in place")
    torch.testing.assert_close(program.module()(x), InPlace()(x))


def test_operators_that_would_fail_at_run_time_are_refused() -> None:
    with pytest.raises(ExportError, match=r"part: aten.conv_transpose3d.input .* does not run: no kernel; write it as"):
        rewrite(export_module(nn.ConvTranspose3d(2, 2, 2), (torch.randn(1, 2, 3, 3, 3),), "part"), 0, "part")


# Programs from disk


@pytest.mark.parametrize("name", ["ss_flow", "ss_flow_text", "ss_flow_patch2", "ss_dec", "ss_enc", "text_encoder"])
def test_golden_in_fp32(name: str, golden: Callable[..., Case]) -> None:
    case = golden(name)
    outputs = case.program(case.inputs)
    assert list(outputs) == list(case.fp32) and case.lowered.files == (f"{name}.pte",)
    assert {k: v for k, v in outputs.items() if relative_l2(v, case.fp32[k]) >= 1e-4} == {}
    assert case.lowered.facts["stamped_blocks"] == STAMPED.get(name, 0)


def test_int8_is_its_own_quantized_model(golden: Callable[..., Case]) -> None:
    case = golden("ss_flow_patch2", "int8-dynamic")
    value = case.program(case.inputs)["v"]
    assert relative_l2(value, case.quantized["v"]) < 1e-2
    assert 0 < relative_l2(value, case.fp32["v"]) < 0.1
    assert case.lowered.facts["program_bytes"] < golden("ss_flow_patch2").lowered.facts["program_bytes"] / 2


@pytest.mark.parametrize("name", ["ss_flow", "ss_flow_text"])
def test_int4_is_its_own_quantized_model(name: str, golden: Callable[..., Case]) -> None:
    """Also where blocks could be stamped: the random weights that probe a block must be int4 values."""
    case = golden(name, "int4-dynamic")
    value = case.program(case.inputs)["v"]
    assert relative_l2(value, case.quantized["v"]) < 2e-2
    assert 1e-3 < relative_l2(value, case.fp32["v"]) < 0.3
    assert case.lowered.facts["program_bytes"] < golden(name).lowered.facts["program_bytes"]


def test_a_fresh_process_loads_and_a_damaged_program_is_refused(golden: Callable[..., Case], tmp_path: Path) -> None:
    case = golden("ss_flow")
    data = bytearray((case.folder / "ss_flow.pte").read_bytes())
    data[0:4] = (2**31).to_bytes(4, "little")  # where the flatbuffer's root is
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "ss_flow.pte").write_bytes(data)
    np.savez(tmp_path / "inputs.npz", **case.inputs)
    (tmp_path / "record.json").write_text(case.record.model_dump_json())
    code = f"""
import numpy as np, pathlib
from gen3dexport.backends import find
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import VerificationError
here = pathlib.Path({str(tmp_path)!r})
record = ProgramRecord.model_validate_json((here / "record.json").read_text())
backend = find("executorch")
program = backend.load(pathlib.Path({str(case.folder)!r}), record)
np.save(here / "v.npy", program(dict(np.load(here / "inputs.npz")))["v"])
try:
    backend.load(here / "damaged", record)
except VerificationError as error:
    print(error)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), case.program(case.inputs)["v"])
    assert "ss_flow.pte: ExecuTorch cannot load it" in child.stdout


@pytest.mark.parametrize("damage", ["truncated", "empty", "another format", "missing"])
def test_what_is_not_a_program_is_refused(damage: str, golden: Callable[..., Case], tmp_path: Path) -> None:
    case, path = golden("ss_flow"), tmp_path / "ss_flow.pte"
    data = (case.folder / "ss_flow.pte").read_bytes()
    contents = {"truncated": data[:-100], "empty": b"", "another format": b"PK\x03\x04" + data[4:8] + data[12:]}
    if damage in contents:
        path.write_bytes(contents[damage])
    with pytest.raises(VerificationError, match=r"ss_flow\.pte: .*build the bundle again"):
        executorch.load(tmp_path, case.record)


def test_another_signature_than_recorded_is_refused(golden: Callable[..., Case]) -> None:
    case = golden("ss_flow")
    wrong = {**case.record.inputs, "t": TensorSpec(shape=(2,), dtype="int64")}
    with pytest.raises(VerificationError, match=r"inputs are .*float32 \[2\].*its record says .*t int64 \[2\]"):
        executorch.load(case.folder, case.record.model_copy(update={"inputs": wrong}))
    with pytest.raises(UsageError, match=r"t is missing; x is float64"):
        case.program({"x": case.inputs["x"].astype(np.float64), "cond": case.inputs["cond"]})


# Precision, attention, convolution through the runtime


def test_half_precision_layer_norm_is_right(tmp_path: Path) -> None:
    x = (torch.randn(2, 5, 64) * 3 + 10).half()
    _, (found,) = made_by(nn.LayerNorm(64, dtype=torch.float16), tmp_path, x)
    assert found.dtype == np.float16
    assert relative_l2(found, F.layer_norm(x.float(), (64,)).numpy()) < 2e-3


class Enlarging(nn.Module):
    """Two enlargings by whole numbers between convolutions; with `others`, too, one that is by no such number."""

    def __init__(self, others: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 2, 3, padding=1)
        self.others = others

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.first(x), scale_factor=2.0, mode="nearest")
        x = self.second(F.interpolate(x, size=(24, 36), mode="nearest"))
        return F.interpolate(x, size=(31, 48), mode="nearest") if self.others else x


@pytest.mark.parametrize("others", [False, True])
def test_enlarging_stays_in_the_delegate(others: bool, tmp_path: Path) -> None:
    x, network = torch.randn(1, 3, 4, 6), Enlarging(others).eval()
    lowered, (found,) = made_by(network, tmp_path, x)
    torch.testing.assert_close(torch.from_numpy(found), network(x).detach())
    outside = sum(n for name, n in lowered.facts["delegation"]["outside"].items() if "upsample_nearest" in name)
    assert outside == others and lowered.facts["delegation"]["delegates"] == 1


class Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, k)


def test_chunked_attention_gives_the_same_and_needs_less(tmp_path: Path) -> None:
    q, k = torch.randn(1, 4, 100, 8), torch.randn(1, 4, 60, 8)
    memory, expected = {}, Attention()(q, k).numpy()
    for chunk in (0, 16):
        (tmp_path / str(chunk)).mkdir()
        lowered, (found,) = made_by(Attention(), tmp_path / str(chunk), q, k, attention_chunk=chunk)
        assert relative_l2(found, expected) < 1e-6
        (memory[chunk],) = lowered.estimates["run_memory_bytes"]
        assert memory[chunk].value >= lowered.facts["planned_bytes"] > 0
    assert memory[16].value < 0.5 * memory[0].value


def test_same_inputs_same_bytes(tmp_path: Path) -> None:
    q, digests = torch.randn(1, 2, 6, 8), set()
    for name in "ab":
        (tmp_path / name).mkdir()
        made_by(Attention(), tmp_path / name, q, q)
        digests.add((tmp_path / name / "part.pte").read_bytes())
    assert len(digests) == 1


class ConvolutionStack(nn.Module):
    """Repeated blocks whose weights do not reach the program as they are: the 2-D kernels are made from them."""

    stack = "blocks"

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv3d(4, 4, 3, padding=1) for _ in range(3))

    def before(self, x: Tensor) -> tuple[Tensor]:
        return (x * 2,)

    def after(self, h: Tensor) -> Tensor:
        return h.tanh()

    def forward(self, x: Tensor) -> Tensor:
        (h,) = self.before(x)
        for block in self.blocks:
            h = block(h)
        return self.after(h)


class Mixer(nn.Module):
    """A residual block with a linear layer, a norm and a mask that other blocks share."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.linear = nn.Linear(32, 32)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x + self.linear(self.norm(x) * scale)


class LinearStack(nn.Module):
    stack = "blocks"

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Mixer() for _ in range(4))
        for block in self.blocks:
            nn.init.normal_(block.norm.weight)
        self.blocks[3].load_state_dict(self.blocks[1].state_dict())  # two blocks alike

    def before(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - x.mean(dim=1, keepdim=True), torch.sigmoid(x[:, :1])

    def after(self, h: Tensor) -> Tensor:
        return torch.atan(h)

    def forward(self, x: Tensor) -> Tensor:
        h, scale = self.before(x)
        for block in self.blocks:
            h = block(h, scale)
        return self.after(h)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_stamped_and_whole_networks_are_the_same(scheme: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    network, x = LinearStack().eval(), torch.randn(2, 5, 32)
    fp32, made = network(x).detach().numpy(), Component("part", network, {"x": x}, ("y",), stack="blocks")
    executorch.quantize(made, scheme, executorch.Options(min_features=32))
    found, reports = {}, {}
    for stamp in (True, False):
        (tmp_path / str(stamp)).mkdir()
        lowered, (found[stamp],) = made_by(network, tmp_path / str(stamp), x, stamp_blocks=stamp)
        assert lowered.facts["stamped_blocks"] == (4 if stamp else 0)
        reports[stamp] = {k: v for k, v in lowered.facts["delegation"].items() if k != "delegates"}
    np.testing.assert_array_equal(found[True], found[False])
    assert relative_l2(found[True], network(x).detach().numpy()) < (1e-6 if scheme == "fp32" else 1e-2)
    assert (relative_l2(found[True], fp32) > 1e-4) == (scheme == "int8-dynamic")
    assert reports[True] == reports[False]


def test_blocks_that_cannot_be_stamped_are_lowered_whole(tmp_path: Path) -> None:
    network, x = ConvolutionStack(), torch.randn(1, 4, 3, 4, 5)
    lowered, (found,) = made_by(network, tmp_path, x)
    assert lowered.facts["stamped_blocks"] == 0
    assert relative_l2(found, network(x).detach().numpy()) < 1e-5


# Static int8 convolutions


def test_static_int8_network_is_right_from_disk(golden: Callable[..., Case]) -> None:
    """The vendor's own path lowers static int8 of such a network, and fails when it is loaded."""
    case = golden("ss_dec", "int8-static")
    found = case.program(case.inputs)["logits"]
    assert 1e-5 < relative_l2(found, case.fp32["logits"]) < 0.1  # random weights, a long chain of roundings
    assert relative_l2(found, case.quantized["logits"]) < 0.1  # as far as from float32: a flipped rounding spreads
    delegation = case.lowered.facts["delegation"]
    assert delegation["flops_share"] == 1.0  # no convolution is left to slow kernels
    assert case.lowered.facts["program_bytes"] < 0.4 * golden("ss_dec").lowered.facts["program_bytes"]


@pytest.mark.parametrize("bias", [True, False])
def test_static_int8_program_rounds_as_the_reference(bias: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 8, 8, 8)
    part = calibrated(Component("part", nn.Sequential(nn.Conv3d(16, 32, 3, padding=1, bias=bias)), {"x": x}, ("y",)))
    executorch.quantize(part, "int8-static", executorch.Options())
    lowered = executorch.lower(Captured(part), executorch.Options(), tmp_path)
    found = executorch.load(tmp_path, record_of(part, lowered))({"x": x.numpy()})["y"]
    steps = np.abs(np.asarray(found) - part.run()["y"].numpy()) / part.ranges["0"].output.scale
    assert steps.max() < 1.01 and (steps > 0.5).mean() < 5e-3  # the bias is rounded to an integer


class Refined(nn.Module):
    """A step of DPT's decoder: an activation and a sum read the map of `before`, whose last layer is quantized."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1, bias=False))
        self.lateral = Lateral(Fusion(16), coarsest=False)

    def forward(self, fine: Tensor, coarser: Tensor) -> Tensor:
        return self.lateral(self.before(fine), coarser)  # type: ignore[no-any-return]


def test_static_int8_map_with_several_readers_is_right_from_disk(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = {"fine": torch.randn(1, 8, 12, 12), "coarser": torch.randn(1, 16, 12, 12)}
    part = calibrated(Component("part", Refined().eval(), given, ("y",)))
    plain = part.run()["y"].numpy()
    executorch.quantize(part, "int8-static", executorch.Options())
    lowered = executorch.lower(Captured(part), executorch.Options(), tmp_path)
    found = executorch.load(tmp_path, record_of(part, lowered))({k: v.numpy() for k, v in given.items()})["y"]
    assert relative_l2(found, part.run()["y"].numpy()) < 0.01
    assert 1e-4 < relative_l2(found, plain) < 0.05
    assert lowered.facts["delegation"]["flops_share"] == 1.0


@settings(max_examples=30, deadline=None)
@given(
    rank=st.integers(2, 3),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, "same", "valid"]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_static_int8_form_is_the_reference(
    rank: int, kernel: int, stride: int, padding: Any, dilation: int, groups: int
) -> None:
    from gen3dexport.backends.executorch.int8_convolution import Int8Convolution
    from gen3dexport.quantization.int8_convolution import Int8Convolution as Reference

    torch.manual_seed(0)
    stride = 1 if padding == "same" else stride
    plain = (nn.Conv2d if rank == 2 else nn.Conv3d)(4, 8, kernel, stride, padding, dilation, groups).eval()
    x = torch.randn(2, 4, *(9, 8, 7)[:rank])
    ranges = calibrated(Component("part", nn.Sequential(plain), {"x": x}, ("y",))).ranges["0"]
    found, expected = Int8Convolution(plain, ranges)(x), Reference(plain, ranges)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 * ranges.output.scale)  # a step where sums round
    assert relative_l2(expected.detach(), plain(x).detach().numpy()) < 4e-2


def test_static_int8_refuses_what_has_no_kernel() -> None:
    part = Component("part", nn.Sequential(nn.Conv1d(4, 4, 3)), {"x": torch.randn(1, 4, 9)}, ("y",))
    with pytest.raises(UsageError, match="2-D and 3-D convolutions"):
        executorch.quantize(calibrated(part), "int8-static", executorch.Options())


# Reports, schemes, versions


def test_delegation_report_adds_up(golden: Callable[..., Case]) -> None:
    for name in ("ss_flow", "ss_flow_text", "ss_dec"):
        facts = golden(name).lowered.facts["delegation"]
        assert facts["operators"] == facts["operators_inside"] + sum(facts["outside"].values())
        assert facts["operators_share"] == round(facts["operators_inside"] / facts["operators"], 6) > 0.95
        assert facts["flops_share"] == round(facts["flops_inside"] / facts["flops"], 6) > 0.99
        assert facts["delegates"] == {"ss_flow": 1, "ss_flow_text": 5, "ss_dec": 1}[name]
        made = component(name, name not in STAMPED)
        # Products and convolutions only; it does not know the CPU's fused attention.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            made.run()
        assert counter.get_total_flops() < facts["flops"] < 1.25 * counter.get_total_flops()
        json.dumps(facts)


def test_schemes_are_complete_and_refusals_say_why() -> None:
    assert set(executorch.SCHEMES) | set(executorch.REFUSED) == ALL_SCHEMES
    assert executorch.check(executorch.Options()) == []
    for scheme, reason in executorch.REFUSED.items():
        with pytest.raises(UsageError, match=r"ss_flow: scheme .* on executorch: ") as caught:
            executorch.quantize(component("ss_flow"), scheme, executorch.Options())
        assert reason in str(caught.value)


def test_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda n: "9.9.9" if n == "executorch" else version(n))
    (problem,) = executorch.check(executorch.Options())
    assert "9.9.9 is not one of 1.5.1" in problem
    with (
        pytest.raises(MissingError, match=r"executorch 9.9.9: .*pip install executorch==1.5.1"),
        linear_build.linear_build(),
    ):
        pass


class Islands(nn.Module):
    """Delegates separated by an operator that XNNPACK does not take."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.atan(layer(x)) + x
        return x


class Edited(nn.Module):
    """What XNNPACK's passes look for: batch norms, activations, resizing, masked attention, joined tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm, self.slope = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU()
        self.last = nn.Linear(8, 8)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = nn.functional.interpolate(torch.relu(self.norm(self.convolution(x))), scale_factor=2, mode="bilinear")
        rows = self.slope(x).flatten(2).transpose(1, 2)[:, None]
        rows = nn.functional.scaled_dot_product_attention(rows, rows, rows, mask)
        return self.last(torch.cat([rows, torch.atan(rows)], dim=2))


@pytest.mark.parametrize("case", ["islands", "edited"])
def test_linear_build_makes_the_vendors_program(case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from contextlib import nullcontext

    from executorch.exir.backend import backend_api

    torch.manual_seed(0)
    if case == "islands":
        program = rewrite(export_module(Islands(4), (torch.randn(2, 8),), case), 0, case)
    else:  # as it is: rewriting leaves no attention to find
        program = torch.export.export(Edited().eval(), (torch.randn(1, 3, 6, 6), torch.zeros(64, 64)))
    original, programs = backend_api.create_submodule_from_nodes, {}
    cuts = tuple(r for r in linear_build.REPLACEMENTS if r.module == "executorch.exir.backend.backend_api")
    for name in ("linear", "vendor"):
        if name == "vendor" and case == "islands":
            monkeypatch.setattr(lowering, "linear_build", nullcontext)
        elif name == "vendor":  # operators of the two orders do not depend on each other
            monkeypatch.setattr(linear_build, "REPLACEMENTS", cuts)
        edge = lowering.partition(program, case)
        assert len(lowering.delegates(edge)) == 5  # islands: linears with the sums before and after
        lowering.write(edge, tmp_path / name, case)
        programs[name] = (tmp_path / name).read_bytes()
    assert programs["linear"] == programs["vendor"]
    assert backend_api.create_submodule_from_nodes is original
    assert len(cuts) == 2 and all(r.reason for r in linear_build.REPLACEMENTS)


class Gathers(nn.Module):
    """Rows that a kernel of ExecuTorch's gathers, side by side for a product, whose result is reshaped and added."""

    def __init__(self) -> None:
        super().__init__()
        self.product = nn.Linear(12, 8)

    def forward(self, x: Tensor, index: Tensor, y: Tensor) -> Tensor:
        rows = self.product(torch.index_select(x, 0, index).reshape(-1, 12)) + y.reshape(-1, 8)
        return rows.reshape(2, -1, 8) * 2


def test_reshapes_of_what_no_delegate_made_stay_outside(tmp_path: Path) -> None:
    inputs = torch.randn(5, 4), torch.randint(5, (12,)), torch.randn(2, 2, 8)
    network = Gathers()
    edge = lowering.to_edge(export_module(network, inputs, "gathers"), 0, "gathers")
    (delegate,) = lowering.delegates(edge).values()

    def reshaped(graph: fx.Graph) -> list[tuple[int, ...]]:
        calls = [n for n in graph.nodes if n.op == "call_function" and "view_copy" in str(n.target)]
        return [tuple(n.meta["val"].shape) for n in calls]

    assert reshaped(edge.graph) == [(4, 12), (4, 8)]
    assert reshaped(delegate.original_module.graph) == [(2, 2, 8)]
    lowering.write(edge, tmp_path / "gathers.pte", "gathers")
    forward = own_runtime.open_forward(tmp_path / "gathers.pte")
    assert forward is not None
    (found,) = forward.run([value.numpy() for value in inputs])
    np.testing.assert_allclose(found, network(*inputs).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_passes_that_only_trace_skip_what_nothing_changed() -> None:
    from executorch.backends.xnnpack._passes.convert_to_linear import ConvertToLinearPass
    from executorch.exir.pass_base import ExportPass
    from executorch.exir.passes.memory_format_ops_pass import DimOrderOpsRevertPass

    assert tracing.only_traces(ConvertToLinearPass) and tracing.only_traces(ExportPass)
    assert not tracing.only_traces(DimOrderOpsRevertPass)  # it replaces operators while it traces
    module = torch.export.export(Islands(2), (torch.randn(2, 8),)).graph_module
    with linear_build.linear_build():
        once = ExportPass()(module).graph_module
        assert once is not module
        assert ExportPass()(once).graph_module is once
        last = [n for n in once.graph.nodes if n.op == "call_function"][-1]
        last.meta["val"] = last.meta["val"].clone()
        again = ExportPass()(once).graph_module
        assert again is not once
        next(
            n for n in again.graph.nodes if n.target is torch.ops.aten.atan.default
        ).target = torch.ops.aten.tanh.default
        assert ExportPass()(again).graph_module is not again
    assert ExportPass()(once).graph_module is not once


def test_sort_puts_nodes_after_their_inputs() -> None:
    graph = fx.symbolic_trace(Islands(3)).graph
    nodes = [n for n in graph.nodes if n.op not in ("placeholder", "output")]
    random.Random(0).shuffle(nodes)
    for node in nodes:
        next(iter(graph.nodes)).append(node)
    with pytest.raises(RuntimeError):
        graph.lint()
    linear_build.sort(graph)
    graph.lint()
    assert [n.op for n in graph.nodes][-1] == "output"
