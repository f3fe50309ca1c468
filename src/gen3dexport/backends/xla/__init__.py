"""XLA for TPU: a jax.export program for tpu and cpu, weights beside it, and a TPU compile without a TPU.

`lower` gives the component's program (checked on JAX's CPU), and in `extra`
    NAME_pallas          the same with Pallas kernels (attention; int8 linear layers), for tpu only
    NAME_sampler         the whole sampler as one program: noise, condition and negative condition in, latent out
    NAME_pallas_sampler  the same with Pallas kernels

Every program takes (weights by key, inputs by name) and gives outputs by name, so a file describes itself. Figures of
the TPU are estimates: of a roofline of this package, and of libtpu's own cost model.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen3dexport.backends._packages import first_installed, missing
from gen3dexport.backends.xla.chips import Requires
from gen3dexport.backends.xla.compile_tpu import tpu_devices
from gen3dexport.backends.xla.options import Options
from gen3dexport.bundle.program import Lowered, ProgramRecord, required
from gen3dexport.documents.record import Record
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.operator_times import OperatorTimes, Turns, Unprofiled
from gen3dexport.quantization.schemes import described

if TYPE_CHECKING:
    from gen3dexport.backends.xla.loading import XlaProgram
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component

SCHEMES: Mapping[str, str] = described(
    {
        "fp32": "products in six bfloat16 passes: options.matmul_precision",
        "bf16": "",
        "int8-dynamic": "int8 x int8 -> int32 on the matrix unit",
        "int8-weight": "widened before each product",
    }
)
REFUSED: Mapping[str, str] = {
    "fp16": "a TPU's matrix unit takes bfloat16 and int8, not float16: converting gains nothing; use bf16",
    "int4-dynamic": "int4 weights in groups have no product on the matrix unit: they are widened group by group, which "
    "costs more than it saves; use int8-dynamic",
    "int4-weight": "int4 weights in groups have no product on the matrix unit: they are widened group by group, which "
    "costs more than it saves; use int8-weight",
    "int8-static": "an int8 convolution is not lowered to the matrix unit here, so nothing says what it would gain; "
    "use bf16",
    "float8-weight": "safetensors cannot read float8 weights for JAX; use int8-weight, as small and more exact",
    "float8-dynamic": "the matrix unit of a TPU v5e or v6e takes bfloat16 and int8, not float8: it is widened first; "
    "use int8-dynamic",
}
UNSUPPORTED: Mapping[str, str] = {
    "aten.grid_sampler_2d.default": "lowers to scattered reads of single elements; gather whole rows",
    "aten.grid_sampler_3d.default": "lowers to scattered reads of single elements; gather whole rows",
    "aten.linalg_inv_ex.default": "torchax has no lowering for it",
    "aten.randn_like.default": "pass the noise as an input",
    "aten.nonzero_static.default": "torchax has no lowering for it",
}

NO_BATCHED_GUIDANCE = "the sampler is one program here, whose loop goes over calls; use sequential"

PACKAGES = ("torch", "torchao", "torchax", "jax", "jaxlib", "libtpu", "flatbuffers")
NO_FORK = "JAX"


def check(options: Options) -> list[str]:
    """Packages that are missing here, each with its remedy."""
    return missing([name for name in PACKAGES if name != "libtpu" or options.compile], "tpu")


def absent(options: Options) -> str | None:
    """The TPU that this machine lacks, or None."""
    return None if tpu_devices() else "no TPU"


def quantize(component: Component, scheme: str, options: Options, layers: Sequence[str] | None = None) -> Component:
    """`component` in `scheme`, in place.

    Raises:
        UsageError: for a scheme that a TPU has no use for, or that matches no layer.
    """
    from gen3dexport.quantization.quantize import pick, replace_linears, rest_in, to_scheme

    if scheme not in SCHEMES:
        reason = REFUSED.get(scheme, f"not a scheme of this backend; there are {', '.join(SCHEMES)}")
        raise UsageError(f"{component.name}: scheme {scheme!r}: {reason}")
    if scheme.startswith("int8") and options.rest == "bf16":
        rest_in(component, "bf16")
    if scheme == "int8-dynamic":
        from gen3dexport.backends.xla.int8_layer import WholeInt8Linear

        replace_linears(component, pick(component, options.min_features, layers), WholeInt8Linear)
        return component
    return to_scheme(component, scheme, options.min_features, layers)


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """Programs and weights of a component in folder `out`.

    Raises:
        ExportError: when an operator is refused, tracing fails, or the program does not fit the chip's memory.
    """
    _choose_platform()
    from gen3dexport.backends.xla import lowering

    return lowering.lower(captured, options, out)


def load(folder: Path, program: ProgramRecord) -> XlaProgram:
    """A program from disk, on the TPU when there is one, else on the CPU.

    Raises:
        MissingError: when JAX is missing, or the program is for a device that is not here.
        VerificationError: when the files are not a program and its weights.
    """
    _choose_platform()
    if importlib.util.find_spec("jax") is None:
        raise MissingError('jax is not installed: pip install "gen3dexport[tpu]"')
    from gen3dexport.backends.xla import loading

    return loading.load(folder, program)


def profile(
    folder: Path, program: ProgramRecord, inputs: Mapping[str, Any], turns: Turns
) -> OperatorTimes | Unprofiled:
    """The operators of a program by the TPU compiler's schedule; it is compiled for that, and not run."""
    if problems := missing(["jax", "libtpu"], "tpu"):
        return Unprofiled("; ".join(problems))
    from gen3dexport.backends.xla import profiling

    return profiling.profile(folder / program.files[0], program)


def requires() -> type[Record]:
    """What `load` needs to know of a program."""
    return Requires


def runs_here(program: ProgramRecord) -> bool:
    """Whether JAX has a device here that the program was exported for."""
    _choose_platform()
    if importlib.util.find_spec("jax") is None:
        return False
    import jax

    return jax.default_backend() in required(program, Requires).platforms


def _choose_platform() -> None:
    """Keep JAX from waiting for a TPU that is not there: libtpu is installed for its compiler alone."""
    if not tpu_devices():
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def runtime() -> str | None:
    """JAX and its version, where it is installed."""
    return first_installed(["jax"])
