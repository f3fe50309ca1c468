"""Backends: how programs are lowered, loaded and run. A backend is one module of this folder (or an entry point of the
group `gen3dexport.backends`) with these names:

    SCHEMES: Mapping[str, str]            quantization schemes it takes -> one line of what it does with them
    REFUSED: Mapping[str, str]            schemes it refuses -> the reason
    UNSUPPORTED: Mapping[str, str]        operators it cannot take (`aten.sort.default`) -> why; `plan` looks for them
    Options: type[BaseModel]              pydantic model (extra="forbid") of the target's `options`
    PACKAGES: Sequence[str]               packages that its programs are made with; bundles keep their versions
    check(options) -> list[str]           what is missing on this machine, each line with its remedy; [] when ready
    quantize(component, scheme, options, layers=None) -> Component   in place, for this backend's kernels: the layers
                                          that the scheme takes by default, or just those named
    lower(captured, options, out) -> Lowered                   writes files into folder `out`
    load(folder, program) -> Program                           from disk, ready to call

and, where what is assumed without them is wrong,

    NO_BATCHED_GUIDANCE: str              why it takes no batched guidance; without it, it takes it
    NO_FORK: str                          a library whose threads its programs wait for: no process can use them whose
                                          parent used that library before the fork
    refused_for(scheme, options)          -> str | None, why these options refuse a scheme; without it, REFUSED says so
    requires() -> type[Record]            the model of what `load` needs to know of a program (`Lowered.requires`);
                                          without it, the manifest's is not looked at before `load`
    runs_here(program) -> bool            whether a twin, one of `Lowered.extra`, runs on a device of this machine;
                                          without it no twin stands for its component, and is only measured
    absent(options) -> str | None         the device that is missing on this machine, so that times stay unmeasured;
                                          without it, programs run on any machine that builds them
    tries_out(options) -> bool            whether kernels are timed on the device while a program is compiled, so that
                                          nothing should run beside it; without it, none are
    runtime() -> str | None               the package that `load` runs programs with here, and its version; None where
                                          none is installed; without it, nothing is said of it
    profile(folder, program, inputs, turns) -> OperatorTimes | Unprofiled   each operator's time and memory, of the call
                                          on `inputs` that it has `turns` run (`operator_times.Turns`), or of a cost
                                          model; without it, `profile` knows of whole calls alone

Modules import no vendor package (torch, jax, executorch, onnx, ...) at their top: `check`, `Options` and `SCHEMES` must
be readable without any, and `load` imports only the runtime that the program needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from gen3dexport import plugins
from gen3dexport.bundle.program import Lowered, ProgramRecord
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.operator_times import OperatorTimes, Turns, Unprofiled

if TYPE_CHECKING:
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

_GROUP = "gen3dexport.backends"


class Program(Protocol):
    """A loaded program. `xp` is the Array API namespace of the arrays it takes and gives (numpy, torch, jax.numpy).

    It may have `device_name`, the device it runs on (the CPU when it has none), `stand_in`, why its times are not the
    target's (None when they are), and `device_memory()`, the most bytes of the device's own memory that it has needed
    since it was loaded, weights included (None where the device has no memory of its own).
    """

    xp: Any

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]: ...


def stand_in(program: Program) -> str | None:
    """Why times taken here are not the target's (a TPU program on a CPU), or None when they are."""
    reason: str | None = getattr(program, "stand_in", None)
    return reason


def refused_for(backend: ModuleType, scheme: str, options: Any) -> str | None:
    """Why a backend refuses a scheme under these options, or None; its optional `refused_for` knows, else `REFUSED`."""
    own: Callable[[str, Any], str | None] | None = getattr(backend, "refused_for", None)
    return own(scheme, options) if own else backend.REFUSED.get(scheme)


def requires(backend: ModuleType) -> type[Record] | None:
    """The model of what a backend's `load` needs to know of a program; None where it does not say."""
    own: Callable[[], type[Record]] | None = getattr(backend, "requires", None)
    return own() if own else None


def runs_here(backend: ModuleType, program: ProgramRecord) -> bool:
    """Whether a twin runs on a device of this machine; the optional `runs_here` of its backend knows."""
    own: Callable[[ProgramRecord], bool] | None = getattr(backend, "runs_here", None)
    return own is not None and own(program)


def absent(backend: ModuleType, options: Any) -> str | None:
    """The device of these options that this machine lacks, or None; the optional `absent` of its backend knows."""
    own: Callable[[Any], str | None] | None = getattr(backend, "absent", None)
    return own(options) if own else None


def tries_out(backend: ModuleType, options: Any) -> bool:
    """Whether a backend times kernels on the device while it compiles; its optional `tries_out` knows."""
    own: Callable[[Any], bool] | None = getattr(backend, "tries_out", None)
    return own is not None and own(options)


def runtime(backend: ModuleType) -> str | None:
    """The package that a backend's programs run in here, and its version; its optional `runtime` knows."""
    own: Callable[[], str | None] | None = getattr(backend, "runtime", None)
    return own() if own else None


def profile(
    backend: ModuleType, folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns
) -> OperatorTimes | Unprofiled:
    """The operators of a program, as the optional `profile` of its backend finds them."""
    own: Callable[..., OperatorTimes | Unprofiled] | None = getattr(backend, "profile", None)
    if own is None:
        return Unprofiled(f"backend {backend.__name__.rpartition('.')[2]} has no profiler")
    return own(folder, program, inputs, turns)


class Backend(Protocol):
    """The names that every backend module has; those that it may have are at the top of this file."""

    SCHEMES: Mapping[str, str]
    REFUSED: Mapping[str, str]
    UNSUPPORTED: Mapping[str, str]
    PACKAGES: Sequence[str]
    Options: type[BaseModel]

    def check(self, options: Any) -> list[str]: ...
    def quantize(
        self, component: Component, scheme: str, options: Any, layers: Sequence[str] | None = None
    ) -> Component: ...
    def lower(self, captured: Captured, options: Any, out: Path) -> Lowered: ...
    def load(self, folder: Path, program: ProgramRecord) -> Program: ...


def _here() -> set[str]:
    return {m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")}


def names() -> list[str]:
    """Every backend: the modules of this folder and those of the entry-point group."""
    return sorted({*_here(), *plugins.found(_GROUP)})


def find(name: str) -> ModuleType:
    """The backend module of that name; one of this folder comes before an entry point.

    Raises:
        UsageError: when there is none.
    """
    if name in _here():
        return importlib.import_module(f"{__name__}.{name}")
    if (point := plugins.found(_GROUP).get(name)) is None:
        raise UsageError(f"backend {name!r}: not found; there are {', '.join(names())}")
    module = point.load()
    assert isinstance(module, ModuleType)
    return module
