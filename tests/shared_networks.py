"""Networks that every backend is tried on: encoders, a flow in two halves, and rules inside a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tiny_encoders
import torch
from lowering import GOLDEN, relative_l2
from torch import Tensor, nn

from gen3dexport.backends import Program
from gen3dexport.bundle.program import Lowered, program_record, specs
from gen3dexport.export import Captured
from gen3dexport.models.component import Component, Euler
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.held_context import FlowContext, hold_context
from gen3dexport.networks.clip import ClipTokenEncoder
from gen3dexport.networks.dino import DinoTokenEncoder
from gen3dexport.quantization.rules import quantize_by_rules
from gen3dexport.runtime.pipeline import to_numpy
from gen3dexport.testing.backend_contract import tiny_component

ENCODERS = ("dinov2", "clip")
TOLERANCE: Mapping[str, float] = {"fp32": 2e-5, "int8-dynamic": 0.05, "bf16": 0.03}
"""Scheme -> largest relative L2 error of an encoder's program against the float32 network."""

RULES: Mapping[str, Mapping[str, str]] = {"all": {"blocks.*.up": "fp32"}, "one": {"blocks.1.up": "fp32"}}
"""Rules that leave every block alike, and rules that leave one block unlike the other."""


def encoder(kind: str, blocks: int = 3) -> Component:
    """A tiny encoder of images or prompts with seeded weights, of three blocks or fewer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image, ids = torch.randn(1, 3, 42, 42), torch.randint(0, len(tiny_encoders.WORDS), (1, 11))
        network: Any = (
            DinoTokenEncoder(tiny_encoders.dino()) if kind == "dinov2" else ClipTokenEncoder(tiny_encoders.clip())
        )
    network.blocks = network.blocks[:blocks]
    inputs = {"image": image} if kind == "dinov2" else {"ids": ids}
    return Component("encoder", network, inputs, ("features",), stack=network.stack)


def encoder_through(backend: ModuleType, kind: str, scheme: str, options: Any, folder: Path) -> Lowered:
    """An encoder's program from disk agrees with the float32 network, and a quantized one is not the same."""
    made = encoder(kind)
    expected = made.run()["features"].numpy()
    lowered, program = lower_to(backend, backend.quantize(made, scheme, options), options, folder)
    check_encoder(scheme, _call(program, made.inputs)["features"], expected)
    return lowered


def check_encoder(scheme: str, found: np.ndarray, expected: np.ndarray) -> None:
    """An encoder's features are those of the float32 network, and a quantized one's are not the same."""
    assert (0 if scheme == "fp32" else 1e-6) <= relative_l2(found, expected) < TOLERANCE[scheme]


def halves(blocks: int) -> tuple[Component, Component, np.ndarray]:
    """A flow whose keys and values of the context are a program of their own, cut to so many blocks; the golden flow's
    velocity."""
    golden = read_golden(GOLDEN / "ss_flow_text").component
    golden.module.blocks = golden.module.blocks[:blocks]
    x, t, cond = (value[:1] for value in golden.inputs.values())
    expected = golden.run({"x": x, "t": t, "cond": cond})["v"].numpy()
    context = Component("flow_context", FlowContext(golden.module), {"cond": cond}, ("context",))
    inputs = {"x": x, "t": t, "context": context.run()["context"]}
    loop = Euler((1000.0, 500.0), (0.5, 0.5), (3.0, 1.0), cond="context")
    return context, Component("flow", hold_context(golden.module), inputs, ("v",), loop=loop), expected


def check_flow(scheme: str, found: np.ndarray, expected: np.ndarray) -> None:
    """The halves' velocity is the golden flow's, and a quantized one's is not the same."""
    error = relative_l2(found, expected)
    assert error < 1e-5 if scheme == "fp32" else 1e-6 < error < 0.03


def halves_through(backend: ModuleType, scheme: str, options: Any, folder: Path, blocks: int = 2) -> list[str]:
    """Both halves of a flow from disk, one after the other, are the golden flow; the names of the flow's programs."""
    context, flow, expected = halves(blocks)
    arrays: dict[str, Any] = {**context.inputs, **flow.inputs}
    for part in (context, flow):
        part = part if scheme == "fp32" else backend.quantize(part, scheme, options)
        lowered, program = lower_to(backend, part, options, folder)
        arrays |= {k: torch.from_numpy(v) for k, v in _call(program, {n: arrays[n] for n in part.inputs}).items()}
    check_flow(scheme, arrays["v"], expected)
    return ["flow", *lowered.extra]


class _SideBySide(nn.Module):
    """Networks that have nothing to do with each other in one module: the inputs of all, the outputs of all."""

    def __init__(self, parts: Mapping[str, Component]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: part.module for name, part in parts.items()})
        self.takes = {name: len(part.inputs) for name, part in parts.items()}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        for name, network in self.parts.items():
            made = network(*inputs[: self.takes[name]])
            inputs = inputs[self.takes[name] :]
            found += made if isinstance(made, tuple) else (made,)
        return tuple(found)


def side_by_side(parts: Mapping[str, Component], loop: Euler | None = None) -> Component:
    """One component of several, whose inputs and outputs are PART_NAME: for a compiler whose program costs as much
    whatever is in it."""
    inputs = {f"{name}_{key}": value for name, part in parts.items() for key, value in part.inputs.items()}
    outputs = tuple(f"{name}_{key}" for name, part in parts.items() for key in part.outputs)
    return Component("networks", _SideBySide(parts).eval(), inputs, outputs, loop=loop)


def all_through(backend: ModuleType, scheme: str, options: Any, folder: Path) -> Lowered:
    """Every encoder and both halves of a flow, of one block each, in one program: what `encoder_through` and
    `halves_through` check of a program each."""
    parts = {kind: encoder(kind, blocks=1) for kind in ENCODERS}
    expected = {kind: part.run()["features"].numpy() for kind, part in parts.items()}
    parts["context"], parts["flow"], velocity = halves(blocks=1)
    if scheme != "fp32":
        parts = {name: backend.quantize(part, scheme, options) for name, part in parts.items()}
    loop = replace(parts["flow"].loop, state="flow_x", time="flow_t", cond="flow_context")
    made = side_by_side(parts, loop)
    lowered, program = lower_to(backend, made, options, folder)
    first = _call(program, made.inputs)
    for kind in ENCODERS:
        check_encoder(scheme, first[f"{kind}_features"], expected[kind])
    held = {"flow_context": torch.from_numpy(first["context_context"])}
    check_flow(scheme, _call(program, {**made.inputs, **held})["flow_v"], velocity)
    return lowered


def rules_through(backend: ModuleType, rules: Mapping[str, str], options: Any, folder: Path) -> None:
    """A network of two blocks in int8 but for what rules take out of it: its program is its eager model."""
    made = tiny_component()
    mixed = quantize_by_rules(backend, made, "int8-dynamic", rules, options)
    expected = mixed.run()["y"].float().numpy()
    _, program = lower_to(backend, mixed, options, folder)
    assert relative_l2(_call(program, made.inputs)["y"], expected) < 0.01


def lower_to(backend: ModuleType, component: Component, options: Any, folder: Path) -> tuple[Lowered, Program]:
    """What a backend writes of a component, and its program from disk."""
    lowered = backend.lower(Captured(component), options, folder)
    record = program_record(component.name, lowered, specs(component.inputs), specs(component.run()))
    return lowered, backend.load(folder, record)


def _call(program: Program, inputs: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return to_numpy(program({name: program.xp.asarray(value.numpy()) for name, value in inputs.items()}))
