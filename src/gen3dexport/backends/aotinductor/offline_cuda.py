"""Compile for a CUDA GPU on a machine that has none.

torch has no option for this: its compiler asks the driver about the device, launches each Triton kernel once to time
it, and reads the weights back from the device. `offline_cuda` answers the questions from `gpu_table`, compiles the
kernels without launching them, and hands the weights over from host memory. Everything that has to be replaced for
that is in TABLE, each with its reason; it was checked on the versions in CHECKED only, and other versions are refused.

The replacements are process-wide while the context is open: one build at a time (`compile_package` holds a lock).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from gen3dexport.backends.aotinductor.gpu_table import REGISTERS, Gpu
from gen3dexport.backends.aotinductor.toolchain import CHECKED, PORTABLE, compiler, cuda_home, release
from gen3dexport.errors import ExportError, MissingError

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
        return made  # type: ignore[no-any-return]

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.host.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func: object, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        raise ExportError(f"the compiler computed {func} on a weight, which needs the GPU; build on a machine with one")


def _properties(gpu: Gpu, _: Weights) -> object:
    major, minor = gpu.capability
    known = SimpleNamespace(
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
            kernel.launchers = kernel.launchers[:1]  # nothing is timed: the first configuration that fits is taken
            kernel.save_gpu_kernel(0, kernel.launchers[0])

    return compile_kernels


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
    Replaced(_DEVICE, "is_available", "Triton code is generated only for a device that is there", _static(_always(True))),
    Replaced(_DEVICE, "exchange_device", "kernels are compiled under a device guard", _static(_always(0))),
    Replaced(_DEVICE, "maybe_exchange_device", "leaves that guard", _static(_always(0))),
    Replaced(_DEVICE, "is_bf16_supported", "bfloat16 kernels are refused otherwise", _static(_always(True))),
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

OPTIONS: Mapping[str, object] = {
    "compile_threads": 1,  # worker processes would not have the replacements
    "use_static_triton_launcher": False,  # loads each cubin through the driver (torch 2.14)
    "use_static_cuda_launcher": False,  # the same under its name in torch 2.11
    "always_keep_tensor_constants": True,  # inlining a small constant reads its value from the device
    "joint_graph_constant_folding": False,  # computes on the device
    "shape_padding": False,  # times padded against plain matrix products
    "max_autotune": False,  # times
    "max_autotune_gemm": False,
    "max_autotune_gemm_backends": "ATEN",  # integer products choose among templates even without autotuning
    "coordinate_descent_tuning": False,
    "triton.autotune_at_compile_time": True,  # makes the compiler emit the block that is replaced above
}
"""Compiler options that keep it from timing or computing on the device."""

_LIBCUDA = (
    "cuCtxGetCurrent cuCtxGetDevice cuCtxSetCurrent cuDeviceGet cuDeviceGetAttribute cuDevicePrimaryCtxRetain "
    "cuFuncGetAttribute cuFuncSetAttribute cuGetErrorName cuGetErrorString cuInit cuLaunchCooperativeKernel "
    "cuLaunchKernel cuLaunchKernelEx cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleLoadDataEx "
    "cuModuleUnload cuStreamGetCtx cuTensorMapEncodeIm2col cuTensorMapEncodeTiled"
).split()


def require_checked_versions() -> None:
    """Refuse versions on which TABLE was not checked.

    Raises:
        MissingError: for any other torch or Triton.
    """
    found, wanted = release(torch.__version__), CHECKED.get(release(torch.__version__))
    if wanted is None or release(triton.__version__) != wanted:
        pairs = " or ".join(f"torch {t} with triton {v}" for t, v in CHECKED.items())
        first = next(iter(CHECKED.items()))
        raise MissingError(
            f"torch {found} with triton {triton.__version__}: building for a GPU that is not here is checked for "
            f"{pairs} only. Install one (pip install torch=={first[0]} triton=={first[1]}), or build on a machine "
            "with the GPU, where any version will do"
        )
    if torch.version.cuda is None:
        raise MissingError(
            f"torch {torch.__version__} was built without CUDA and cannot compile for it; install the CUDA build "
            f"(pip install torch=={first_checked()})"
        )


def first_checked() -> str:
    """The torch version that this package is developed with."""
    return next(iter(CHECKED))


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


@contextlib.contextmanager
def offline_cuda(gpu: Gpu, weights: Weights) -> Iterator[None]:
    """Inside, the compiler believes that `gpu` is here and finds the values of fake weights in `weights`.

    Raises:
        MissingError: on versions that were not checked, or without a C compiler or the CUDA headers.
    """
    require_checked_versions()
    version = release(torch.__version__)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_link_stub())
        for row in TABLE:
            if version in row.versions:
                stack.enter_context(mock.patch.object(owner_of(row), row.name, row.make(gpu, weights)))
        stack.enter_context(_driver(gpu))
        _forget_devices()
        stack.callback(_forget_devices)
        yield


@contextlib.contextmanager
def _driver(gpu: Gpu) -> Iterator[None]:
    """A Triton driver that knows the target and launches nothing."""
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.driver import CudaDriver

    class CompileOnly(CudaDriver):  # type: ignore[misc]
        def __init__(self) -> None:  # the vendor's own loads libcuda
            self.launcher_cls = lambda source, metadata: None
            self.utils = SimpleNamespace(
                get_device_properties=lambda device: {"max_shared_mem": gpu.shared_per_block},
                # module, function, registers, spills, threads: nothing is loaded
                load_binary=lambda name, kernel, shared, device: (0, 0, 0, 0, 1024),
                unload_module=lambda module: None,
            )
            self.get_device_capability = lambda device=0: gpu.capability
            self.get_current_device = lambda: 0
            self.get_current_stream = lambda device=0: 0
            self.set_current_device = lambda device: None

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", gpu.compute, 32)

    active = triton.runtime.driver
    with mock.patch.object(active, "_active", CompileOnly()):  # `reset_active` would look for a device
        yield


@contextlib.contextmanager
def _link_stub() -> Iterator[None]:
    """A libcuda to link against: the driver that defines it is on GPU machines only, and is found there by name."""
    with tempfile.TemporaryDirectory(prefix="gen3dexport-libcuda-") as folder:
        source = Path(folder) / "stub.c"
        source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in _LIBCUDA))
        command = [compiler(), "-x", "c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(source)]
        command += ["-o", str(Path(folder) / "libcuda.so")]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise ExportError(f"{compiler()} cannot make a shared library: {error.stderr.strip()}") from error
        paths = [folder, *filter(None, [os.environ.get("LIBRARY_PATH")])]
        with mock.patch.dict(os.environ, {"LIBRARY_PATH": os.pathsep.join(paths), "CUDA_HOME": str(cuda_home())}):
            yield


def _forget_devices() -> None:
    """Empty the compiler's caches of what it learnt about devices, so that no build sees another's answers."""
    import torch._inductor.runtime.hints as hints
    import torch._inductor.utils as inductor
    import torch.utils._triton as detection
    from torch._dynamo.device_interface import caching_worker_current_devices, caching_worker_device_properties

    inductor.clear_caches()
    cached = [*vars(detection).values(), *vars(inductor).values(), hints.DeviceProperties.create]
    for function in cached:
        clear = getattr(function, "cache_clear", None)
        if callable(clear):
            clear()
    caching_worker_device_properties.pop("cuda", None)
    caching_worker_current_devices.pop("cuda", None)
