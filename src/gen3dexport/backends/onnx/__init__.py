"""Backend `onnx`: one ONNX file per component, run by onnxruntime on the CPU.

Least CPU time of a call against float32 in onnxruntime 1.32, one thread with AVX-512 VNNI, and relative L2 error
against float32 eager (benchmarks/onnx_schemes.py):

    scheme                      trellis-mini's flow     one block, 1024 wide, 512 tokens
    fp32                        1     (5.0 ms) 6e-7     1     (143 ms) 5e-7
    int8-dynamic, per token     0.71           1.4e-2   0.52           3.1e-4
    int8-dynamic, per tensor    0.58           1.7e-2   0.47           3.3e-4
    int8-weight                 1.05           7.2e-3   1.00           1.3e-4
    fp16                        1.13           3.8e-4   1.08           2.4e-4
    int4-weight                 0.93           9.0e-2   0.97           2.8e-2  (two blocks, 1024 tokens)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gen3dexport.backends import Program
from gen3dexport.backends._idle_threads import IdleThreads
from gen3dexport.backends._packages import first_installed, missing
from gen3dexport.bundle.program import Lowered, ProgramRecord
from gen3dexport.documents.record import Record
from gen3dexport.operator_times import OperatorTimes, Turns
from gen3dexport.quantization.schemes import IN_BYTES, NO_FLOAT8_ON_CPUS, described

if TYPE_CHECKING:
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = described(
    {
        "fp32": "",
        "fp16": "half the file; onnxruntime's CPU kernels compute in float32",
        "int8-dynamic": "MatMulInteger; options.activations",
        "int8-weight": "a quarter of the file, computed in float32",
        "int4-weight": "MatMulNBits, two in a byte",
        "int8-static": "QLinearConv",
    }
)
REFUSED: Mapping[str, str] = {
    "bf16": "onnxruntime has no bfloat16 kernels on the CPU (it refuses the session at Sigmoid); fp16 halves the file",
    "int4-dynamic": IN_BYTES,
    **NO_FLOAT8_ON_CPUS,
}
UNSUPPORTED: Mapping[str, str] = {}

PACKAGES = ("torch", "torchao", "onnx", "onnxscript", "onnxruntime")


class Options(BaseModel):
    """Options of the target.

    Attributes:
        opset: version of ONNX's operators. 23 and later make attention one operator, whose kernel in onnxruntime 1.32
            refuses the broadcast masks that they allow (a text encoder's), so 22 is the last here.
        activations: what shares a range in int8-dynamic: a token, as in the other backends, or a whole tensor, which
            is faster and less precise (much less where single features are large).
        threads: of a session; 0 takes `$OMP_NUM_THREADS`, or every core where that is not set.
        idle_threads: what they do between operators; spinning is for a machine of its own.
        min_features: linears with fewer inputs than this stay as they are in the integer schemes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    opset: int = Field(default=22, ge=18, le=22)
    activations: Literal["token", "tensor"] = "token"
    threads: int = Field(default=0, ge=0)
    idle_threads: IdleThreads = "sleep"
    min_features: int = Field(default=128, ge=1)


def check(options: Options) -> list[str]:
    """The packages that are missing here, each with its remedy."""
    return missing(PACKAGES, "onnx")


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place.

    Raises:
        UsageError: when the component has no such form.
    """
    assert scheme in SCHEMES, scheme
    if scheme == "int8-dynamic":
        from gen3dexport.backends.onnx.int8_linear import quantize_linears

        return quantize_linears(component, options.min_features, options.activations == "token", layers)
    if scheme == "int4-weight":
        from gen3dexport.backends.onnx import int4_linear

        return int4_linear.quantize_linears(component, options.min_features, layers)
    from gen3dexport.quantization.quantize import Int8Static, to_scheme

    if scheme == "int8-static":
        from gen3dexport.backends.onnx.int8_convolution import Int8Convolution

        return to_scheme(component, scheme, options.min_features, layers, static=Int8Static(Int8Convolution))
    return to_scheme(component, scheme, options.min_features, layers)


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """Write NAME.onnx, and NAME.onnx.data where the weights are large; see `lowering`."""
    from gen3dexport.backends.onnx.loading import Requires
    from gen3dexport.backends.onnx.lowering import lower_capture

    requires = Requires(threads=options.threads, idle_threads=options.idle_threads)
    return lower_capture(captured, options.opset, requires, out)


def load(folder: Path, program: ProgramRecord) -> Program:
    """The program from disk, over NumPy arrays; see `loading`. Imports no torch."""
    from gen3dexport.backends.onnx.loading import load_session

    return load_session(folder, program)


def profile(folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns) -> OperatorTimes:
    """The nodes that onnxruntime runs."""
    from gen3dexport.backends.onnx import profiling

    return profiling.profile(folder, program, inputs, turns)


def requires() -> type[Record]:
    """What `load` needs to know of a program."""
    from gen3dexport.backends.onnx.loading import Requires

    return Requires


def runtime() -> str | None:
    """onnxruntime and its version, where it is installed."""
    return first_installed(["onnxruntime"])
