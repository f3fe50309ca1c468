"""Whether host steps fit a bundle's programs and files. No NumPy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.host_steps import CallProgram, FlowEuler, HostSteps, Operation, Tokenize


def problems(declared: HostSteps, programs: Sequence[ProgramRecord], files: Collection[str]) -> list[str]:
    """Names in the host steps that no program or file of the bundle has, each with its place."""
    components = {p.component: p for p in programs if p.role == "component"}
    samplers = {p.component: p for p in programs if p.role == "sampler"}
    return [
        f"host_steps.steps.{number}: {problem}"
        for number, step in enumerate(declared.steps)
        for problem in _problems(step, components, samplers, files)
    ]


def _problems(
    step: Operation,
    components: Mapping[str, ProgramRecord],
    samplers: Mapping[str, ProgramRecord],
    files: Collection[str],
) -> Iterator[str]:
    if isinstance(step, Tokenize) and step.file not in files:
        yield f"{step.file!r} is no key of files"
    if not isinstance(step, CallProgram | FlowEuler):
        return
    program = components.get(step.component)
    if program is None:
        yield f"no program of component {step.component!r}"
        return
    match step:
        case CallProgram():
            inputs, outputs = {*step.inputs}, {*step.outputs}
        case FlowEuler():
            inputs = {step.latent_input, step.time_input, *step.inputs, *step.conditional}
            outputs = {step.velocity_output}
    yield from _differences(program, inputs, outputs)
    sampler = samplers.get(step.component)
    if isinstance(step, FlowEuler) and step.sampler is not None and sampler is not None:
        yield from _differences(sampler, {*step.sampler.inputs}, {*step.sampler.outputs})


def _differences(program: ProgramRecord, inputs: set[str], outputs: set[str]) -> Iterator[str]:
    """How the names of a call differ from a program's. Outputs that nothing reads may be left out."""
    if inputs != {*program.inputs}:
        yield f"inputs {', '.join(sorted(inputs))}, and program {program.name} takes {', '.join(program.inputs)}"
    if not outputs <= {*program.outputs}:
        yield f"outputs {', '.join(sorted(outputs))}, and program {program.name} gives {', '.join(program.outputs)}"
