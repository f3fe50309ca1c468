"""Every name of torch and Triton that the build without a GPU replaces: one table, each row with its reason.

Each row was left out on each of the versions in `toolchain.CHECKED`: the build then fails, or (CUDA_HOME, compiler
flags) works only on machines that happen to be set up right, or (`_precompile_worker`) compiles what it throws away.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from gen3dexport.backends.aotinductor.gpu_table import REGISTERS, Gpu
from gen3dexport.backends.aotinductor.host_code import PORTABLE
from gen3dexport.backends.aotinductor.toolchain import CHECKED, cuda_home
from gen3dexport.errors import ExportError

Weights = Mapping[str, Tensor]
"""The real weights in host memory, by fully qualified name."""

_CLONED = "__original__"  # suffix that the compiler gives to the name of a buffer's untouched copy


class HostConstant(Tensor):
    """A weight that says it is on the GPU and keeps its bytes in host memory, which is all that a package needs."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor, device: torch.device) -> HostConstant:
        made = Tensor._make_wrapper_subclass(cls, host.shape, host.stride(), dtype=host.dtype, device=device)
        made.host = host
        return made

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.host.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise ExportError(f"the compiler computed {func} on a weight, which needs the GPU; build on a machine with one")


def properties(gpu: Gpu) -> SimpleNamespace:
    """What torch says about a device, for one that is not here."""
    major, minor = gpu.capability
    return SimpleNamespace(
        name=gpu.board,
        major=major,
        minor=minor,
        multi_processor_count=gpu.multiprocessors,
        total_memory=gpu.memory,
        warp_size=32,
        regs_per_multiprocessor=REGISTERS,
        max_threads_per_block=1024,
        max_threads_per_multi_processor=gpu.threads_per_multiprocessor,
        shared_memory_per_block=48 << 10,
        shared_memory_per_block_optin=gpu.shared_per_block,
        shared_memory_per_multiprocessor=gpu.shared_per_multiprocessor,
        L2_cache_size=gpu.l2,
        gcnArchName="",
    )


def _properties(gpu: Gpu, weights: Weights) -> object:
    known = properties(gpu)
    return lambda device=None: known


def _always(value: object) -> Callable[[Gpu, Weights], object]:
    return lambda gpu, weights: lambda *args, **kwargs: value


def _static(make: Callable[[Gpu, Weights], object]) -> Callable[[Gpu, Weights], object]:
    return lambda gpu, weights: staticmethod(make(gpu, weights))  # type: ignore[arg-type]


def _same_tensor(gpu: Gpu, weights: Weights) -> object:
    from torch._inductor.utils import is_same_tensor

    def same(a: Tensor, b: Tensor) -> bool:
        if isinstance(a, FakeTensor) or isinstance(b, FakeTensor):
            return a is b
        return is_same_tensor(a, b)

    return same


def _original_value(gpu: Gpu, weights: Weights) -> object:
    def value(graph: Any, name: str) -> Tensor:
        found: Tensor = graph.constants[name]
        if not isinstance(found, FakeTensor):
            return found
        qualified = graph.allocated_constant_name[name].removesuffix(_CLONED)
        host = weights.get(qualified)
        if host is None or host.dtype != found.dtype or host.shape != found.shape or host.stride() != found.stride():
            raise ExportError(f"constant {qualified}: the compiler changed it; build on a machine with the GPU")
        return HostConstant(host, found.device)

    return value


def _compile_only(gpu: Gpu, weights: Weights) -> object:
    def compile_kernels(wrapper: Any) -> None:
        from torch._inductor.runtime.triton_heuristics import CachingAutotuner

        definitions = wrapper.kernel_autotune_defs
        definitions.splice("\nasync_compile.wait(globals())\ndel async_compile\n")
        scope: dict[str, Any] = {}
        exec(definitions.getvalue(), scope)
        for kernel in [value for value in scope.values() if isinstance(value, CachingAutotuner)]:
            kernel.precompile()
            for launcher in kernel.launchers:
                launcher.bin.module = None  # nothing was loaded, so nothing must be unloaded
            kernel.launchers = kernel.launchers[:1]
            kernel.save_gpu_kernel(0, kernel.launchers[0])  # type: ignore[no-untyped-call]

    return compile_kernels


