"""AOTInductor: packages for the CPU (measured here) and for CUDA (built without a GPU, checked byte by byte).

Each package takes 10 to 15 seconds of CPU, so they are built once for the module and loaded together in one fresh
process.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import flow_schedules
import numpy as np
import pytest
import torch
from lowering import make_shallow
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from shared_networks import side_by_side
from torch import Tensor, nn

from gen3dexport.backends import aotinductor
from gen3dexport.backends.aotinductor import attention, host_code, offline_cuda, products, replaced, retarget, toolchain
from gen3dexport.backends.aotinductor.elf import Elf
from gen3dexport.backends.aotinductor.gpu_table import GPUS
from gen3dexport.backends.aotinductor.inspect_package import check_weights, read_package
from gen3dexport.backends.aotinductor.program import OnDevice
from gen3dexport.backends.aotinductor.sampler import sampler
from gen3dexport.bundle.program import Lowered, ProgramRecord, program_record, specs
from gen3dexport.errors import ExportError, MissingError, UsageError, VerificationError
from gen3dexport.export import Captured, export_module
from gen3dexport.models.component import Component
from gen3dexport.models.flow_sampler import sample
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.networks.bert import BertTokenEncoder
from gen3dexport.plan import backend_options, read_target
from gen3dexport.quantization.rules import quantize_by_rules

GOLDEN = Path(__file__).parents[2] / "golden" / "trellis"
CPU = aotinductor.Options()
SM90 = aotinductor.Options(device="cuda", arch="sm_90", min_features=64, rest="fp16")

pytestmark = pytest.mark.skipif(bool(aotinductor.check(CPU)), reason="; ".join(aotinductor.check(CPU)))
needs_cuda_tools = pytest.mark.skipif(bool(toolchain.missing("cuda")), reason="; ".join(toolchain.missing("cuda")))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
needs_no_gpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="has a CUDA device: the native build is tested instead"
)


class Built(NamedTuple):
    """A package: where it is, what it is of, its record, what was written, and whether the build left the caller's
    random state."""

    folder: Path
    component: Component
    record: ProgramRecord
    lowered: Lowered
    left_the_random_state: bool


def flow() -> Component:
    return read_golden(GOLDEN / "ss_flow").component


def one_block() -> Component:
    """The flow with one of its two blocks: code of every block is compiled."""
    made = flow()
    make_shallow(made.module)
    return made


def text_encoder() -> Component:
    torch.manual_seed(0)
    ids = torch.randint(0, 100, (1, 48))
    mask = (torch.arange(48) < 9).long()[None]
    return Component(
        "text_encoder", BertTokenEncoder(100, 64, 2, 4, 128, 64).eval(), {"ids": ids, "mask": mask}, ("features",)
    )


def quantized(component: Component, scheme: str, options: aotinductor.Options) -> Component:
    return aotinductor.quantize(component, scheme, options)


def record(component: Component, lowered: Lowered) -> ProgramRecord:
    kept = replace(lowered, facts=json.loads(json.dumps(lowered.facts)))  # as a manifest keeps them
    return program_record(component.name, kept, specs(component.inputs), specs(component.run()))


INT8 = aotinductor.Options(min_features=64)


def small_flows() -> Component:
    """One block in two schemes, side by side."""
    schemes = {"bf16": ("bf16", CPU), "int8": ("int8-dynamic", INT8)}  # by name, as files keep outputs
    return side_by_side({name: quantized(one_block(), *how) for name, how in schemes.items()})


def decoder_and_text() -> Component:
    """Two networks without a stack, side by side."""
    return side_by_side({"decoder": read_golden(GOLDEN / "ss_dec").component, "text": text_encoder()})


# The packages of this module: name -> (component, options, largest relative L2 error of its outputs against its eager
# model). No component: that of the golden sampler, packed a second time as the whole loop.
CASES: dict[str, tuple[Callable[[], Component] | None, aotinductor.Options, dict[str, float]]] = {
    "flow": (None, aotinductor.Options(sampler=True), {"v": 2e-5}),
    "small-flows": (small_flows, INT8, {"int8_v": 5e-3, "bf16_v": 2e-2}),
    "decoder-and-text": (decoder_and_text, CPU, {"decoder_logits": 2e-5, "text_features": 2e-5}),
}

_FRESH = """
import sys
sys.modules["torch._inductor"] = None  # the compiler; whoever imports it gets an ImportError
from pathlib import Path
from safetensors.numpy import load_file
from safetensors.torch import save_file
from gen3dexport.backends import aotinductor
from gen3dexport.bundle.program import ProgramRecord
for folder in map(Path, sys.argv[1:]):
    record = ProgramRecord.model_validate_json((folder / "record.json").read_text())
    program = aotinductor.load(folder, record)
    outputs = program(load_file(folder / "in.safetensors"))
    save_file({k: v.contiguous() for k, v in outputs.items()}, folder / "out.safetensors")
