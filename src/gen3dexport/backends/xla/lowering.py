"""From a captured component to programs on disk: the component, its twin with kernels, its sampler; weights beside.

Imports torch and JAX.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.metadata
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import torch
from jax import ShapeDtypeStruct

from gen3dexport.backends.xla.capture import Lowerings
from gen3dexport.backends.xla.chips import CHIPS, Chip, Requires
from gen3dexport.backends.xla.compile_tpu import Compiled, Unknown, compile_tpu, tpu_devices
from gen3dexport.backends.xla.fuse import Kernels
from gen3dexport.backends.xla.network import Network, network
from gen3dexport.backends.xla.operators import lowerings
from gen3dexport.backends.xla.roofline import Cost, roofline
from gen3dexport.backends.xla.sampler import sample
from gen3dexport.backends.xla.weights import dtype_of, write_weights
from gen3dexport.bundle.program import Estimate, Lowered, TensorSpec
from gen3dexport.errors import ExportError, GenExportError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component, Euler

if TYPE_CHECKING:
    from gen3dexport.backends.xla.options import Options

_BOTH = ("tpu", "cpu")
Specs = dict[str, ShapeDtypeStruct]
Function = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Draft:
    """A program before it is written: a function of (weights by key, inputs by name) -> outputs by name."""

    name: str
    function: Function
    inputs: Specs
    platforms: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """A program on disk and what was counted in it."""

    draft: Draft
    path: Path
    cost: Cost
    requires: Requires
    facts: dict[str, Any]
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


def lower(captured: Captured, options: Options, out: Path) -> Lowered:
    """Write the component's programs and weights into `out`; see the contract in `backends`.

    Raises:
        ExportError: when an operator is refused, tracing fails, or a program does not fit the chip.
    """
    component, chip = captured.component, CHIPS[options.chip]
    made = network(captured)
    weights = out / f"{component.name}.safetensors"
    size = write_weights(made.sources, weights)
    with jax.default_matmul_precision(options.matmul_precision), _no_locations():
        drafts = _drafts(component, made, options)
        written = [_write(draft, made, chip, out) for draft in drafts]
    answers = _compile(written, chip, options)
    lowered = {w.draft.name: _lowered(w, answers.get(w.draft.name), chip, weights.name, size, options) for w in written}
    main = lowered.pop(component.name)
    return replace(main, extra=lowered)


@contextlib.contextmanager
def _no_locations() -> Iterator[None]:
    """Keep this machine's paths and call stacks out of the programs: same inputs, same bytes."""
    key = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, key)
    jax.config.update(key, 0)
    try:
        yield
    finally:
        jax.config.update(key, before)


def input_specs(component: Component) -> Specs:
    """Shapes and dtypes of the component's inputs as JAX takes them: 64-bit integers become 32-bit."""
    return {k: ShapeDtypeStruct(tuple(v.shape), jnp.dtype(dtype_of(v))) for k, v in component.inputs.items()}


def _drafts(component: Component, made: Network, options: Options) -> list[Draft]:
    """The component, its sampler if it has a loop, and both again with Pallas kernels if these find work in it."""
    inputs = input_specs(component)
    function = _calling(component, made, Lowerings(lowerings()))
    kernels = Kernels(options.attention_min_keys)
    fast = _calling(component, made, Lowerings(lowerings(), kernels))
    if options.pallas:
        jax.eval_shape(fast, made.state, inputs)  # tracing fills kernels.used
    used = {name: [*calls] for name, calls in kernels.used.items()}
    drafts = [Draft(component.name, function, inputs, _BOTH, {})]
    if used:
        twin = {"kernels": used, "twin_of": component.name}
        drafts.append(Draft(f"{component.name}_pallas", fast, inputs, ("tpu",), twin))
    if (loop := component.loop) is None:
        return drafts
    name, outer = f"{component.name}_sampler", loop.outer(inputs)
    run = {"network_calls": len(loop.calls), "steps": len(loop.timesteps)}
    slow = _sampling(function, loop, component.outputs[0], inputs[loop.time])
    drafts.append(Draft(name, slow, outer, _BOTH, run))
    if used:
        sampling = _sampling(fast, loop, component.outputs[0], inputs[loop.time])
        facts: dict[str, Any] = {"kernels": used, "twin_of": name, **run}
        drafts.append(Draft(f"{component.name}_pallas_sampler", sampling, outer, ("tpu",), facts))
    return drafts


