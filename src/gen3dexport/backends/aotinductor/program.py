"""A loaded package: what it needs is checked before torch opens it, because opening runs its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from gen3dexport.backends._idle_threads import IdleThreads, set_openmp
from gen3dexport.backends._inputs import in_order
from gen3dexport.backends._running import running
from gen3dexport.backends.aotinductor.host_code import HostCode, require_host
from gen3dexport.backends.aotinductor.toolchain import installed
from gen3dexport.backends.aotinductor.unpacking import require_room
from gen3dexport.bundle.program import ProgramRecord, required
from gen3dexport.documents.record import Record
from gen3dexport.errors import MissingError, VerificationError

if TYPE_CHECKING:
    import torch


class Requires(Record):
    """What a package needs of the machine that opens it.

    Attributes:
        device: that it computes on; arch: the GPU's architecture, None on the CPU.
        torch, cuda: versions that it was built with; cuda is None on the CPU.
        host: what its host code was compiled for.
        idle_threads: what OpenMP's threads do between pieces of work; the first package of a process decides it.
    """

    device: Literal["cpu", "cuda"]
    arch: str | None
    torch: str
    cuda: str | None
    host: HostCode
    idle_threads: IdleThreads = "sleep"


def open_program(folder: Path, record: ProgramRecord) -> AotiProgram:
    """The program from disk.

    Raises:
        MissingError: when this machine's torch, CPU or GPU is not what the package was built for, or torch cannot
            unpack it here.
        VerificationError: when the record says too little, or torch cannot read the package.
    """
    needs, path = required(record, Requires), folder / record.files[0]
    if not path.is_file():
        raise VerificationError(f"{path}: not found; the bundle is incomplete, build it again")
    _require_torch(needs, path)
    require_host(needs.host, str(path))
    require_room(path)
    set_openmp(needs.idle_threads)
    import torch

    index = _require_gpu(needs, path) if needs.device == "cuda" else -1
    device = torch.device("cuda", index) if index >= 0 else torch.device("cpu")
    before = _bytes_in_use(device)
    try:
        # aoti_load_package makes this same loader, and imports the compiler to look at the machine, as is done above.
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, index)
    except Exception as error:  # torch raises many types on a damaged archive; the cause is kept
        raise VerificationError(f"{path}: torch cannot open the package ({error}); build the bundle again") from error
    return AotiProgram(record, loader.boxed_run, device, _namespace(device), before)


def _require_torch(needs: Requires, path: Path) -> None:
    """Packages are linked against torch's C interface, which changes with each release."""
    found, wanted = installed("torch"), needs.torch.split("+")[0]
    if found is None:
        raise MissingError(f"{path}: torch is not installed; pip install torch=={wanted}")
    if found.split("+")[0].split(".")[:2] != wanted.split(".")[:2]:
        raise MissingError(
            f"{path}: was built with torch {wanted}, this is {found}; pip install torch=={wanted}, or build the "
            "bundle again with this torch"
        )


def _require_gpu(needs: Requires, path: Path) -> int:
    """The index of a GPU that the kernels run on."""
    import torch

    arch, cuda = needs.arch, str(needs.cuda)
    need = f"{path}: needs a GPU of architecture {arch}"
    other = f"run it on a machine with one, or build for another target (cpu-aoti runs here; it was built for {arch})"
    if torch.version.cuda is None:
        raise MissingError(f"{need}, and torch with CUDA {cuda}; this torch has no CUDA. Install the CUDA build")
    if torch.version.cuda.split(".")[0] != cuda.split(".")[0]:
        raise MissingError(f"{need} and torch with CUDA {cuda}; this torch has CUDA {torch.version.cuda}")
    if not torch.cuda.is_available():
        raise MissingError(f"{need}, and this machine has no CUDA device; {other}")
    found = [f"sm_{major}{minor}" for major, minor in map(torch.cuda.get_device_capability, _devices())]
    if arch not in found:
        raise MissingError(f"{need}, and this machine has {', '.join(found)}; {other}")
    return found.index(arch)


def _devices() -> range:
    import torch

    return range(torch.cuda.device_count())


def _namespace(device: torch.device) -> Any:
    import array_api_compat.torch as xp

    return xp if device.type == "cpu" else OnDevice(xp, device)


def _bytes_in_use(device: torch.device) -> int:
    """Bytes of a GPU's memory that are taken, by whomever; 0 for the CPU."""
    if device.type == "cpu":
        return 0
    import torch

    free, total = torch.cuda.mem_get_info(device)
    return int(total - free)


@dataclass(frozen=True)
class OnDevice:
    """The torch namespace, with new arrays made on the program's device: a pipeline's own arrays meet its outputs."""

    xp: ModuleType
    device: torch.device

    def asarray(self, value: Any, **kwargs: Any) -> Any:
        """An array on the device."""
        return self.xp.asarray(value, **{"device": self.device, **kwargs})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.xp, name)


@dataclass(eq=False)
class AotiProgram:
    """A loaded program over torch arrays; NumPy arrays are taken too. Outputs are on its device."""

    record: ProgramRecord
    run: Callable[[list[torch.Tensor]], list[torch.Tensor]]
    device: torch.device
    xp: Any
    bytes_before: int = 0

    @property
    def device_name(self) -> str | None:
        """The GPU's name; None on the CPU."""
        import torch

        return None if self.device.type == "cpu" else torch.cuda.get_device_name(self.device)

    def device_memory(self) -> int | None:
        """Bytes that the GPU gave out since just before the package was loaded; None on the CPU.

        Constants are allocated outside torch's allocator and its blocks stay with the process, so what the driver has
        given out is constants and the peak of the activations together, if nothing else runs on the GPU.
        """
        return None if self.device.type == "cpu" else max(0, _bytes_in_use(self.device) - self.bytes_before)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name. On a GPU the call returns before the device is done, as torch's own calls do.

        Raises:
            UsageError: when an input is missing, unknown or misshapen (the compiled code does not look).
            ProgramError: when the compiled code fails, as far as it notices.
        """
        import torch

        values = in_order(self.record, inputs)
        with running(self.record, "AOTInductor"), torch.inference_mode():
            # The compiled code reads row-major memory.
            outputs = self.run([torch.asarray(value, device=self.device).contiguous() for value in values])
        return dict(zip(self.record.outputs, outputs, strict=True))