"""


@pytest.fixture(scope="module")
def packages(
    tmp_path_factory: pytest.TempPathFactory, golden_sampler: tuple[Component, dict[str, Tensor]]
) -> dict[str, Built]:
    """Every CPU package, and its outputs from a fresh process that saw the folder alone."""
    made = {}
    for name, (component, options, _) in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        built = component() if component else golden_sampler[0]
        state = torch.get_rng_state()
        lowered = aotinductor.lower(Captured(built), options, folder)
        left = torch.equal(torch.get_rng_state(), state)
        made[name] = Built(folder, built, record(built, lowered), lowered, left)
        (folder / "record.json").write_text(made[name].record.model_dump_json())
        save_file(dict(built.inputs), folder / "in.safetensors")
    folders = [str(built.folder) for built in made.values()]
    subprocess.run([sys.executable, "-c", _FRESH, *folders], check=True, timeout=600)
    return made


@pytest.fixture(scope="module")
def cuda_package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Component, Lowered]:
    """The tiny flow in float16 for sm_90, built without a GPU."""
    folder = tmp_path_factory.mktemp("sm90")
    component = quantized(flow(), "fp16", SM90)
    return folder, component, aotinductor.lower(Captured(component), SM90, folder)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"arch": "sm_90"}, {"device": "cuda", "arch": "sm_70"}, {"x": 1}]
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        aotinductor.Options(**options)


@pytest.mark.parametrize("arch", GPUS)
def test_every_architecture_is_a_target(arch: str) -> None:
    target = read_target(f"cuda-{arch.replace('_', '')}")
    assert backend_options(target) == aotinductor.Options(device="cuda", arch=arch, rest="fp16")
    assert GPUS[arch].capability == (int(arch[3:-1]), int(arch[-1]))


def test_cuda_means_sm_90() -> None:
    assert read_target("cuda").name == "cuda-sm90"
    assert backend_options(read_target("cpu-aoti")) == CPU


@pytest.mark.parametrize("scheme", ["fp16", "int8-weight", "float8-weight", "float8-dynamic", "int4-weight"])
def test_schemes_that_are_slower_on_the_cpu_are_refused(scheme: str) -> None:
    with pytest.raises(UsageError, match=rf"ss_flow: scheme {scheme} is refused on the CPU: .*use .*int8-dynamic"):
        quantized(flow(), scheme, CPU)


@pytest.mark.parametrize("arch", ["sm_80", "sm_86"])
def test_float8_products_need_a_matrix_unit_that_takes_them(arch: str) -> None:
    options = aotinductor.Options(device="cuda", arch=arch)
    with pytest.raises(UsageError, match=r"float8-dynamic is refused on the CUDA: .*sm_89 and later"):
        quantized(flow(), "float8-dynamic", options)
    assert aotinductor.refused_for("float8-weight", options) is None


def test_int8_keeps_the_rest_in_half_precision() -> None:
    module = quantized(flow(), "int8-dynamic", SM90).module
    assert module.block_dtype == torch.float16
    mlp = module.blocks[0].mlp.mlp[0].state_dict()
    assert mlp["bias"].dtype == torch.float16
    assert {t.dtype for k, t in mlp.items() if k != "bias"} == {torch.int8, torch.float32}  # values and scales
    assert module.out_layer.weight.dtype == torch.float32


def test_rules_of_several_schemes_widen_no_weight() -> None:
    """Neither what an earlier rule made small, nor what the component's scheme did."""
    rules = {"blocks.*.self_attn": "float8-weight", "blocks.*.cross_attn": "int4-weight"}
    component = quantize_by_rules(aotinductor, flow(), "float8-dynamic", rules, SM90)
    stored = Counter(t.dtype for t in component.module.state_dict().values())
    assert stored[torch.float8_e4m3fn] == 2 * 5 and stored[torch.uint8] == 2 * 2 * 2  # packed numbers and zeros


