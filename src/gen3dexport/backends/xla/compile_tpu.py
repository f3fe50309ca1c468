"""The TPU compile without a TPU: what the compiler says of memory and time. Runs in a child process; imports no JAX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen3dexport.backends.xla.chips import Chip
from gen3dexport.backends.xla.hlo import Operator
from gen3dexport.children import of_this_process
from gen3dexport.disk import scratch
from gen3dexport.errors import ExportError

_QUIET = {
    "JAX_PLATFORMS": "cpu",  # the child's own arrays; the TPU is only described
    "TPU_SKIP_MDS_QUERY": "1",  # no metadata server to ask
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_MIN_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Compiled:
    """What the compiler said.

    Attributes:
        memory: bytes of arguments, outputs, temporaries, code and aliased arguments.
        seconds: one call by the compiler's cost analysis, loop bodies counted as often as they run. It counts a
            float32 product as one pass, whatever its precision.
        cycles: one call by the cost model of its instruction scheduler.
        custom_calls: names of the custom calls in the compiled program.
        operators: those of one call, longest first: what they compute, their names, cycles, runs and bytes of their
            outputs.
        effort: 0 full, -1 least (estimates of time are then of slower code).
        build: wall seconds, CPU seconds and peak resident bytes of the child.
    """

    memory: dict[str, int]
    seconds: float
    cycles: int
    custom_calls: tuple[str, ...]
    operators: tuple[Operator, ...]
    effort: float
    build: dict[str, float]

    @property
    def total(self) -> int:
        """Bytes of HBM that one call needs."""
        return sum(self.memory.values()) - 2 * self.memory["aliased"]


@dataclass(frozen=True)
class Unknown:
    """The compile did not finish; why."""

    reason: str


def compile_tpu(program: Path, name: str, chip: Chip, timeout_s: float) -> Compiled | Unknown:
    """`program` compiled for `chip`: with full effort, and when that takes longer than `timeout_s`, with the least.

    Args:
        program: what jax.export serialized.
        name: of the component, for messages.
        chip: the chip.
        timeout_s: for each of the two attempts.

    Raises:
        ExportError: when the program does not fit the chip's memory, with the bytes, or the compiler refuses it.
    """
    for effort in (0.0, -1.0):
        answer = _child(program, name, chip, timeout_s, effort)
        if answer is None:
            continue
        if "needed" in answer:
            raise ExportError(_too_big(name, chip, answer))
        if "error" in answer:
            raise ExportError(f"{name}: the TPU compiler refused it for {chip.name}: {_shortened(answer['error'])}")
        return Compiled(
            memory=answer["memory"],
            seconds=answer["optimal_seconds"] * answer["repeat"],
            cycles=answer["estimated_cycles"],
            custom_calls=tuple(answer["custom_calls"]),
            operators=tuple(Operator(**operator) for operator in answer["operators"]),
            effort=effort,
            build={key: answer[key] for key in ("seconds", "cpu_seconds", "peak_rss_bytes")},
        )
    return Unknown(f"the TPU compile took longer than {timeout_s:g} s, with full and with least effort")


def _child(program: Path, name: str, chip: Chip, timeout_s: float, effort: float) -> dict[str, Any] | None:
    environment = of_this_process({**os.environ, **_QUIET, "TPU_ACCELERATOR_TYPE": chip.accelerator})
    if not tpu_devices():
        environment["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # no device to protect: compiles may run side by side
    module = f"{__package__}.compile_child"
    with scratch() as folder:
        result = folder / "result.json"
        command = [sys.executable, "-P", "-m", module, str(program), chip.name, str(result), str(effort)]
        try:
            done = subprocess.run(
                command, env=environment, timeout=timeout_s, capture_output=True, text=True, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        if not result.exists():
            tail = "\n".join(done.stderr.strip().splitlines()[-12:])
            raise ExportError(f"{name}: the TPU compiler ended with status {done.returncode}:\n{tail}")
        answer = json.loads(result.read_text())
        assert isinstance(answer, dict)
        return answer


def tpu_devices() -> list[str]:
    """Device files of TPUs on this machine (`/dev/accel*` before v6e, `/dev/vfio/N` from then on)."""
    found = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return sorted(map(str, found))


def _too_big(name: str, chip: Chip, answer: dict[str, Any]) -> str:
    needed, available = answer["needed"], answer["available"]
    if needed != needed:  # the compiler gave no figure that this package can read
        return f"{name}: does not fit the memory of a {chip.name}: {_shortened(answer['error'])}"
    return (
        f"{name}: needs {needed:.0f} bytes ({needed / 2**30:.2f} GiB) of HBM, a {chip.name} has {available:.0f} "
        f"({available / 2**30:.2f} GiB) for programs; use scheme bf16 or int8-weight, a smaller network, or a chip "
        "with more memory"
    )


def _shortened(message: str) -> str:
    lines = [line for line in message.strip().splitlines() if line.strip()]
    return "\n".join(lines[:12]) + ("\n..." if len(lines) > 12 else "")
