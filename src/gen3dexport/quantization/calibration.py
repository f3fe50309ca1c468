"""Calibration: ranges of activations, observed while the float32 pipeline itself makes assets of a recipe's prompts.

A convolution's static int8 form needs the range of what goes in and what comes out before it runs. Networks are called
as assets call them, a flow at the sampler's own timesteps with and without condition, so the ranges are those of use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gen3dexport.models.component import Component
from gen3dexport.models.ranges import Ranges, Rounding

LOWEST, HIGHEST = -128, 127
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Observed:
    """The convolutions of a component, watched; `ranges` after its calls."""

    def __init__(self, component: Component) -> None:
        from torchao.quantization.pt2e.observer import HistogramObserver

        def observer() -> nn.Module:
            made: nn.Module = HistogramObserver(
                dtype=torch.int8, quant_min=LOWEST, quant_max=HIGHEST, qscheme=torch.per_tensor_affine
            )
            return made

        self.layers = {n: m for n, m in component.module.named_modules() if isinstance(m, CONVOLUTIONS)}
        self.observers = {name: (observer(), observer()) for name in self.layers}
        self.seen: set[str] = set()

    def see(self, name: str, taken: Tensor, given: Tensor) -> None:
        """One call of a layer."""
        for observer, tensor in zip(self.observers[name], (taken, given), strict=True):
            observer(tensor.detach().float())
        self.seen.add(name)

    def ranges(self) -> dict[str, Ranges]:
        """By layer, those that were called: the ranges with the least squared error (torchao's histogram search)."""
        return {
            name: Ranges(*(_rounding(o) for o in self.observers[name])) for name in self.layers if name in self.seen
        }


def _rounding(observer: nn.Module) -> Rounding:
    scale, zero_point = observer.calculate_qparams()  # type: ignore[operator]
    return Rounding(float(scale), int(zero_point))


@contextmanager
def observing(component: Component) -> Iterator[Observed]:
    """Watch the convolutions of a component while it is called."""
    observed = Observed(component)
    hooks = [
        layer.register_forward_hook(lambda _, taken, given, name=name: observed.see(name, taken[0], given))
        for name, layer in observed.layers.items()
    ]
    try:
        yield observed
    finally:
        for hook in hooks:
            hook.remove()
