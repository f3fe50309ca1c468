"""What a program was called with, against what its record says; runtimes' own messages name no input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import UsageError


def in_order(program: ProgramRecord, inputs: Mapping[str, Any]) -> list[Any]:
    """The arrays of `inputs` in the program's order; shapes and dtypes are those of its record.

    Raises:
        UsageError: naming every missing, unknown or misshapen input.
    """
    problems = [f"{name} is missing" for name in program.inputs if name not in inputs]
    problems += [f"{name} is not an input" for name in inputs if name not in program.inputs]
    for name, spec in program.inputs.items():
        if name in inputs:
            array = inputs[name]
            found = tuple(array.shape), str(array.dtype).removeprefix("torch.")
            if found != (spec.shape, spec.dtype):
                needs = f"{spec.dtype} {list(spec.shape)}"
                problems.append(f"{name} is {found[1]} {list(found[0])}, the program takes {needs}")
    if problems:
        raise UsageError(f"program {program.name}: {'; '.join(problems)}")
    return [inputs[name] for name in program.inputs]
