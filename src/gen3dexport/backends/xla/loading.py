"""A program from disk, ready to call. Needs JAX and safetensors, not torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen3dexport.backends._running import running
from gen3dexport.backends.xla.chips import CHIPS, Requires
from gen3dexport.backends.xla.weights import read_weights
from gen3dexport.bundle.program import ProgramRecord, required
from gen3dexport.errors import MissingError, UsageError, VerificationError


class XlaProgram:
    """A jax.export program with its weights on the default device.

    Takes arrays by name (NumPy, JAX, anything NumPy can read) and gives JAX arrays by name, ready (not still being
    computed). 64-bit integers are cast to the 32-bit ones that JAX computes with.

    Attributes:
        xp: the Array API namespace of its outputs.
        device_name: the accelerator it runs on, as JAX calls it; None on a CPU.
        stand_in: why times taken here are not the target's, or None when they are.
    """

    xp: Any = jnp

    def __init__(self, exported: jax.export.Exported, weights: Mapping[str, Any], record: ProgramRecord) -> None:
        args, _ = jax.tree_util.tree_unflatten(exported.in_tree, exported.in_avals)
        self.name, self.record = record.name, record
        kind, chip = jax.devices()[0].device_kind, CHIPS.get(required(record, Requires).chip)
        self.device_name = None if jax.default_backend() == "cpu" else kind
        other = chip is not None and kind != chip.kind
        self.stand_in = f"ran on JAX's {kind} for its numbers only, not on its TPU" if other else None
        self._specs: dict[str, Any] = args[1]
        self._weights = weights
        self._call = jax.jit(exported.call)

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run it.

        Raises:
            UsageError: when an input is missing, unknown, misshapen, or holds integers beyond 32 bits.
            ProgramError: when JAX fails on the program.
        """
        if inputs.keys() != self._specs.keys():
            raise UsageError(f"{self.name}: takes inputs {sorted(self._specs)}, got {sorted(inputs)}")
        fed = {name: self._cast(name, inputs[name], spec) for name, spec in self._specs.items()}
        with running(self.record, "JAX"):
            return dict(jax.block_until_ready(self._call(self._weights, fed)))

    def device_memory(self) -> int | None:
        """The most bytes that this process has held on the accelerator; None on a CPU."""
        stats = None if self.device_name is None else jax.devices()[0].memory_stats()
        return None if not stats else int(stats["peak_bytes_in_use"])

    def _cast(self, name: str, value: Any, spec: Any) -> Any:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
        if array.shape != spec.shape:
            raise UsageError(f"{self.name}: input {name} has shape {list(array.shape)}, needs {list(spec.shape)}")
        if array.dtype == np.int64 and spec.dtype == np.int32:
            limits = np.iinfo(np.int32)
            if array.size and (array.min() < limits.min or array.max() > limits.max):
                raise UsageError(f"{self.name}: input {name} has values that do not fit int32")
        return jnp.asarray(array, spec.dtype)


def load(folder: Path, program: ProgramRecord) -> XlaProgram:
    """The program of that record.

    Raises:
        VerificationError: when a file is not what its name says, or program and weights do not belong together.
        MissingError: when the program is not for the device that JAX has here.
    """
    path, beside = folder / program.files[0], folder / program.files[1]
    try:
        exported = jax.export.deserialize(bytearray(path.read_bytes()))
        weights = read_weights(beside)
    except OSError as error:
        raise VerificationError(f"{error.filename}: not readable ({error.strerror}); build the bundle again") from error
    except Exception as error:  # flatbuffers, MLIR and safetensors raise many types; the cause is kept
        raise VerificationError(
            f"{path} and {beside.name}: not a jax.export program with its weights ({error}); build the bundle again, "
            "or install the jax version that built it (at most 6 months newer)"
        ) from error
    here = jax.default_backend()
    if here not in exported.platforms:
        raise MissingError(
            f"{program.name}: is for {', '.join(exported.platforms)}, JAX has {here} here; run it on a TPU machine, or "
            f"run program {program.component!r}, which computes the same on {here}"
        )
    args, _ = jax.tree_util.tree_unflatten(exported.in_tree, exported.in_avals)
    wanted = {key: (aval.shape, aval.dtype) for key, aval in args[0].items()}
    if wanted != {key: (value.shape, value.dtype) for key, value in weights.items()}:
        raise VerificationError(f"{beside}: does not hold the weights of {path.name}; build the bundle again")
    return XlaProgram(exported, weights, program)
