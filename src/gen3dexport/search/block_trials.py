"""Which blocks of a module a target takes, by trying: export, lower, load from disk, run, compare."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from gen3dexport import backends
from gen3dexport.arrays import on_host
from gen3dexport.documents.record import Record
from gen3dexport.documents.target import Target
from gen3dexport.errors import MissingError
from gen3dexport.models.component import Component
from gen3dexport.models.custom.networks.user_code import line_of
from gen3dexport.search.block_calls import Called, calls, component, line_of_node, operator_name, operators
from gen3dexport.search.rewrites import advice
from gen3dexport.tensor_error import tensor_error
from gen3dexport.validation.one_component import lowered

Stage = Literal["", "export", "lower", "load", "run", "numbers", "crash"]
MOST = 40
"""Blocks and operators that are tried of one part on one target."""
_LARGEST_ERROR = 1e-2
_MESSAGE = 400
_NAMED = re.compile(r"\b(?:torch\.ops\.)?(aten|prims|torchvision|quantized_decomposed)(?:::|\.)(\w+)(?:\.(\w+))?")


class Trial(Record):
    """What came of one block, or one operator, on a target.

    Attributes:
        block: name in the user's module; the part's name for all of it. type: class of the block, or the operator.
        works: whether it was lowered, loaded and gave eager's numbers; ran: whether it was run at all here.
        stage: where it failed; operator, line: what failed and where the user's code calls it, where that is known.
        message: the first lines of the error; rewrite: what to write instead.
        alike: another block of the same layers and shapes that was tried in its place.
    """

    block: str
    type: str
    works: bool
    ran: bool = False
    stage: Stage = ""
    operator: str = ""
    line: str = ""
    message: str = ""
    rewrite: str = ""
    alike: str = ""


def trials(part: Component, target: Target, begun: Callable[[str, str], None], skip: frozenset[str]) -> Iterator[Trial]:
    """The whole part first; where that fails the blocks inside, down to the smallest that fail, and their operators.

    Args:
        begun: called with the name and type of what is tried next.
        skip: blocks that ended the process that tried them: they count as failed, and are looked into.
    """
    left = [MOST]
    whole = Called(part.module, tuple(part.inputs.values()), {})
    yield from _inside(part.name, part.name, whole, part.module, part, target, begun, skip, left, {})


def _inside(
    name: str,
    path: str,
    called: Called,
    module: nn.Module,
    part: Component,
    target: Target,
    begun: Callable[[str, str], None],
    skip: frozenset[str],
    left: list[int],
    known: dict[Any, Trial],
) -> Iterator[Trial]:
    kind = type(module).__name__
    left[0] -= 1
    made = part if path == part.name else None
    exported: ExportedProgram | None = None
    if path in skip:
        trial = Trial(block=path, type=kind, works=False, stage="crash", message="the process that tried it ended")
    else:
        begun(path, kind)
        made = made or component("block", called)
        trial, exported = attempt(path, kind, made, target)
    if trial.works:
        yield trial
        return
    made = made or component("block", called)
    below: list[Trial] = []
    blocks = calls(called, made.inputs) if left[0] > 0 else {}
    own = {n.removeprefix("call."): c for n, c in blocks.items() if n != "call"}
    for inner, inner_call in own.items():
        if any(inner.startswith(f"{other}.") for other in own if other != inner):
            continue  # it is looked into where the block around it fails
        block = module.get_submodule(inner)
        form = _form(block, inner_call)
        where = f"{path}.{inner}"
        if form in known:
            found = known[form]
            alike = Trial(**{**found.model_dump(), "block": where, "alike": found.block})
            below.append(alike)
            yield alike
            continue
        if left[0] <= 0:
            break
        for one in _inside(inner, where, inner_call, block, part, target, begun, skip, left, known):
            known.setdefault(form, one) if one.block == where else None
            below.append(one)
            yield one
    if not any(not one.works for one in below) and exported is not None:
        begun(f"{path} (operators)", kind)
        for one in _failing_operators(path, exported, made, target, trial, left):
            yield one
            if not trial.line:  # the block's own error named no operator of its graph
                known_now = {"operator": one.operator, "line": one.line, "rewrite": one.rewrite or trial.rewrite}
                trial = trial.model_copy(update=known_now)
    yield trial


def _form(block: nn.Module, called: Called) -> tuple[Any, ...]:
    """What blocks alike have in common: the class, and every shape."""
    weights = tuple((n, tuple(v.shape)) for n, v in block.state_dict().items() if isinstance(v, torch.Tensor))
    return type(block), str(block), weights, tuple(tuple(v.shape) for v in called.examples), repr(called.leaves)


def _failing_operators(
    path: str, exported: ExportedProgram, made: Component, target: Target, whole: Trial, left: list[int]
) -> Iterator[Trial]:
    """The operators of a block's graph that fail alone: those that the error names before the others."""
    found = list(operators(exported, made.inputs))
    named = whole.operator.rpartition(".")[0] or whole.operator
    for one in sorted(found, key=lambda o: not (named and o.name.startswith(named))):
        left[0] -= 1
        if left[0] < -MOST:
            return
        trial, _ = attempt(path, one.name, component("operator", one.called), target)
        if not trial.works:
            yield Trial(
                **{**trial.model_dump(), "operator": one.name, "line": one.line or trial.line}
                | {"rewrite": advice(one.name, trial.message, target.backend)}
            )