@pytest.mark.parametrize("name", CASES)
def test_from_disk_in_a_fresh_process(packages: dict[str, Built], name: str) -> None:
    folder, component, kept, lowered, _ = packages[name]
    outputs, eager = load_file(folder / "out.safetensors"), component.run()
    assert list(outputs) == list(component.outputs) == list(kept.outputs)
    for key, value in outputs.items():
        assert value.shape == eager[key].shape and value.dtype == eager[key].dtype
        assert relative(value, eager[key]) < CASES[name][2][key], key
    written = {f"{component.name}.pt2", *(file for extra in lowered.extra.values() for file in extra.files)}
    assert {p.name for p in folder.glob("*.pt2")} == written


def test_agrees_with_the_golden_set(packages: dict[str, Built]) -> None:
    """The decoder; the flow agrees in its golden sampler."""
    outputs = load_file(packages["decoder-and-text"].folder / "out.safetensors")
    for key, expected in read_golden(GOLDEN / "ss_dec").expected().items():
        assert relative(outputs[f"decoder_{key}"], expected) < 2e-5, key


def test_facts_of_a_cpu_package(packages: dict[str, Built]) -> None:
    folder, component, kept, *_ = packages["small-flows"]
    facts, needs = kept.facts, kept.requires
    assert kept.unmeasured is None and facts["build"] == "native" and needs["arch"] is None
    assert needs["torch"] == torch.__version__ and needs["host"]["march"] == "x86-64-v3"
    assert facts["operators"]["_int_mm_out"] == 7  # linears of the block in int8
    assert facts["interpreted_operators"] == []
    assert "libtorch_cpu.so" in facts["needed"] and "libtorch_cuda.so" not in facts["needed"]
    assert facts["package_bytes"] == (folder / kept.files[0]).stat().st_size
    state = component.module.state_dict()
    assert facts["weights"]["count"] == len(state)
    with zipfile.ZipFile(folder / kept.files[0]) as archive:  # no sources: they name folders of this machine
        sources = [info for info in archive.infolist() if info.filename.endswith(".cpp")]
    # But for an empty one, whose name torch 2.11 needs to find the package's metadata by.
    assert [(Path(i.filename).name, i.file_size) for i in sources] == [("networks.wrapper.cpp", 0)]


def test_threads_are_those_of_the_caller(packages: dict[str, Built]) -> None:
    folder, component, kept, *_ = packages["flow"]
    program = aotinductor.load(folder, kept)
    before, outputs = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            outputs.append(program(component.inputs)["v"])
    finally:
        torch.set_num_threads(before)
    assert relative(*outputs) < 1e-5


def test_calls_are_checked(packages: dict[str, Built]) -> None:
    folder, component, kept, *_ = packages["decoder-and-text"]
    program = aotinductor.load(folder, kept)
    ids, mask = component.inputs["text_ids"], component.inputs["text_mask"]
    for wrong in (
        {k: v for k, v in component.inputs.items() if k != "text_mask"},
        {**component.inputs, "x": torch.zeros(1)},
        {**component.inputs, "text_ids": ids[:, :4]},
        {**component.inputs, "text_mask": mask.float()},
    ):
        with pytest.raises(UsageError, match="program networks"):
            program(wrong)
    strided = torch.stack([ids[0]] * 2, 1)[:, 0][None]  # the compiled code reads row-major memory
    assert not strided.is_contiguous()
    found, expected = (
        program(given)["text_features"] for given in (component.inputs | {"text_ids": strided}, component.inputs)
    )
    assert torch.equal(found, expected)


def test_weights_are_the_model_s(packages: dict[str, Built]) -> None:
    folder, component, kept, *_ = packages["small-flows"]
    package = read_package(folder / kept.files[0])
    state = dict(component.module.state_dict())
    assert check_weights(package, state)["count"] == len(state)
    name = "parts.bf16.blocks.0.mlp.mlp.2.weight"
    changed = {**state, name: state[name].clone()}
    changed[name][-1, -1] += 1
    with pytest.raises(VerificationError, match=rf"1 of .* first {name}"):
        check_weights(package, changed)


