"""A component: one network of a pipeline, the unit that is quantized, exported and lowered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from gen3dexport.models.flow_sampler import Schedule
    from gen3dexport.models.ranges import Ranges

T = TypeVar("T")


class Call(NamedTuple):
    """One call of the network in a sampler loop, which adds its share to the step's velocity.

    Attributes:
        time: what the network gets as `t`.
        share: factor of its answer.
        negative: whether it is under the negative condition.
        last: whether the step ends with it: x <- x - move * ((1 + previous) * velocity - previous * the one before).
        fresh: whether the difference of the branches begins anew with it: difference <- share 1 of its answer.
        again: factor of the difference in the step's velocity, where the step does not call the negative branch.
        previous: weight of the velocity before.
    """

    time: float
    share: float
    negative: bool
    move: float
    last: bool
    fresh: bool = False
    again: float = 0.0
    previous: float = 0.0


@dataclass(frozen=True)
class Euler:
    """A sampler loop around a component, for backends that can put the loop inside one program.

    Step i: v = c_i * f(x, timestep_i, cond) - (c_i - 1) * f(x, timestep_i, neg_cond); x <- x - dt_i * v. A step that
    reuses guidance or the velocity before is one of `gen3dexport.models.flow_sampler.Step`.

    Attributes:
        timesteps: what the network gets as `t` at each step (already times 1000).
        dts: t_i - t_{i+1} of each step; negated where v points from noise to data.
        guidance: c_i of each step: 1 + guidance scale inside the guidance interval, 1 outside (no second call).
        reuse: of each step, whether it takes the last difference of the branches; previous: weight of the velocity
            before it. Empty where no step does.
        state: name of the input that the loop carries; time: name of the timestep input; cond: name of the condition.
    """

    timesteps: tuple[float, ...]
    dts: tuple[float, ...]
    guidance: tuple[float, ...]
    state: str = "x"
    time: str = "t"
    cond: str = "cond"
    reuse: tuple[bool, ...] = ()
    previous: tuple[float, ...] = ()

    @classmethod
    def of(cls, schedule: Schedule, timesteps: tuple[float, ...], cond: str = "cond") -> Euler:
        """The loop of a sampler's schedule; `timesteps` are what the network gets as `t`."""
        plan = schedule.plan
        reuse, previous = tuple(s.reuse for s in plan), tuple(s.previous for s in plan)
        return cls(
            timesteps,
            schedule.moves,
            schedule.weights,
            cond=cond,
            reuse=reuse if any(reuse) else (),
            previous=previous if any(previous) else (),
        )

    @property
    def remembers(self) -> bool:
        """Whether a step needs more of the steps before than the state: a difference or a velocity."""
        return bool(self.reuse or self.previous)

    @property
    def calls(self) -> tuple[Call, ...]:
        """The loop as single calls: two in a guided step, one in any other.

        A program that loops over calls holds the network once, and no step pays for guidance that it does not use.
        """
        none = (0,) * len(self.timesteps)
        steps = zip(self.timesteps, self.dts, self.guidance, self.reuse or none, self.previous or none, strict=True)
        found = []
        for time, dt, weight, reuse, previous in steps:
            guided = not math.isclose(weight, 1.0, rel_tol=0, abs_tol=1e-12)
            if guided and not reuse:
                found.append(Call(time, weight, False, dt, False, fresh=True))
                found.append(Call(time, 1 - weight, True, dt, True, previous=previous))
            else:
                share, again = (1.0, weight - 1) if guided else (weight, 0.0)
                found.append(Call(time, share, False, dt, True, again=again, previous=previous))
        return tuple(found)

    def outer(self, inputs: Mapping[str, T]) -> dict[str, T]:
        """The loop's inputs: the component's without the time, and `neg_` + condition beside the condition."""
        return {k: v for k, v in inputs.items() if k != self.time} | {f"neg_{self.cond}": inputs[self.cond]}


@dataclass(frozen=True)
class Component:
    """One network with its real example inputs.

    Attributes:
        name: unique in the pipeline, e.g. `flow`; names the program's files.
        module: in eval mode, on the CPU. Its forward takes `inputs` in order and returns one tensor or a tuple.
        inputs: example inputs by name, in forward's order (batch 1): the golden inputs, from a run of the pipeline.
        outputs: names of the outputs, in order.
        stack: the attribute path of the module's repeated blocks (an nn.ModuleList) when it has `before(*inputs)`
            returning (x, *shared), blocks called as `block(x, *shared)`, and `after(x, *shared)`; blocks and `after`
            may take only the first of `shared`. None when it has none.
        loop: the sampler loop around this component, if any.
        ranges: of what its convolutions take and give, by layer, where a calibration observed them.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    stack: str | None = None
    loop: Euler | None = field(default=None, compare=False)
    ranges: Mapping[str, Ranges] = field(default_factory=dict, compare=False)

    def with_inputs(self, inputs: Mapping[str, Tensor]) -> Component:
        """The same component with other example inputs."""
        return replace(self, inputs=dict(inputs))

    def run(self, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs by name, without gradients."""
        with torch.no_grad():
            result = self.module(*(self.inputs if inputs is None else inputs).values())
        return dict(zip(self.outputs, result if isinstance(result, tuple) else (result,), strict=True))

    @property
    def blocks(self) -> nn.ModuleList | None:
        """The repeated stack, or None."""
        if self.stack is None:
            return None
        found = self.module.get_submodule(self.stack)
        assert isinstance(found, nn.ModuleList)
        return found

    @property
    def parameters(self) -> int:
        """Number of parameters as they are now (a folded `SubdividedConv3d` has 64/27 of the released ones); buffers
        (stored position embeddings) are not counted."""
        return sum(p.numel() for p in self.module.parameters())