def _first_that_fits(gpu: Gpu, weights: Weights) -> object:
    from torch._inductor.runtime import triton_heuristics

    original: Any = triton_heuristics.CachingAutotuner._precompile_worker

    def compile_one(kernel: Any) -> None:
        configs = kernel.configs or [None]  # None: it is compiled already
        for config in configs:
            kernel.configs = config and [config]
            try:
                original(kernel)
                return
            except triton_heuristics.NoTritonConfigsError:
                if config is configs[-1]:
                    raise

    return compile_one


def _portable_flags(gpu: Gpu, weights: Weights) -> object:
    from torch._inductor import cpp_builder

    original = cpp_builder._get_optimization_cflags

    def flags(*args: Any, **kwargs: Any) -> Any:
        compile_flags, link_flags = original(*args, **kwargs)
        return [f"march={PORTABLE}" if flag == "march=native" else flag for flag in compile_flags], link_flags

    return flags


def _cuda_home(gpu: Gpu, weights: Weights) -> object:
    return str(cuda_home())


@dataclass(frozen=True)
class Replaced:
    """One name that the build without a GPU replaces.

    Attributes:
        owner: the module or class that holds it.
        name: the attribute.
        reason: why it has to be replaced.
        make: the replacement for a GPU and the real weights.
        versions: the torch versions in which it has to be.
    """

    owner: str
    name: str
    reason: str
    make: Callable[[Gpu, Weights], object]
    versions: tuple[str, ...] = tuple(CHECKED)


_DEVICE = "torch._dynamo.device_interface.CudaInterface"

TABLE: tuple[Replaced, ...] = (
    Replaced("torch.cuda", "get_device_properties", "heuristics ask for the board's limits", _properties),
    Replaced(_DEVICE, "get_device_properties", "bound at import, so it keeps asking the driver", _static(_properties)),
    Replaced(
        _DEVICE, "is_available", "Triton code is generated only for a device that is there", _static(_always(True))
    ),
    Replaced(_DEVICE, "exchange_device", "kernels are compiled under a device guard", _static(_always(0))),
    Replaced(_DEVICE, "maybe_exchange_device", "leaves that guard", _static(_always(0))),
    Replaced(_DEVICE, "is_bf16_supported", "programs that take or give bfloat16 are refused", _static(_always(True))),
    Replaced(
        "triton.backends.nvidia.driver.CudaDriver",
        "is_active",
        "Triton takes its CUDA compiler only when libcuda finds a device",
        _static(_always(True)),
    ),
    Replaced("torch._inductor.graph", "is_same_tensor", "compares addresses, which fake weights lack", _same_tensor),
    Replaced(
        "torch._inductor.graph.GraphLowering",
        "get_original_value_of_constant",
        "reads the weights back from the device; they are in host memory",
        _original_value,
    ),
    Replaced(
        "torch._inductor.codegen.wrapper.PythonWrapperCodegen",
        "generate_and_run_autotune_block",
        "launches and times every kernel; here they are compiled only",
        _compile_only,
    ),
    Replaced(
        "torch._inductor.runtime.triton_heuristics.CachingAutotuner",
        "_precompile_worker",
        "compiles every configuration to time them; nothing is timed here, and the first that fits is taken",
        _first_that_fits,
        ("2.14.1",),
    ),
    Replaced(
        "torch.utils.cpp_extension",
        "CUDA_HOME",
        "guessed at import from the place of nvcc, which may be a link outside the toolkit",
        _cuda_home,
    ),
    Replaced(
        "torch._inductor.cpp_builder",
        "_get_optimization_cflags",
        "adds -march=native, which ties the package to the building machine; 2.14 has the option cpp.march",
        _portable_flags,
        ("2.11.0",),
    ),
)


def owner_of(row: Replaced) -> Any:
    """The module or class that holds the name.

    Raises:
        AttributeError: when the installed version has no such owner.
    """
    parts = row.owner.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AttributeError(f"{row.owner} is not in the installed version")