def test_damaged_packages_are_refused(packages: dict[str, Built], tmp_path: Path) -> None:
    folder, _, kept, *_ = packages["decoder-and-text"]
    whole = (folder / kept.files[0]).read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"PK" + bytes(100)):
        (tmp_path / kept.files[0]).write_bytes(data)
        with pytest.raises(VerificationError, match="build"):
            read_package(tmp_path / kept.files[0])
        with pytest.raises(VerificationError, match="build the bundle again"):
            aotinductor.load(tmp_path, kept)


@pytest.mark.parametrize(
    ("needs", "needed"),
    [
        ({"torch": "2.9.1+cu130"}, "torch==2.9.1"),
        ({"host": {"features": ["avx2", "avx10_9"]}}, "avx10_9"),
        ({"host": {"machine": "aarch64"}}, "aarch64"),
        ({"device": "cuda", "arch": "sm_90", "cuda": "11.8"}, "sm_90"),
    ],
)
def test_machines_are_checked_before_the_file_is_opened(needs: dict[str, object], needed: str, tmp_path: Path) -> None:
    host = host_code.host_code("x86-64-v3", "avx2").model_dump(mode="json")
    known = {"device": "cpu", "arch": None, "torch": torch.__version__, "cuda": None, "host": host}
    if isinstance(needs.get("host"), dict):
        needs = {"host": {**host, **needs["host"]}}
    (tmp_path / "x.pt2").write_bytes(b"not a package")
    kept = ProgramRecord(name="x", component="x", files=("x.pt2",), inputs={}, outputs={}, requires={**known, **needs})
    with pytest.raises(MissingError, match=needed):
        aotinductor.load(tmp_path, kept)
    with pytest.raises(VerificationError, match="cannot open"):
        aotinductor.load(tmp_path, kept.model_copy(update={"requires": known}))
    with pytest.raises(VerificationError, match="host: Field required"):
        aotinductor.load(
            tmp_path, kept.model_copy(update={"requires": {k: v for k, v in known.items() if k != "host"}})
        )


def test_a_build_leaves_the_random_state_and_its_place_as_they_were(packages: dict[str, Built]) -> None:
    """That bytes do not depend on the state is the contract's."""
    assert {name: made.left_the_random_state for name, made in packages.items()} == dict.fromkeys(CASES, True)
    assert sorted(p.name for p in toolchain.work_folder().iterdir()) == ["cache", "locks"]


def test_strided_inputs_are_refused(tmp_path: Path) -> None:
    component = Component("linear", nn.Linear(4, 4).eval(), {"x": torch.randn(4, 3).mT}, ("y",))
    with pytest.raises(ExportError, match="input x is not row-major"):
        aotinductor.lower(Captured(component), CPU, tmp_path)


# CUDA without a GPU: what is replaced, what the graph becomes, and what the package holds.


def test_every_replaced_name_exists() -> None:
    here = toolchain.release(torch.__version__)
    assert here in toolchain.CHECKED
    for row in replaced.TABLE:
        assert row.reason and set(row.versions) <= set(toolchain.CHECKED)
        if here in row.versions:
            assert hasattr(replaced.owner_of(row), row.name), f"{row.owner}.{row.name}"


