"""Smoothing: factors between a norm and the linear layers that read it, so that both round well to integers.

What a norm gives is divided by s_c in channel c, and the weights that read the channel are multiplied by it: in float32
nothing changes. With s_c = max|x_c|^a / max|w_c|^(1 - a) single large channels no longer take the steps of a token's
int8 scale away from all others. Source: Xiao et al. 2023, "SmoothQuant".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gen3dexport.models.component import Component
from gen3dexport.quantization.rules import per_token

NORMS = (nn.LayerNorm, nn.RMSNorm)
_TINY = 1e-5  # keeps channels that are never used from factors without an end


class _Readers(TorchFunctionMode):
    """While a network runs: who reads what its norms give.

    Attributes:
        given: what norms gave, with the norm's name, by identity.
        found: norm -> linear layers that read it. busy: the linear layer that is at work, with its input.
        others: norms that something else reads, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[int, tuple[Tensor, str]] = {}
        self.found: dict[str, set[str]] = {}
        self.busy: tuple[str, Tensor] | None = None
        self.others: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if any(True for _ in _tensors(made)):  # else it asked for a shape or the like
            for tensor in _tensors((args, tuple((kwargs or {}).values()))):
                if id(tensor) in self.given:
                    self._read(tensor, func)
        return made

    def _read(self, tensor: Tensor, func: Any) -> None:
        norm = self.given[id(tensor)][1]
        if self.busy is not None and self.busy[1] is tensor and func is nn.functional.linear:
            self.found.setdefault(norm, set()).add(self.busy[0])
        else:
            self.others.add(norm)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)


def pairs(component: Component, layers: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Norm -> linear layers, for the norms with a weight that nothing but these layers reads, and they read no other.

    Args:
        layers: those that may take part; every linear layer when None.
    """
    module, readers = component.module, _Readers()
    norms = {n: m for n, m in module.named_modules() if isinstance(m, NORMS) and m.weight is not None}
    linears = {n: m for n, m in module.named_modules() if type(m) is nn.Linear}

    def gave(name: str, output: Tensor) -> None:
        readers.given[id(output)] = (output, name)

    def starts(name: str, taken: tuple[Any, ...]) -> None:
        readers.busy = (name, taken[0]) if taken else None  # one that is called with names is taken for no reader

    def ends() -> None:
        readers.busy = None

    hooks = [m.register_forward_hook(lambda _, taken, given, n=n: gave(n, given)) for n, m in norms.items()]
    hooks += [m.register_forward_pre_hook(lambda _, taken, n=n: starts(n, taken)) for n, m in linears.items()]
    hooks += [m.register_forward_hook(lambda _, taken, given: ends()) for m in linears.values()]
    try:
        with readers:
            outputs = component.run()
    finally:
        for hook in hooks:
            hook.remove()
    readers.others |= {readers.given[id(o)][1] for o in outputs.values() if id(o) in readers.given}
    taken = linears if layers is None else set(layers) & {*linears}
    many = {n for n in linears if sum(n in found for found in readers.found.values()) > 1}
    return {
        norm: tuple(sorted(found))
        for norm, found in readers.found.items()
        if norm not in readers.others and found <= {*taken} - many
    }


@contextmanager
def _largest(component: Component, layers: Collection[str]) -> Iterator[dict[str, Tensor]]:
    """While the component is called: the largest magnitude in every channel of what layers take, [C] by layer."""
    found: dict[str, Tensor] = {}

    def see(name: str, x: Tensor) -> None:
        now = x.detach().abs().flatten(0, -2).amax(0).float()
        found[name] = torch.maximum(found[name], now) if name in found else now

    hooks = [
        component.module.get_submodule(name).register_forward_pre_hook(lambda _, taken, name=name: see(name, taken[0]))
        for name in layers
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def smoothed(
    component: Component,
    scheme: str,
    rules: Mapping[str, str],
    strength: float | None,
    calls: Sequence[Mapping[str, Tensor]] = (),
) -> Component:
    """`component` made ready for a scheme with its exceptions: smoothed as a recipe says, in place.

    With no strength, or where no layer rounds what it reads, it stays as it is.
    """
    layers = per_token(component, scheme, rules) if strength is not None else set()
    return smooth(component, strength, layers, calls) if strength is not None and layers else component


def smooth(
    component: Component,
    strength: float,
    layers: Collection[str] | None = None,
    calls: Sequence[Mapping[str, Tensor]] = (),
) -> Component:
    """`component` with its norms and the layers after them rescaled, in place; what has no `pairs` stays as it is.

    Args:
        strength: a in the formula above: 0 leaves weights flat and inputs as they are, 1 the other way round.
        layers: see `pairs`.
        calls: inputs by name, whose largest values count; those of the component when there are none.
    """
    found = pairs(component, layers)
    with _largest(component, [readers[0] for readers in found.values()]) as largest:
        for inputs in calls or (component.inputs,):
            component.run(inputs)
    for norm, readers in found.items():
        linears = [component.module.get_submodule(name) for name in readers]
        weights = [linear.get_parameter("weight").detach() for linear in linears]
        width = torch.stack([w.abs().amax(0).float() for w in weights]).amax(0).clamp_min(_TINY)
        scale = largest[readers[0]].clamp_min(_TINY) ** strength / width ** (1 - strength)
        scale = scale / scale.log().mean().exp()
        part = component.module.get_submodule(norm)
        for name in ("weight", "bias"):
            if (value := getattr(part, name, None)) is not None:
                setattr(part, name, _parameter(value.detach() / scale, value))
        for linear, weight in zip(linears, weights, strict=True):
            linear.weight = _parameter(weight * scale, weight)
    return component


def _parameter(value: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(value.to(like.dtype), requires_grad=False)
