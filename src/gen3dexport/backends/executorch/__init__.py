"""Backend `executorch`: .pte programs whose operators run in XNNPACK delegates, on any x86-64 or ARM64 CPU.

Runs here through the bindings of ExecuTorch, which need torch, or where that is not installed through the package
executorch-numpy-runtime, which does not. What the vendor's own path gets wrong or slow is mended before lowering
(`rewriting`), while lowering (`linear_build`) and by lowering a repeated block once (`stamping`).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from gen3dexport.backends import Program
from gen3dexport.backends._packages import first_installed, missing
from gen3dexport.backends.executorch.linear_build import CHECKED_VERSIONS
from gen3dexport.backends.executorch.unsupported import UNSUPPORTED as UNSUPPORTED
from gen3dexport.bundle.program import Estimate, Lowered, ProgramRecord
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.operator_times import OperatorTimes, Turns, Unprofiled
from gen3dexport.quantization.schemes import described

if TYPE_CHECKING:
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = described(
    {"fp32": "", "int8-dynamic": "XNNPACK qd8", "int4-dynamic": "XNNPACK qb4w", "int8-static": "XNNPACK qs8"}
)
REFUSED: Mapping[str, str] = {
    "fp16": "executorch 1.5.1 gives NaN for a transformer in float16, and its layer norm is wrong; use int8-dynamic",
    "bf16": "XNNPACK takes no bfloat16 operators: they would run one by one in ExecuTorch's kernels; use int8-dynamic",
    "int8-weight": "executorch 1.5.1 computes weight-only int8 wrongly, and its file is no smaller; use int8-dynamic",
    "int4-weight": "executorch 1.5.1 computes weight-only int4 wrongly, and its file is no smaller; use int4-dynamic",
    "float8-weight": "XNNPACK has no float8 operators; use int8-dynamic",
    "float8-dynamic": "XNNPACK has no float8 operators; use int8-dynamic",
}
PACKAGES = ("torch", "torchao", "executorch")
RUNTIMES = ("executorch", "executorch-numpy-runtime")
"""What runs programs, the first that is installed: programs are made, and measured, with the first."""
NO_FORK = "ExecuTorch"
STAMPED_FROM = 3
"""Blocks from which on one block is lowered for all: lowering it takes two rounds, to know that it may be stamped."""


class Options(BaseModel):
    """Options of the target.

    Attributes:
        attention_chunk: the most queries that attend at once, 0 for all. Attention needs heads x queries x keys scores,
            1 GB for 16 heads and 4096 tokens without chunks.
        min_features: in the integer schemes, linears narrower than this on input stay as they are.
        stamp_blocks: lower one block of a repeated stack and stamp it for the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention_chunk: int = Field(default=256, ge=0)
    min_features: int = Field(default=128, ge=1)
    stamp_blocks: bool = True


def check(options: Options) -> list[str]:
    """What is missing here to build and run, each with its remedy."""
    problems = missing(PACKAGES, "executorch")
    if not problems and (version := importlib.metadata.version("executorch")) not in CHECKED_VERSIONS:
        checked = ", ".join(CHECKED_VERSIONS)
        remedy = "run: pip install 'gen3dexport[executorch]'"
        problems.append(f"executorch {version} is not one of {checked} (checked); {remedy}")
    return problems


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place.

    Raises:
        UsageError: when the scheme is refused or unknown, or matches no layer.
    """
    from gen3dexport.quantization.quantize import to_scheme

    if scheme not in SCHEMES:
        reason = REFUSED.get(scheme, "there is no such scheme")
        raise UsageError(f"{component.name}: scheme {scheme} on executorch: {reason}; use {' or '.join(SCHEMES)}")
    if scheme == "int8-static":
        from gen3dexport.backends.executorch.int8_convolution import Int8Convolution
        from gen3dexport.quantization.quantize import Int8Static

        return to_scheme(component, scheme, options.min_features, layers, static=Int8Static(Int8Convolution))
    return to_scheme(component, scheme, options.min_features, layers, kernel="xnnpack")


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """NAME.pte in folder `out`.

    Raises:
        ExportError: when the network has an operator that does not run, or ExecuTorch refuses the graph.
        MissingError: when the installed ExecuTorch is not a checked version.
    """
    from gen3dexport.backends.executorch import lowering, stamping
    from gen3dexport.backends.executorch.delegation import count

    component, stamped = captured.component, None
    if options.stamp_blocks and component.blocks is not None and len(component.blocks) >= STAMPED_FROM:
        stack = captured.stack  # None where the blocks differ in form
        stamped = stamping.stamp(stack, options.attention_chunk, component.name) if stack else None
    if stamped is None:
        edge = lowering.to_edge(captured.whole, options.attention_chunk, component.name)
        delegation, blocks = count(edge), 0
    else:
        assert component.blocks is not None
        edge, delegation, blocks = *stamped, len(component.blocks)
    path = out / f"{component.name}.pte"
    program = lowering.write(edge, path, component.name)
    planned = sum(sum(plan.non_const_buffer_sizes) for plan in program.execution_plan)
    memory = Estimate(
        planned + delegation.live_bytes,
        "bytes that the program plans, and lifetimes of the tensors inside its largest delegate",
    )
    facts: dict[str, Any] = {
        "delegation": delegation.report(),
        "planned_bytes": planned,
        "stamped_blocks": blocks,
        "program_bytes": path.stat().st_size,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    return Lowered(files=(path.name,), facts=facts, estimates={"run_memory_bytes": (memory,)})


def load(folder: Path, program: ProgramRecord) -> Program:
    """The program from disk. Its bytes stay mapped as long as it lives.

    A damaged file is refused by its header and by ExecuTorch's consistency check, but the runtime can still crash the
    process on some: check digests first, and load what nobody checked in a process of its own.

    Raises:
        MissingError: when neither ExecuTorch nor its runtime without torch is installed.
        VerificationError: when the file is not the program that the record describes.
    """
    if (found := runtime()) is None:
        raise MissingError(
            f"program {program.name}: neither {' nor '.join(RUNTIMES)} is installed; run: pip install "
            "'gen3dexport[runtime]' (without torch; Python 3.12 and later), or 'gen3dexport[executorch]'"
        )
    from gen3dexport.backends.executorch.loading import load_program

    return load_program(folder / program.files[0], program, with_torch=found.startswith("executorch "))


def profile(
    folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns
) -> OperatorTimes | Unprofiled:
    """The operators of a program, inside delegates and outside."""
    if not (runtime() or "").startswith("executorch "):
        return Unprofiled(
            "executorch-numpy-runtime has no event tracer; run where executorch is installed: pip install "
            "'gen3dexport[executorch]'"
        )
    from gen3dexport.backends.executorch import profiling

    return profiling.profile(folder / program.files[0], program, inputs, turns)


def runtime() -> str | None:
    """The package that runs programs here, and its version."""
    return first_installed(RUNTIMES)