@pytest.mark.parametrize("version", ["2.12.0+cu130", "2.14.0", "2.15.0.dev1"])
@needs_no_gpu
def test_other_versions_are_refused(version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    with pytest.raises(MissingError, match=r"checked for torch 2\.14\.1 with triton 3\.8\.0 or torch 2\.11\.0"):
        aotinductor.lower(Captured(flow()), SM90, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton")
    monkeypatch.setattr(triton, "__version__", "3.5.0")
    with pytest.raises(MissingError, match=r"triton 3\.5\.0"):
        offline_cuda.require_checked_versions()


def test_missing_tools_come_with_their_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(toolchain, "_candidates", lambda: iter([tmp_path]))
    lines = aotinductor.check(SM90)
    assert any("no-such-compiler" in line and "apt-get install g++" in line for line in lines)
    assert any('pip install "nvidia-cuda-crt==13.0.*"' in line for line in lines)
    assert len(aotinductor.check(CPU)) == 1  # the CPU needs the compiler alone


def test_pretending_leaves_nothing_behind() -> None:
    triton = pytest.importorskip("triton")
    if toolchain.missing("cuda"):
        pytest.skip("; ".join(toolchain.missing("cuda")))
    here = toolchain.release(torch.__version__)
    rows = [row for row in replaced.TABLE if here in row.versions]
    before = [replaced.owner_of(row).__dict__[row.name] for row in rows]
    driver = triton.runtime.driver._active
    with offline_cuda.offline_cuda(GPUS["sm_80"], {}):
        assert torch.cuda.get_device_properties(0).major == 8
        assert torch._dynamo.device_interface.CudaInterface.is_available()
    assert [replaced.owner_of(row).__dict__[row.name] for row in rows] == before
    assert triton.runtime.driver._active is driver
    assert not torch.utils._triton.has_triton() or torch.cuda.is_available()


def test_fake_move_keeps_the_original_and_its_weights() -> None:
    component = quantized(flow(), "fp16", SM90)
    original = Captured(component).whole
    nodes = len(original.graph.nodes)
    moved, weights = retarget.fake_move(original, torch.device("cuda", 0))
    assert attention.pin_attention(moved) == {"flash": 4}
    assert len(original.graph.nodes) == nodes
    assert {n.meta["val"].device.type for n in original.graph.nodes if n.op == "placeholder"} == {"cpu"}
    for node in moved.graph.nodes:
        if isinstance(node.meta.get("val"), Tensor):
            assert node.meta["val"].device.type == "cuda", node
        assert node.kwargs.get("device", torch.device("cuda")).type == "cuda", node
    state = component.module.state_dict()
    assert {name: weights[name].data_ptr() for name in state} == {k: v.data_ptr() for k, v in state.items()}


@pytest.mark.parametrize(
    ("dtype", "width", "masked", "kernel"),
    [
        (torch.float32, 32, False, "efficient"),
        (torch.float16, 32, False, "flash"),
        (torch.bfloat16, 256, False, "flash"),
        (torch.bfloat16, 264, False, "math"),
        (torch.float16, 12, False, "math"),
        (torch.float32, 6, False, "math"),
        (torch.float16, 32, True, "math"),
    ],
)
def test_attention_kernels(dtype: torch.dtype, width: int, masked: bool, kernel: str) -> None:
    class Attend(nn.Module):
        def forward(self, q: Tensor, mask: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=mask if masked else None)

    inputs = torch.randn(1, 2, 16, width, dtype=dtype), torch.zeros(16, 16, dtype=dtype)
    moved, _ = retarget.fake_move(export_module(Attend(), inputs, "attend"), torch.device("cuda", 0))
    assert attention.pin_attention(moved) == {kernel: 1}
    left = [n for n in moved.graph.nodes if n.target is torch.ops.aten.scaled_dot_product_attention.default]
    assert bool(left) == (kernel == "math")


def test_integer_products_for_cuda_are_exact() -> None:
    """The rewrite (rows padded for the two of adaLN) runs on the CPU too, and changes no bit."""
    component = quantized(flow(), "int8-dynamic", aotinductor.Options(min_features=64))
    original = Captured(component).whole
    program = retarget.standing(original)
    assert products.for_cuda(program) == {"integer_products": 14, "float8_products": 0}
    integer = [n for n in program.graph.nodes if n.target is torch.ops.aten._int_mm.default]
    assert min(n.args[0].meta["val"].shape[0] for n in integer) > 16
    inputs = tuple(component.inputs.values())
    with torch.no_grad():
        assert torch.equal(program.module()(*inputs), original.module()(*inputs))


@pytest.mark.parametrize(("scheme", "inner", "multiple"), [("int8-dynamic", 68, 8), ("float8-dynamic", 80, 16)])
def test_products_that_cuda_cannot_run(scheme: str, inner: int, multiple: int) -> None:
    linear = Component("odd", nn.Sequential(nn.Linear(inner, 20)).eval(), {"x": torch.randn(32, inner)}, ("y",))
    program = retarget.standing(Captured(quantized(linear, scheme, SM90)).whole)
    with pytest.raises(ExportError, match=rf"widths {inner} and 20.*multiples of {multiple}"):
        products.for_cuda(program)


def test_a_weight_without_its_gpu_cannot_be_computed_on() -> None:
    constant = replaced.HostConstant(torch.arange(4.0), torch.device("cuda", 0))
    assert constant.is_cuda and constant.untyped_storage().nbytes() == 16
    with pytest.raises(ExportError, match="build on a machine with one"):
        constant + 1


@needs_cuda_tools
@needs_no_gpu
class TestWithoutGpu:
    def test_facts(self, cuda_package: tuple[Path, Component, Lowered]) -> None:
        _, _, lowered = cuda_package
        facts = lowered.facts
        assert lowered.unmeasured == "no sm_90 device"
        assert facts["build"] == "without a GPU, for sm_90" and facts["attention"] == {"flash": 4}
        assert facts["operators"]["_scaled_dot_product_flash_attention"] == 4
        assert facts["cubins"] == {"sm_90": facts["kernels"]} and facts["kernels"] > 5
        assert {"libtorch_cuda.so", "libcuda.so.1"} <= set(facts["needed"])
        json.dumps(facts)

    def test_kernels_as_the_vendor_s_tool_sees_them(
        self, cuda_package: tuple[Path, Component, Lowered], tmp_path: Path
    ) -> None:
        import triton

        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        if not tool.exists():
            pytest.skip(f"{tool} is not there")
        folder, _, lowered = cuda_package
        with zipfile.ZipFile(folder / lowered.files[0]) as archive:
            names = [name for name in archive.namelist() if name.endswith(".cubin")]
            for name in names:
                path = tmp_path / "kernel.cubin"
                path.write_bytes(archive.read(name))
                assert Elf(memoryview(path.read_bytes())).cuda_arch() == "sm_90"
        said = subprocess.run([tool, "-sass", path], capture_output=True, text=True, check=True).stdout  # the last one
        assert "code for sm_90" in said
        assert len(names) == lowered.facts["kernels"]

    def test_it_names_no_folder_of_its_builder(self, cuda_package: tuple[Path, Component, Lowered]) -> None:
        """Neither its host code nor the line tables of its kernels."""
        folder, _, lowered = cuda_package
        places = [str(toolchain.work_folder()), str(folder), str(Path(torch.__file__).parents[1])]
        with zipfile.ZipFile(folder / lowered.files[0]) as archive:
            named = [(n, place) for n in archive.namelist() for place in places if place.encode() in archive.read(n)]
        assert named == []

    def test_weights_byte_by_byte(self, cuda_package: tuple[Path, Component, Lowered]) -> None:
        folder, component, lowered = cuda_package
        package = read_package(folder / lowered.files[0])
        state = component.module.state_dict()
        assert {row["name"] for row in package.constants} == set(state)
        assert check_weights(package, state) == {"count": len(state), "bytes": sum(v.nbytes for v in state.values())}
        damaged = replace(package, weights=memoryview(bytes(len(package.weights or b""))))
        with pytest.raises(VerificationError, match="are not the model's"):
            check_weights(damaged, state)

    @pytest.mark.parametrize(
        ("scheme", "dtype", "count", "share", "operator"),
        [
            ("float8-weight", torch.float8_e4m3fn, 7, 0.73, "mm_out"),  # a third lies outside the block
            ("float8-dynamic", torch.float8_e4m3fn, 7, 0.73, "_scaled_mm_out"),
            ("int4-weight", torch.uint8, 14, 0.65, "addmm_out"),
        ],
    )
    def test_small_weights_are_stored_as_they_are(
        self, scheme: str, dtype: torch.dtype, count: int, share: float, operator: str, tmp_path: Path
    ) -> None:
        component = quantized(one_block(), scheme, SM90)
        parameters = one_block().parameters
        stored = [t for t in component.module.state_dict().values() if t.dtype == dtype]
        lowered = aotinductor.lower(Captured(component), SM90, tmp_path)
        assert len(stored) == count and lowered.facts["weights"]["bytes"] < share * 4 * parameters
        assert lowered.facts["operators"][operator] and not lowered.facts["interpreted_operators"]
        check_weights(read_package(tmp_path / lowered.files[0]), component.module.state_dict())

    def test_another_architecture_is_noticed(self, cuda_package: tuple[Path, Component, Lowered]) -> None:
        other = aotinductor.Options(device="cuda", arch="sm_80")
        with pytest.raises(VerificationError, match="for sm_90, not sm_80"):
            aotinductor._check_cuda("flow", other, cuda_package[2].facts)

    def test_loading_says_what_it_needs(self, cuda_package: tuple[Path, Component, Lowered]) -> None:
        folder, component, lowered = cuda_package
        with pytest.raises(MissingError, match=r"needs a GPU of architecture sm_90.* no CUDA device"):
            aotinductor.load(folder, record(component, lowered))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    ("scheme", "tolerance"),
    [("fp32", 1e-4), ("fp16", 5e-3), ("int8-dynamic", 1e-2), ("float8-dynamic", 1e-2), ("int4-weight", 5e-3)],
)
def test_native_numerics(scheme: str, tolerance: float, tmp_path: Path) -> None:
    major, minor = torch.cuda.get_device_capability()
    options = aotinductor.Options(device="cuda", arch=f"sm_{major}{minor}", min_features=64, rest="fp16")
    component = quantized(flow(), scheme, options)
    lowered = aotinductor.lower(Captured(component), options, tmp_path)
    assert lowered.unmeasured is None and lowered.facts["build"] == "native"
    program = aotinductor.load(tmp_path, record(component, lowered))
    output = program(component.inputs)["v"]
    assert output.is_cuda
    moved = copy.deepcopy(component.module).cuda()
    with torch.no_grad():
        eager = moved(*(value.cuda() for value in component.inputs.values()))
    assert relative(output.cpu(), eager.cpu()) < tolerance


def test_new_arrays_of_a_program_are_on_its_device() -> None:
    import array_api_compat.torch as xp

    namespace = OnDevice(xp, torch.device("meta"))
    assert namespace.asarray([1.0]).device.type == "meta"
    assert namespace.concat is xp.concat


def test_the_gpu_host_s_script_runs_on_a_cpu(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "gpu_run.py"
    command = [sys.executable, script, "--device", "cpu", "--packages", "fp32:native", "--short", "--runs", "3"]
    done = subprocess.run([*map(str, command), "--out", str(tmp_path)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "log.txt", "gpu_run_cpu.json", "logs.tar.gz"}
    rows = {row["program"]: row for row in json.loads((tmp_path / "gpu_run_cpu.json").read_text())["rows"]}
    assert [*rows] == ["eager fp32", "eager bf16", "eager bf16, cuDNN attention", "package fp32, native"]
    assert rows["eager fp32"]["relative_l2_fp32"] == 0
    assert 1e-4 < rows["eager bf16"]["relative_l2_fp32"] < 0.1
    assert rows["package fp32, native"]["relative_l2_fp32"] < 2e-5
    assert all(row["p50_ms"] > 0 and row["kernels"] for row in rows.values())


def test_sampler_is_one_program(
    packages: dict[str, Built], golden_sampler: tuple[Component, dict[str, Tensor]]
) -> None:
    _, tensors = golden_sampler
    folder, _, _, lowered, _ = packages["flow"]
    extra = lowered.extra["flow_sampler"]
    assert extra.facts["network_calls"] == len(tensors["mid.calls"]) > extra.facts["steps"] == 6
    assert extra.facts["package_bytes"] < 1.3 * lowered.facts["package_bytes"]  # it holds the network once
    program = aotinductor.load(folder, program_record("flow_sampler", extra, {}, {}))
    inputs = {"x": tensors["in.noise"], "cond": tensors["in.cond"], "neg_cond": tensors["in.neg_cond"]}
    found = torch.as_tensor(program({k: program.xp.asarray(v.numpy()) for k, v in inputs.items()})["x"])
    torch.testing.assert_close(found, tensors["out.samples"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", flow_schedules.SCHEDULES)
def test_loop_of_a_program_is_the_hosts(name: str) -> None:
    component, loop = flow_schedules.network(name)
    assert loop.remembers == (name != "euler")
    whole = sampler(component, loop)
    given = {**whole.inputs, "neg_cond": torch.from_numpy(flow_schedules.CONDITIONS[False])}
    expected = sample(flow_schedules.velocity, flow_schedules.NOISE, flow_schedules.SCHEDULES[name])
    np.testing.assert_allclose(whole.run(given)["x"].numpy(), expected, rtol=2e-6, atol=1e-6)


@needs_cuda_tools
@needs_no_gpu
def test_sampler_for_a_gpu(golden_sampler: tuple[Component, dict[str, Tensor]], tmp_path: Path) -> None:
    """The loop alone, over one block: its network's package is `cuda_package`."""
    component, _ = golden_sampler
    assert component.loop is not None
    component = replace(component, module=copy.deepcopy(component.module))
    make_shallow(component.module)
    lowered = aotinductor.lower(Captured(sampler(component, component.loop)), SM90, tmp_path)
    assert set(lowered.facts["cubins"]) == {"sm_90"}