def _calling(component: Component, made: Network, chosen: Lowerings) -> Function:
    order, outputs = tuple(component.inputs), component.outputs

    def component_program(state: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        values = made.call(state, [inputs[name] for name in order], chosen)
        return dict(zip(outputs, values, strict=True))

    return component_program


def _sampling(function: Function, loop: Euler, output: str, time: ShapeDtypeStruct) -> Function:
    def sampler_program(state: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {loop.state: sample(lambda fed: function(state, fed)[output], inputs, loop, time)}

    return sampler_program


def _write(draft: Draft, made: Network, chip: Chip, out: Path) -> Written:
    jitted = jax.jit(draft.function)
    try:
        traced = jitted.trace(made.state, draft.inputs)
        exported = jax.export.export(jitted, platforms=list(draft.platforms))(made.state, draft.inputs)
        blob = exported.serialize()
    except GenExportError:
        raise
    except Exception as error:  # JAX and torchax raise many types; the cause is kept
        raise ExportError(f"{draft.name}: JAX could not trace or export it: {error}") from error
    path = out / f"{draft.name}.jaxexp"
    path.write_bytes(blob)
    cost = roofline(traced.jaxpr, chip)
    facts = {
        **draft.facts,
        "blocks_scanned": made.blocks,
        "program_bytes": len(blob),
        "calling_convention_version": exported.calling_convention_version,
        "stablehlo": _stablehlo(exported.mlir_module()),
        "flops": cost.flops,
        "hbm_traffic_bytes": cost.bytes,
    }
    outputs = _specs(traced.out_info)
    requires = Requires(chip=chip.name, platforms=exported.platforms)
    return Written(draft, path, cost, requires, facts, _specs(draft.inputs), outputs)


def _specs(arrays: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(shape=tuple(a.shape), dtype=str(a.dtype)) for name, a in arrays.items()}


def _stablehlo(text: str) -> dict[str, Any]:
    counts = collections.Counter(re.findall(r"\bstablehlo\.([a-z_0-9]+)", text))
    return {
        "operators": dict(sorted(counts.items())),
        "custom_calls": sorted(set(re.findall(r"stablehlo\.custom_call @([\w.]+)", text))),
    }


def _compile(written: list[Written], chip: Chip, options: Options) -> dict[str, Compiled | Unknown]:
    if not options.compile:
        return {}
    with ThreadPoolExecutor(max_workers=2) as pool:  # two children: each holds its program's memory
        jobs = {
            w.draft.name: pool.submit(compile_tpu, w.path, w.draft.name, chip, options.compile_timeout_s)
            for w in written
        }
        return {key: job.result() for key, job in jobs.items()}


def _lowered(
    written: Written, answer: Compiled | Unknown | None, chip: Chip, weights: str, size: int, options: Options
) -> Lowered:
    facts = {
        **written.facts,
        "weights_bytes": size,
        "matmul_precision": options.matmul_precision,
        "versions": _versions(),
        "hbm_bytes": chip.hbm,
    }
    latency = [Estimate(written.cost.seconds * 1e3, f"roofline {chip.name}")]
    estimates: dict[str, tuple[Estimate, ...]] = {}
    match answer:
        case Compiled():
            effort = "" if answer.effort == 0 else ", compiled with least effort"
            latency.append(Estimate(answer.seconds * 1e3, f"libtpu cost analysis {chip.name}{effort}"))
            estimates["memory_bytes"] = (Estimate(answer.total, f"libtpu memory analysis {chip.name}{effort}"),)
            facts["memory"] = {**answer.memory, "total": answer.total}
            facts["compiled_custom_calls"] = list(answer.custom_calls)
            facts["compiler_cycles"] = answer.cycles
            facts["compile"] = {"effort": answer.effort, **answer.build}
        case Unknown():
            facts["compile"] = {"unavailable": answer.reason}
        case None:
            facts["compile"] = {"unavailable": "switched off (options.compile: false)"}
    estimates["latency_ms"] = tuple(latency)
    return Lowered(
        files=(written.path.name, weights),
        requires=written.requires,
        facts=facts,
        estimates=estimates,
        unmeasured=_unmeasured(chip),
        inputs=written.inputs,
        outputs=written.outputs,
    )


def _unmeasured(chip: Chip) -> str | None:
    if tpu_devices() and jax.default_backend() == "tpu" and jax.devices()[0].device_kind == chip.kind:
        return None
    return f"no TPU {chip.name} on this machine"


def _versions() -> dict[str, str]:
    names = ("jax", "jaxlib", "libtpu", "torchax", "torch")
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    found["torch"] = str(torch.__version__)
    return found
