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
    fresh: Tensor
    again: Tensor
    previous: Tensor

    def __init__(self, component: Component, loop: Euler) -> None:
        super().__init__()
        self.network, self.loop = component.module, loop
        self.order, self.outer = tuple(component.inputs), tuple(loop.outer(component.inputs))
        more = ("fresh", "again", "previous") if loop.remembers else ()
        for name in ("share", "time", "negative", "move", "last", *more):
            self.register_buffer(name, torch.tensor([getattr(call, name) for call in loop.calls]))

    def forward(self, *inputs: Tensor) -> Tensor:
        loop, given = self.loop, dict(zip(self.outer, inputs, strict=True))
        conditions = torch.stack([given[loop.cond], given.pop(f"neg_{loop.cond}")])
        noise = given[loop.state]

        def answer(now: Tensor, x: Tensor) -> Tensor:
            condition = conditions.index_select(0, self.negative.long().index_select(0, now)).squeeze(0)
            fed = {**given, loop.state: x, loop.time: self.time.index_select(0, now), loop.cond: condition}
            return self.network(*(fed[name] for name in self.order))  # type: ignore[no-any-return]

        def unfinished(index: Tensor, *carried: Tensor) -> Tensor:
            return index < len(self.share)

        def call(index: Tensor, x: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            now = index.reshape(1)
            share, move, last = (t.index_select(0, now) for t in (self.share, self.move, self.last))
            velocity = velocity + share * answer(now, x)
            moved = torch.where(last, x - move * velocity, x)
            return index + 1, moved, torch.where(last, torch.zeros_like(velocity), velocity)

        def remembering(
            index: Tensor, x: Tensor, velocity: Tensor, difference: Tensor, before: Tensor
        ) -> tuple[Tensor, ...]:
            now = index.reshape(1)
            tables = (self.share, self.move, self.last, self.negative, self.fresh, self.again, self.previous)
            share, move, last, negative, fresh, again, previous = (t.index_select(0, now) for t in tables)
            made = answer(now, x)
            velocity = velocity + share * made
            difference = torch.where(fresh, made, torch.where(negative, difference - made, difference))
            whole = velocity + again * difference
            moved = torch.where(last, x - move * ((1 + previous) * whole - previous * before), x)
            rest = torch.where(last, torch.zeros_like(velocity), velocity)
            return index + 1, moved, rest, difference, torch.where(last, whole, before)

        blank = torch.zeros_like(noise)
        start: tuple[Tensor, ...] = (torch.zeros((), dtype=torch.int64), noise, blank)
        if loop.remembers:
            more = (torch.zeros_like(noise), torch.zeros_like(noise))
            return while_loop(unfinished, remembering, (*start, *more))[1]  # type: ignore[no-any-return, no-untyped-call]
        return while_loop(unfinished, call, start)[1]  # type: ignore[no-any-return, no-untyped-call]
