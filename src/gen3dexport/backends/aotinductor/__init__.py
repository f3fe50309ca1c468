"""Backend `aotinductor`: torch's ahead-of-time compiler into a `.pt2` package, for CPUs and for CUDA GPUs.

A CUDA package is built natively where a GPU of its architecture is present, and otherwise by `offline_cuda`, which
needs no GPU and no driver. Such a package is checked as far as possible without one (architecture of its kernels,
linkage, every weight's bytes); its latency is unmeasured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gen3dexport.backends import Program
from gen3dexport.backends._idle_threads import IdleThreads
from gen3dexport.backends._packages import first_installed
from gen3dexport.backends.aotinductor.gpu_table import GPUS, Arch
from gen3dexport.backends.aotinductor.host_code import PORTABLE, March
from gen3dexport.backends.aotinductor.toolchain import installed, missing, release
from gen3dexport.bundle.program import Lowered, ProgramRecord, specs
from gen3dexport.documents.record import Record
from gen3dexport.errors import ExportError, MissingError, UsageError
from gen3dexport.operator_times import OperatorTimes, Turns, Unprofiled
from gen3dexport.quantization import schemes

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = schemes.described(
    {
        "fp32": "",
        "fp16": "CUDA only",
        "bf16": "",
        "int8-dynamic": "integer matrix products",
        "int8-weight": "widened before each product; CUDA only",
        "float8-weight": "widened before each product; CUDA only",
        "float8-dynamic": "float8 matrix products; CUDA only",
        "int4-weight": "two in a byte, widened before each product; CUDA only",
    }
)
REFUSED: Mapping[str, str] = {
    "int4-dynamic": schemes.IN_BYTES,
    "int8-static": "AOTInductor has no integer 3-D convolution: values would be rounded, multiplied in float32, more "
    "work than fp32; use executorch or onnx for it, or bf16",
}
UNSUPPORTED: Mapping[str, str] = {}
PACKAGES = ("torch", "torchao", "triton")
NO_FORK = "torch"

_REFUSED_ON_CPU: Mapping[str, str] = {
    "fp16": "most CPUs have no float16 arithmetic: every operation widens and narrows; use bf16 or int8-dynamic",
    "int8-weight": "weights are widened in every call, on top of float32's work; use int8-dynamic, as small",
    "int4-weight": "weights are widened in every call, on top of float32's work; use int8-dynamic",
    **schemes.NO_FLOAT8_ON_CPUS,
}


class Options(BaseModel):
    """Options of the target.

    Attributes:
        device: where the program runs.
        arch: architecture of the GPU, for `device: cuda`.
        march: what the host code may use of the CPU: x86-64-v3 (AVX2) or x86-64-v4 (AVX-512).
        min_features: linears with fewer inputs than this stay as they are in the int4, int8 and float8 schemes.
        sampler: whether a sampler's network is packed a second time as the whole loop, NAME_sampler.pt2: one program
            from noise to latent, with its own copy of the weights.
        idle_threads: what the CPU's threads do between pieces of work; spinning is for a machine of its own.
        rest: what the repeated blocks compute in beside integer or float8 linears, where the network has such a form.
        autotune: whether kernels are tried out while they are compiled, on the device itself, which must be here.
        kernel_profile: whether the host code marks each kernel for `gen3dexport profile`, which knows of a CPU's
            kernels by nothing else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "cuda"] = "cpu"
    arch: Arch | None = None
    march: March = PORTABLE
    min_features: int = Field(default=128, ge=1)
    rest: Literal["fp32", "fp16", "bf16"] = "fp32"
    autotune: bool = False
    kernel_profile: bool = False
    sampler: bool = False
    idle_threads: IdleThreads = "sleep"

    @model_validator(mode="after")
    def _arch_of_cuda(self) -> Options:
        if (self.device == "cuda") != (self.arch is not None):
            raise ValueError("arch goes with device: cuda, and only with it (e.g. device: cuda, arch: sm_90)")
        return self

    @property
    def compiler(self) -> dict[str, object]:
        """What they say to torch's compiler; nothing where they say what it does anyway."""
        chosen: dict[str, object] = {"max_autotune": True} if self.autotune else {}
        return chosen | ({"cpp.enable_kernel_profile": True} if self.kernel_profile else {})


def check(options: Options) -> list[str]:
    """What a build lacks on this machine, each line with its remedy; imports no vendor package."""
    return missing(options.device)


def absent(options: Options) -> str | None:
    """The GPU that this machine lacks, or None; torch is asked only where there is any."""
    if options.device == "cpu":
        return None
    try:
        here = any(Path("/dev").glob("nvidia[0-9]*")) and _gpu_is_here(options)
    except MissingError:
        here = False
    return None if here else f"no {options.arch} device"


