"""What a family says of its components before any network is loaded. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from gen3dexport.models.component import Component
    from gen3dexport.models.flow_sampler import Schedule

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Weights = Literal["stored", "random", "shapes"]
"""Which weights a network gets: those of the checkpoint, seeded random ones, or none (tensors on the meta device)."""


@dataclass(frozen=True)
class Reading:
    """How stored weights are read.

    Attributes:
        allow_pickle: whether from a pickle (tensors only) where there is no safetensors file.
        strip_prefix: taken off the names of tensors in a file where all begin with it.
    """

    allow_pickle: bool = False
    strip_prefix: str = ""


AS_STORED = Reading()
"""Safetensors alone, names as they are."""


class Load(Protocol):
    """Load a component from its checkpoint in `folder`; imports torch when it is called.

    With `weights="shapes"` the component has example inputs on the meta device; else it has none.

    Raises:
        UsageError: when files are missing, damaged or do not fit.
    """

    def __call__(self, folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Component: ...


@dataclass(frozen=True)
class SamplerLoop:
    """A component's sampler loop, for backends that make one program of it.

    Attributes:
        inputs: (state before the component, array namespace) -> inputs of the loop's program by name.
        output: state after the component -> the latent that the loop ends with.
    """

    inputs: Callable[[State, Any], Mapping[str, Array]]
    output: Callable[[State], Array]


@dataclass(frozen=True)
class SamplerKnobs:
    """The sampler that calls a component, and the knobs that a search of fewer calls may set.

    Which of a schedule's fields can be set is for the type of the knobs to say: those that stand there under the
    field's name, or the one in `names`.

    Attributes:
        path: where its knobs stand below `knobs`, e.g. `sampler`; "" where they are the family's own.
        steps: as the knob counts them; calls: of the component for one asset.
        schedule: a flow's steps; None for a walk over noise levels, of which the number of steps alone is searched.
        names: field of `Schedule` -> its knob, where that has another name.
        unguided: knobs that turn guidance off; none where guidance takes no calls.
    """

    path: str
    steps: int
    calls: int
    schedule: Schedule | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    unguided: Mapping[str, Any] = field(default_factory=dict)


def _no_rows(state: State) -> int | None:
    return None


def _no_files(folder: Path) -> Mapping[str, Path]:
    return {}


@dataclass(frozen=True)
class Declaration:
    """One component of a pipeline: what it takes and gives, and how it is run and loaded.

    Attributes:
        name: unique in the pipeline, e.g. `flow`; names the program's files.
        checkpoint: where its weights lie: a path relative to the weights folder, without ending, or a package's name.
        inputs: names of its inputs, in the order of its network's forward; outputs: of what that returns.
        advance: (state, program, array namespace) -> the state after the component's part of the pipeline.
        load: the network as a component.
        rows: state after the component -> real rows of its outputs [B, T, ...]; None where nothing is padded.
        loop: its sampler loop, if it has one; sampler: the knobs of what calls it, where that is a sampler.
        batched: the knob that makes one call take both branches of guidance, where the settings do so.
        cacheable: whether its outputs depend on the request's prompt or image alone.
        host_files: weights folder -> files that it reads at run time, by their name in the bundle.
    """

    name: str
    checkpoint: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    advance: Callable[[State, Call, Any], State]
    load: Load
    rows: Callable[[State], int | None] = _no_rows
    loop: SamplerLoop | None = None
    sampler: SamplerKnobs | None = None
    batched: str | None = None
    cacheable: bool = False
    host_files: Callable[[Path], Mapping[str, Path]] = _no_files


def pass_on(inputs: tuple[str, ...], outputs: tuple[str, ...], state: State, program: Call, xp: Any) -> State:
    """One call of a component whose inputs and outputs the state has by their names."""
    made = program({name: state[name] for name in inputs})
    return state | {name: made[name] for name in outputs}
