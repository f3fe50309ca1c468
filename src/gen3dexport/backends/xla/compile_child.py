"""The child process of a TPU compile: reads a program, compiles it for a chip that is not there, writes JSON.

    python -m gen3dexport.backends.xla.compile_child PROGRAM CHIP RESULT EFFORT

It is a process of its own because libtpu takes a lock, reads its settings from the environment once, and may abort.
The environment is set by `compile_tpu`.
"""

from __future__ import annotations

import json
import math
import re
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gen3dexport.backends.xla.chips import CHIPS, Chip
from gen3dexport.backends.xla.hlo import custom_calls, cycles, operators
from gen3dexport.children import end_with_parent


def compile_program(program: Path, chip: Chip, effort: float) -> dict[str, Any]:
    """Memory, cost and timings of `program` on `chip`; or `error` and, when memory ran out, `needed` and `available`.

    Args:
        program: what jax.export serialized.
        chip: the chip.
        effort: 0 for the compiler's full effort, -1 for its least.
    """
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    jax.config.update("jax_exec_time_optimization_effort", effort)
    exported = jax.export.deserialize(bytearray(program.read_bytes()))
    topology = topologies.get_topology_desc(
        platform="tpu", topology_name=chip.topology, chips_per_host_bounds=(1, 1, 1)
    )
    here = SingleDeviceSharding(topology.devices[0])
    flat = [jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here) for a in exported.in_avals]
    args, kwargs = jax.tree_util.tree_unflatten(exported.in_tree, flat)
    start, start_cpu = time.monotonic(), time.process_time()
    try:
        compiled = jax.jit(exported.call).lower(*args, **kwargs).compile()
    except Exception as error:  # XlaRuntimeError and what Mosaic raises; the text goes to the parent
        return {"error": str(error), **_out_of_memory(str(error))}
    memory, cost, text = compiled.memory_analysis(), compiled.cost_analysis(), compiled.as_text()
    counted = cycles(text)
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": time.process_time() - start_cpu,
        "peak_rss_bytes": _peak_rss(),
        "effort": effort,
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "code": memory.generated_code_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
        },
        "optimal_seconds": repaired(cost.get("optimal_seconds", math.nan)),
        "repeat": counted.repeat,
        "estimated_cycles": counted.total,
        "custom_calls": custom_calls(text),
        "operators": [asdict(operator) for operator in operators(text)],
    }


def repaired(optimal_seconds: float) -> float:
    """XLA's `optimal_seconds` without the second that it subtracts for each operation it has no estimate for.

    Right while the true time of one pass is under a second.
    """
    return optimal_seconds - math.floor(optimal_seconds)


def _peak_rss() -> int:
    """Peak resident bytes of this process. `ru_maxrss` would include the parent's, from before exec."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _out_of_memory(message: str) -> dict[str, float]:
    """Bytes from the compiler's message, e.g. `Used 20.00G of 15.75G hbm`."""
    if "RESOURCE_EXHAUSTED" not in message:
        return {}
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    used = re.search(r"[Uu]sed ([\d.]+)([KMGT]?)i?B? of ([\d.]+)([KMGT]?)", message)
    size = re.search(r"([\d.]+)([KMGT]?)i?B?[^.]{0,60}exceeds available HBM \(?([\d.]+)([KMGT]?)", message)
    found = used or size
    if found is None:
        return {"needed": math.nan, "available": math.nan}
    needed, unit, available, other = found.groups()
    return {"needed": float(needed) * units[unit], "available": float(available) * units[other]}


def main(arguments: list[str]) -> None:
    """The command line at the top of this file."""
    program, chip, result, effort = arguments
    answer = compile_program(Path(program), CHIPS[chip], float(effort))
    Path(result).write_text(json.dumps(answer))


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1:])
