"""Backend `eager`: the captured graph, run by torch itself. No vendor package: the reference and the fake target."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from gen3dexport.backends import Program
from gen3dexport.backends._idle_threads import set_openmp
from gen3dexport.backends._packages import first_installed, missing
from gen3dexport.bundle.program import Lowered, ProgramRecord
from gen3dexport.errors import ExportError, MissingError, VerificationError
from gen3dexport.operator_times import OperatorTimes, Turns
from gen3dexport.quantization.schemes import described

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = described(
    {
        "fp32": "",
        "fp16": "",
        "bf16": "",
        "int8-dynamic": "torch._int_mm",
        "int8-weight": "",
        "int4-dynamic": "each in a byte",
        "int4-weight": "two in a byte",
        "float8-weight": "",
        "float8-dynamic": "",
        "int8-static": "computed in float32",
    }
)
REFUSED: Mapping[str, str] = {}
UNSUPPORTED: Mapping[str, str] = {}
PACKAGES = ("torch", "torchao")
NO_FORK = "torch"
_ASSERTION = "aten._assert_tensor_metadata.default"  # computes nothing


class Options(BaseModel):
    """Options of the target.

    Attributes:
        min_features: linears with fewer inputs than this stay as they are in the integer and float8 schemes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_features: int = Field(default=128, ge=1)


def check(options: Options) -> list[str]:
    """What is missing here: torch alone, and torchao for building the int8 schemes."""
    return missing(PACKAGES, "torch")


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place.

    Raises:
        UsageError: when the component has no such form.
    """
    from gen3dexport.quantization.quantize import to_scheme

    assert scheme in SCHEMES, scheme
    return to_scheme(component, scheme, options.min_features, layers)


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """Save the whole capture as NAME.pt2: plain tensors and ATen operators, readable with torch alone.

    Raises:
        ExportError: when torch cannot write the graph.
    """
    import torch

    component = captured.component
    name = f"{component.name}.pt2"
    plain = _plain(captured.whole, component.name)
    torch.export.save(plain, out / name)
    calls = [str(node.target) for node in plain.graph.nodes if node.op == "call_function"]
    operators = Counter(call for call in calls if call.startswith("aten.") and call != _ASSERTION)
    return Lowered(files=(name,), facts={"operators": dict(sorted(operators.items()))})


def load(folder: Path, program: ProgramRecord) -> Program:
    """The program from disk.

    Raises:
        MissingError: when torch is not installed.
        VerificationError: when torch cannot read the file.
    """
    if importlib.util.find_spec("torch") is None:
        raise MissingError(f"program {program.name}: torch is not installed; run: pip install 'gen3dexport[torch]'")
    set_openmp("sleep")
    import torch

    from gen3dexport.backends._quiet import quiet

    path = folder / program.files[0]
    try:
        with quiet("torch._export.serde.serialize"):  # on symbolic sizes, of which a static graph has none
            module = _with_fast_products(torch.export.load(path).module())
    except Exception as error:  # torch raises many types on a damaged archive; the cause is kept
        raise VerificationError(f"{path}: torch cannot read the program ({error}); build the bundle again") from error
    import array_api_compat.torch as xp

    return EagerProgram(program, module, xp)


def _with_fast_products(module: Any) -> Any:
    """The module with the integer products that suit this machine's CPU; the numbers are the same."""
    import torch

    from gen3dexport.quantization.integer_product import integer_product

    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten._int_mm.default):
        node.target = integer_product
    module.recompile()
    return module


@dataclass(eq=False)
class EagerProgram:
    """A loaded program over torch arrays; NumPy arrays are taken too."""

    record: ProgramRecord
    module: Callable[..., Any]
    xp: Any

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name, without gradients.

        Raises:
            UsageError: when an input is missing, unknown or misshapen.
            ProgramError: when torch fails on the program.
        """
        import torch

        from gen3dexport.backends._inputs import in_order
        from gen3dexport.backends._running import running

        values = in_order(self.record, inputs)
        with running(self.record, "torch"), torch.inference_mode():
            result = self.module(*(torch.asarray(value) for value in values))
        outputs = result if isinstance(result, tuple) else (result,)
        return dict(zip(self.record.outputs, outputs, strict=True))


def _plain(program: ExportedProgram, name: str) -> ExportedProgram:
    """`program` with quantized weights as their plain int8 and scale tensors, torchao's operators spelt out in ATen,
    and nothing in it that depends on where it was built."""
    plain = _spelt_out(program, name) if _has_torchao(program) else program
    for node in plain.graph.nodes:  # notes on where a node came from: source paths and addresses of this process
        for key in ("stack_trace", "from_node", "nn_module_stack", "torch_fn", "source_fn_stack"):
            node.meta.pop(key, None)
    plain.example_inputs = None  # the bundle has golden inputs
    return plain


def _has_torchao(program: ExportedProgram) -> bool:
    """Whether weights or operators of a graph are torchao's."""
    values = (*program.state_dict.values(), *program.constants.values())
    operators = (str(node.target) for node in program.graph.nodes if node.op == "call_function")
    return any(hasattr(v, "__tensor_flatten__") for v in values) or any(o.startswith("torchao.") for o in operators)


def _spelt_out(program: ExportedProgram, name: str) -> ExportedProgram:
    """The program without them; it is traced once more, which takes longer than the capture."""
    import torch

    # This table changes no arithmetic: it spells torchao's operators out, and decomposing at all unwraps its tensors.
    known = dict(torch.export.default_decompositions())
    table = {operator: rule for operator, rule in known.items() if str(operator).startswith("torchao.")}
    try:
        plain: ExportedProgram = program.run_decompositions(table)
    except Exception as error:  # torch.export raises many types; the cause is kept
        raise ExportError(f"{name}: torch.export cannot spell out the quantized graph: {error}") from error
    return plain


def profile(folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns) -> OperatorTimes:
    """The operators that torch runs."""
    from gen3dexport.backends import _torch_profiling

    loaded = load(folder, program)
    return _torch_profiling.profile(lambda: loaded(inputs), turns, on_gpu=False)


def runtime() -> str | None:
    """torch and its version, where it is installed."""
    return first_installed(["torch"])