def tries_out(options: Options) -> bool:
    """Whether kernels are timed while they are compiled."""
    return options.autotune


def refused_for(scheme: str, options: Options) -> str | None:
    """Why a scheme is refused on the options' device, or None when it works there."""
    if options.arch is None:
        return REFUSED.get(scheme) or _REFUSED_ON_CPU.get(scheme)
    needed = schemes.SCHEMES[scheme].compute if scheme in SCHEMES else 0
    if GPUS[options.arch].compute < needed:
        return f"its matrix units take no float8 (those of sm_{needed} and later do); use int8-dynamic"
    return REFUSED.get(scheme)


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place, for the kernels of the device.

    Raises:
        UsageError: when the device or the component has no such form.
        MissingError: when a weight-only scheme is asked for and torchao is not installed.
    """
    reason = refused_for(scheme, options)
    if reason is not None:
        raise UsageError(f"{component.name}: scheme {scheme} is refused on the {options.device.upper()}: {reason}")
    from gen3dexport.quantization.quantize import HALVES, rest_in, to_scheme

    quantized, stored_by_torchao = scheme not in ("fp32", *HALVES), scheme in ("int8-weight", "float8-weight")
    if stored_by_torchao and installed("torchao") is None:
        raise MissingError(f"{component.name}: scheme {scheme} needs torchao; pip install 'gen3dexport[torch]'")
    if quantized and options.rest in HALVES:
        rest_in(component, options.rest)
    component = to_scheme(component, scheme, options.min_features, layers)
    if stored_by_torchao:
        from torchao.utils import unwrap_tensor_subclass

        unwrap_tensor_subclass(component.module)  # to plain int8 and scale tensors, which packages store
    return component


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """Compile the component into NAME.pt2, and its sampler loop if the options ask for it; check what can be checked on
    this machine.

    Raises:
        ExportError: when the compiler refuses it.
        MissingError: when the machine cannot build it.
        VerificationError: when the package is not what was asked for.
    """
    lowered, component = _package(captured, options, out), captured.component
    if component.loop is None or not options.sampler:
        return lowered
    from gen3dexport.backends.aotinductor.sampler import sampler
    from gen3dexport.export import Captured

    whole = sampler(component, component.loop)
    run = {"network_calls": len(component.loop.calls), "steps": len(component.loop.timesteps)}
    made = _package(Captured(whole), options, out)
    state = {component.loop.state: component.inputs[component.loop.state]}
    made = replace(made, facts={**made.facts, **run}, inputs=specs(whole.inputs), outputs=specs(state))
    return replace(lowered, extra={whole.name: made})


def _package(captured: Captured, options: Options, out: Path) -> Lowered:
    import torch

    from gen3dexport.backends.aotinductor.compile import compile_package
    from gen3dexport.backends.aotinductor.inspect_package import check_weights, read_package
    from gen3dexport.backends.aotinductor.program import Requires

    component, path = captured.component, out / f"{captured.component.name}.pt2"
    strided = [name for name, value in component.inputs.items() if not value.is_contiguous()]
    if strided:
        raise ExportError(f"{component.name}: input {', '.join(strided)} is not row-major; give it with .contiguous()")
    native = options.device == "cuda" and _gpu_is_here(options)
    program = captured.whole
    facts: dict[str, Any] = {
        "triton": installed("triton") if options.device == "cuda" else None,
        "build": "native" if native or options.device == "cpu" else f"without a GPU, for {options.arch}",
    }
    if options.device == "cpu":
        from gen3dexport.backends.aotinductor.retarget import standing

        compiled = compile_package(standing(program), path, options.march, options.compiler)
    elif native:
        compiled, rewritten = _native(program, path, options)
        facts |= rewritten
    else:
        compiled, rewritten = _offline(program, path, options)
        facts |= rewritten
    package = read_package(path)
    facts |= {
        "kernels": compiled.kernels,
        "operators": dict(compiled.operators),
        "interpreted_operators": list(compiled.proxy),
        "needed": list(package.needed),
        "weights": check_weights(package, {**program.state_dict, **program.constants}),
        "package_bytes": path.stat().st_size,
        "reproducible": "byte for byte, for the same versions and CPU level",
    }
    if options.device == "cuda":
        facts["cubins"] = dict(package.cubins)
        _check_cuda(component.name, options, facts)
    here = native or options.device == "cpu"
    needs = Requires(
        device=options.device,
        arch=options.arch,
        torch=torch.__version__,
        cuda=torch.version.cuda if options.device == "cuda" else None,
        host=compiled.host,
        idle_threads=options.idle_threads,
    )
    missing = None if here else f"no {options.arch} device"
    return Lowered(files=(path.name,), requires=needs, facts=facts, unmeasured=missing)


def load(folder: Path, program: ProgramRecord) -> Program:
    """The program from disk; what it needs of this machine is checked before torch opens it.

    Raises:
        MissingError: when torch, the CPU or the GPU is not what it was built for.
        VerificationError: when torch cannot read the package.
    """
    from gen3dexport.backends.aotinductor.program import open_program

    return open_program(folder, program)


def profile(
    folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns
) -> OperatorTimes | Unprofiled:
    """The kernels of a package; on a CPU, those that it was built to mark (`kernel_profile`)."""
    from gen3dexport.backends import _torch_profiling
    from gen3dexport.backends.aotinductor.program import open_program

    package = open_program(folder, program)
    on_gpu = package.device.type != "cpu"
    here = {name: package.xp.asarray(value) for name, value in inputs.items()}
    found = _torch_profiling.profile(lambda: package(here), turns, on_gpu)
    if not on_gpu and not any(ran.place == _torch_profiling.COMPILED for call in found.calls for ran in call):
        return Unprofiled(
            "compiled without marks around its kernels; build it for a copy of the target with `options: "
            "{device: cpu, kernel_profile: true}`"
        )
    return found


def requires() -> type[Record]:
    """What `load` needs to know of a program."""
    from gen3dexport.backends.aotinductor.program import Requires

    return Requires


def runtime() -> str | None:
    """torch and its version, where it is installed."""
    return first_installed(["torch"])


def _gpu_is_here(options: Options) -> bool:
    """Whether a GPU of the target's architecture is present.

    Raises:
        MissingError: when the only GPUs present are others: the compiler would ask them.
    """
    import torch

    if not torch.cuda.is_available():
        return False
    major, minor = torch.cuda.get_device_capability(0)
    if f"sm_{major}{minor}" == options.arch:
        return True
    raise MissingError(
        f"this machine's first GPU is sm_{major}{minor}, and the target is {options.arch}; set CUDA_VISIBLE_DEVICES to "
        "one of that architecture, or to nothing (CUDA_VISIBLE_DEVICES=) to build without a GPU"
    )


def _native(program: ExportedProgram, path: Path, options: Options) -> tuple[Any, dict[str, Any]]:
    import torch

    from gen3dexport.backends.aotinductor.compile import compile_package
    from gen3dexport.backends.aotinductor.products import for_cuda
    from gen3dexport.backends.aotinductor.retarget import real_move

    moved = real_move(program, torch.device("cuda", 0))
    facts = {**for_cuda(moved), "attention": "chosen by torch on the device"}
    return compile_package(moved, path, options.march, {"max_autotune": False, **options.compiler}), facts


def _offline(program: ExportedProgram, path: Path, options: Options) -> tuple[Any, dict[str, Any]]:
    import torch

    from gen3dexport.backends.aotinductor.attention import pin_attention
    from gen3dexport.backends.aotinductor.compile import compile_package
    from gen3dexport.backends.aotinductor.offline_cuda import OPTIONS, offline_cuda, require_checked_versions
    from gen3dexport.backends.aotinductor.products import for_cuda
    from gen3dexport.backends.aotinductor.retarget import fake_move

    assert options.arch is not None  # Options holds it
    if options.autotune:
        raise MissingError(
            f"{path.stem}: autotune tries kernels on an {options.arch} GPU, and none is here; leave it out"
        )
    require_checked_versions()
    gpu = GPUS[options.arch]
    moved, weights = fake_move(program, torch.device("cuda", 0))
    facts = {**for_cuda(moved), "attention": pin_attention(moved)}
    with offline_cuda(gpu, weights):
        compiled = compile_package(moved, path, options.march, {**OPTIONS, "cuda.arch": str(gpu.compute)})
    return compiled, facts


def _check_cuda(name: str, options: Options, facts: Mapping[str, Any]) -> None:
    """Kernels of the asked architecture and no other, linked against torch's CUDA library and the driver."""
    from gen3dexport.errors import VerificationError

    problems = []
    if set(facts["cubins"]) != {options.arch}:
        problems.append(f"its kernels are for {', '.join(facts['cubins']) or 'no GPU'}, not {options.arch}")
    for library in ("libtorch_cuda.so", "libcuda.so.1"):
        if library not in facts["needed"]:
            problems.append(f"it is not linked against {library}")
    if problems:
        raise VerificationError(f"{name}: {'; '.join(problems)}; the toolchain is not as checked (torch {_version()})")


def _version() -> str:
    return release(installed("torch") or "none")
