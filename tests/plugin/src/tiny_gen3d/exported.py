"""Backend `exported`: the program that torch.export captured, on disk; torch runs it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gen3dexport.bundle.program import Lowered, ProgramRecord
from gen3dexport.documents.record import Record
from gen3dexport.errors import MissingError, UsageError, VerificationError
from gen3dexport.quantization.schemes import SCHEMES as EVERY
from gen3dexport.quantization.schemes import described

if TYPE_CHECKING:
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = described({"fp32": "", "int8-dynamic": "torch._int_mm"})
REFUSED: Mapping[str, str] = {
    name: "this backend has float32 and int8 alone; use int8-dynamic" for name in EVERY if name not in SCHEMES
}
UNSUPPORTED: Mapping[str, str] = {}
PACKAGES = ("torch",)


class Options(Record):
    """Options of the target.

    Attributes:
        min_features: linears with fewer inputs than this stay as they are in int8-dynamic.
    """

    min_features: int = Field(default=64, ge=1)


def check(options: Options) -> list[str]:
    """torch, if it is missing."""
    return [] if importlib.util.find_spec("torch") else ["torch is not installed; run: pip install torch"]


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place."""
    from gen3dexport.quantization.quantize import to_scheme

    if scheme not in SCHEMES:
        raise UsageError(f"{component.name}: scheme {scheme}: {REFUSED.get(scheme, 'unknown')}")
    return to_scheme(component, scheme, options.min_features, layers)


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """NAME.pt2 in folder `out`."""
    import torch

    program, name = captured.whole, f"{captured.component.name}.pt2"
    for node in program.graph.nodes:  # where a node came from: paths of this machine
        for key in ("stack_trace", "from_node", "nn_module_stack", "torch_fn", "source_fn_stack"):
            node.meta.pop(key, None)
    program.example_inputs = None
    torch.export.save(program, out / name)
    return Lowered(files=(name,), facts={"nodes": len(program.graph.nodes)})


def load(folder: Path, program: ProgramRecord) -> Exported:
    """The program from disk.

    Raises:
        MissingError: when torch is not installed.
        VerificationError: when torch cannot read the file.
    """
    if not importlib.util.find_spec("torch"):
        raise MissingError(f"program {program.name}: torch is not installed; run: pip install torch")
    import array_api_compat.torch as xp
    import torch

    path = folder / program.files[0]
    try:
        module = torch.export.load(path).module()
    except Exception as error:  # torch raises many types; the cause is kept
        raise VerificationError(f"{path}: torch cannot read it ({error}); build the bundle again") from error
    return Exported(program, module, xp)


@dataclass(eq=False)
class Exported:
    """A loaded program over torch arrays."""

    record: ProgramRecord
    module: Callable[..., Any]
    xp: Any

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name.

        Raises:
            UsageError: when an input is missing, unknown or misshapen.
        """
        import torch

        wanted = {name: spec.shape for name, spec in self.record.inputs.items()}
        found = {name: tuple(value.shape) for name, value in inputs.items()}
        if found != wanted:
            raise UsageError(f"program {self.record.name}: takes {wanted}, not {found}")
        with torch.inference_mode():
            result = self.module(*(torch.asarray(inputs[name]) for name in wanted))
        values = result if isinstance(result, tuple) else (result,)
        return dict(zip(self.record.outputs, values, strict=True))
