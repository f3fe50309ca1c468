"""Compile for a CUDA GPU on a machine that has none.

torch has no option for this: its compiler asks the driver about the device, launches each Triton kernel once to time
it, and reads the weights back from the device. `offline_cuda` answers the questions from `gpu_table`, compiles the
kernels without launching them, and hands the weights over from host memory. Everything that has to be replaced for
that is in `replaced.TABLE`, each with its reason; it was checked on the versions in `toolchain.CHECKED` only, and
other versions are refused.

The replacements are process-wide while the context is open: a process builds one package at a time (`compile_package`
holds a lock).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import triton

from gen3dexport.backends._quiet import quiet
from gen3dexport.backends.aotinductor.gpu_table import Gpu
from gen3dexport.backends.aotinductor.replaced import TABLE, Weights, owner_of, properties
from gen3dexport.backends.aotinductor.toolchain import CHECKED, compiler, cuda_home, release
from gen3dexport.disk import scratch
from gen3dexport.errors import ExportError, MissingError

OPTIONS: Mapping[str, object] = {
    "compile_threads": 1,  # worker processes would not have the replacements
    "use_static_triton_launcher": False,  # loads each cubin through the driver (torch 2.14)
    "use_static_cuda_launcher": False,  # the same under its name in torch 2.11
    "joint_graph_constant_folding": False,  # computes on the device
    "shape_padding": False,  # times padded against plain matrix products
    "max_autotune": False,  # times
    "max_autotune_gemm": False,
    "max_autotune_gemm_backends": "ATEN",  # integer products choose among templates even without autotuning
    "coordinate_descent_tuning": False,
    "dynamic_scale_rblock": False,  # more configurations to time
    "triton.autotune_at_compile_time": True,  # makes the compiler emit the block that is replaced above
}
"""Compiler options that keep it from timing or computing on the device."""

_LIBCUDA = (
    "cuCtxGetCurrent cuCtxGetDevice cuCtxSetCurrent cuDeviceGet cuDeviceGetAttribute cuDevicePrimaryCtxRetain "
    "cuFuncGetAttribute cuFuncSetAttribute cuGetErrorName cuGetErrorString cuInit cuLaunchCooperativeKernel "
    "cuLaunchKernel cuLaunchKernelEx cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleLoadDataEx "
    "cuModuleUnload cuStreamGetCtx cuTensorMapEncodeIm2col cuTensorMapEncodeTiled"
)


def require_checked_versions() -> None:
    """Refuse versions on which TABLE was not checked.

    Raises:
        MissingError: for any other torch or Triton.
    """
    found, wanted = release(torch.__version__), CHECKED.get(release(torch.__version__))
    if wanted is None or release(triton.__version__) != wanted:
        pairs = " or ".join(f"torch {t} with triton {v}" for t, v in CHECKED.items())
        torch_version, triton_version = next(iter(CHECKED.items()))
        raise MissingError(
            f"torch {found} with triton {triton.__version__}: building for a GPU that is not here is checked for "
            f"{pairs} only. Install one (pip install torch=={torch_version} triton=={triton_version}), or build on a "
            "machine with the GPU, where any version will do"
        )
    if torch.version.cuda is None:
        raise MissingError(
            f"torch {torch.__version__} was built without CUDA and cannot compile for it; install the CUDA build "
            f"(pip install torch=={next(iter(CHECKED))})"
        )


@contextlib.contextmanager
def offline_cuda(gpu: Gpu, weights: Weights) -> Iterator[None]:
    """Inside, the compiler believes that `gpu` is here and finds the values of fake weights in `weights`.

    Raises:
        MissingError: on versions that were not checked, or without a C compiler or the CUDA headers.
    """
    require_checked_versions()
    version = release(torch.__version__)
    with contextlib.ExitStack() as stack:
        stack.enter_context(quiet("torch.utils.cpp_extension"))  # says at import that there is no GPU
        stack.enter_context(_link_stub())
        for row in TABLE:
            if version in row.versions:
                stack.enter_context(mock.patch.object(owner_of(row), row.name, row.make(gpu, weights)))
        stack.enter_context(_driver(gpu))
        stack.enter_context(_known_device(gpu))
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
    with scratch() as folder:
        source = folder / "stub.c"
        source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in _LIBCUDA.split()))
        command = [compiler(), "-x", "c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", str(source)]
        command += ["-o", str(folder / "libcuda.so")]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            raise ExportError(f"{compiler()} cannot make a shared library: {error.stderr.strip()}") from error
        paths = [str(folder), *filter(None, [os.environ.get("LIBRARY_PATH")])]
        with mock.patch.dict(os.environ, {"LIBRARY_PATH": os.pathsep.join(paths), "CUDA_HOME": str(cuda_home())}):
            yield


@contextlib.contextmanager
def _known_device(gpu: Gpu) -> Iterator[None]:
    """Device 0 is the current one and is `gpu`, in the cache that the compiler keeps for its worker processes."""
    from torch._dynamo.device_interface import caching_worker_current_devices, caching_worker_device_properties

    _forget_devices()
    with (
        mock.patch.dict(caching_worker_current_devices, {"cuda": 0}),
        mock.patch.dict(caching_worker_device_properties, {"cuda": [properties(gpu)]}),
    ):
        yield
    _forget_devices()


def _forget_devices() -> None:
    """Empty the compiler's caches of what it learnt about devices, so that no build sees another's answers."""
    import torch._inductor.runtime.hints as hints
    import torch._inductor.utils as inductor
    import torch.utils._triton as detection

    inductor.clear_caches()
    for function in (*vars(detection).values(), *vars(inductor).values(), hints.DeviceProperties.create):
        clear = getattr(function, "cache_clear", None)
        if callable(clear):
            clear()
