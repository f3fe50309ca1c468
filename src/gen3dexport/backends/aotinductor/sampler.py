"""The whole sampler as one program: noise and conditions in, latent out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from gen3dexport.models.component import Component, Euler


def sampler(component: Component, loop: Euler) -> Component:
    """`component`'s loop as a component, NAME_sampler; its network is in the program once."""
    outer = {name: value.clone() for name, value in loop.outer(component.inputs).items()}  # one tensor is one input
    return Component(f"{component.name}_sampler", _Sampler(component, loop).eval(), outer, (loop.state,))


class _Sampler(nn.Module):
    """The state at t = 0 from the state at t = 1, as a loop over calls of the network (`Euler.calls`)."""

    share: Tensor
    time: Tensor
    negative: Tensor
    move: Tensor
    last: Tensor

    def __init__(self, component: Component, loop: Euler) -> None:
        super().__init__()
        self.network, self.loop = component.module, loop
        self.order, self.outer = tuple(component.inputs), tuple(loop.outer(component.inputs))
        for name in ("share", "time", "negative", "move", "last"):
            self.register_buffer(name, torch.tensor([getattr(call, name) for call in loop.calls]))

    def forward(self, *inputs: Tensor) -> Tensor:
        loop, given = self.loop, dict(zip(self.outer, inputs, strict=True))
        conditions = torch.stack([given[loop.cond], given.pop(f"neg_{loop.cond}")])
        noise = given[loop.state]

        def unfinished(index: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
            return index < len(self.share)

        def call(index: Tensor, x: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            now = index.reshape(1)
            share, time, move, last = (t.index_select(0, now) for t in (self.share, self.time, self.move, self.last))
            condition = conditions.index_select(0, self.negative.long().index_select(0, now)).squeeze(0)
            fed = {**given, loop.state: x, loop.time: time, loop.cond: condition}
            velocity = velocity + share * self.network(*(fed[name] for name in self.order))
            moved = torch.where(last, x - move * velocity, x)
            return index + 1, moved, torch.where(last, torch.zeros_like(velocity), velocity)

        start = (torch.zeros((), dtype=torch.int64), noise, torch.zeros_like(noise))
        return while_loop(unfinished, call, start)[1]  # type: ignore[no-any-return, no-untyped-call]