def attempt(path: str, kind: str, made: Component, target: Target) -> tuple[Trial, ExportedProgram | None]:
    """One component through every stage, and its graph where it has one."""
    with tempfile.TemporaryDirectory() as folder:
        return _attempt(path, kind, made, target, Path(folder))


def _attempt(
    path: str, kind: str, made: Component, target: Target, folder: Path
) -> tuple[Trial, ExportedProgram | None]:
    exported = None
    stage: Stage = "export"
    try:
        with torch.no_grad():
            exported = torch.export.export(made.module.eval(), tuple(made.inputs.values()), strict=False)
        if strange := _complex(made):
            raise TypeError(f"{strange} is complex, which no program takes or gives")
        stage = "lower"
        record = lowered(made, target, "fp32", folder)
        stage = "load"
        try:
            program = backends.find(target.backend).load(folder, record)
        except MissingError:
            return Trial(block=path, type=kind, works=True), exported  # its device is not here
        stage = "run"
        given = {name: program.xp.asarray(value.numpy()) for name, value in made.inputs.items()}
        answers = {name: on_host(value) for name, value in program(given).items()}
        stage = "numbers"
        _compare(made, answers)
    except Exception as error:  # every vendor's own types; the message is kept
        text = _whole_text(error).replace(f"{folder}/", "")
        return _failed(path, kind, stage, error, text, exported, target), exported
    return Trial(block=path, type=kind, works=True, ran=True), exported


def _complex(made: Component) -> str:
    """The first input or output that is complex; "" for none."""
    return next((name for name, value in {**made.inputs, **made.run()}.items() if value.is_complex()), "")


def _compare(made: Component, answers: dict[str, Any]) -> None:
    for name, value in made.run().items():
        own, found = value.float().numpy(), np.asarray(answers[name], np.float32)
        if own.shape != found.shape:
            raise ValueError(f"{name} has shape {list(found.shape)}, in eager mode {list(own.shape)}")
        if not np.isfinite(own).all():
            continue  # there is nothing to compare with
        error = tensor_error(found, own).relative_l2
        if not error <= _LARGEST_ERROR:
            raise ValueError(f"{name} differs from eager mode by {error:.2g} of its size")


def _failed(
    path: str, kind: str, stage: Stage, error: Exception, text: str, exported: ExportedProgram | None, target: Target
) -> Trial:
    operator, line = "", line_of(error) if stage == "export" else ""
    if match := _NAMED.search(text):
        operator = ".".join(part for part in match.groups() if part)
        nodes = [] if exported is None else exported.graph.nodes
        name = f"{match[1]}.{match[2]}"
        node = next((n for n in nodes if n.op == "call_function" and operator_name(n).startswith(name)), None)
        line = line or ("" if node is None else line_of_node(node))
    return Trial(
        block=path,
        type=kind,
        works=False,
        ran=stage in ("run", "numbers"),
        stage=stage,
        operator=operator,
        line=line,
        message=_short(text),
        rewrite=advice(operator, text, target.backend),
    )


def _whole_text(error: BaseException) -> str:
    """The messages of an error and of what caused it."""
    lines: list[str] = []
    one: BaseException | None = error
    while one is not None and len(lines) < 5:
        lines.append(f"{type(one).__name__}: {one}")
        one = one.__cause__
    return "\n".join(lines)


def _short(text: str) -> str:
    words = " ".join(line.strip() for line in text.splitlines()[:4] if line.strip())
    return words if len(words) <= _MESSAGE else f"{words[:_MESSAGE]}..."
