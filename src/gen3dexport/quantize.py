"""Quantization: one small config per method, one verb. Backends choose the config that their kernels take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component


@dataclass(frozen=True)
class Half:
    """Blocks in a half-precision dtype, everything around them in float32 (what released checkpoints do)."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Int8Dynamic:
    """int8 weights per output channel, int8 activations per token chosen at run time.

    Attributes:
        kernel: `int_mm` for torch's and XLA's integer matmul, `xnnpack` for the affine form its partitioner matches.
        min_features: linears narrower than this on input stay as they are (they cost more than they win).
    """

    kernel: str = "int_mm"
    min_features: int = 128


@dataclass(frozen=True)
class Int8Weight:
    """int8 weights per output channel, activations as they are."""

    min_features: int = 128


Method = Half | Int8Dynamic | Int8Weight


class InDtype(nn.Module):
    """A layer that computes in a dtype of its own: its input is cast to it, its output back."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.to(self.dtype))
        return result.to(x.dtype)


def quantize(component: Component, method: Method, layers: Sequence[str] | None = None) -> Component:
    """`component` with `method` applied, in place.

    Args:
        layers: names of the layers to change; those of `linears` (half precision: all blocks) when None.

    Raises:
        UsageError: when the method matches no layer.
    """
    match method:
        case Half(dtype) if layers is not None:
            for name in layers:
                component.module.set_submodule(name, InDtype(component.module.get_submodule(name), dtype))
        case Half(dtype):
            set_dtype = getattr(component.module, "set_block_dtype", None)
            if set_dtype is None:
                raise UsageError(f"{component.name}: has no half-precision form; use scheme fp32")
            set_dtype(dtype)
        case Int8Dynamic(kernel, min_features):
            _torchao(component, _int8_dynamic(kernel), pick(component, min_features, layers))
        case Int8Weight(min_features):
            from torchao.quantization import Int8WeightOnlyConfig

            _torchao(component, Int8WeightOnlyConfig(), pick(component, min_features, layers))
    return component


def _int8_dynamic(kernel: str) -> object:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8DynamicActivationIntxWeightConfig
    from torchao.quantization.granularity import PerAxis

    if kernel == "xnnpack":
        return Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    return Int8DynamicActivationInt8WeightConfig()


def _torchao(component: Component, config: object, layers: Sequence[str]) -> None:
    from torchao.quantization import quantize_

    chosen = set(layers)
    wanted: Callable[[nn.Module, str], bool] = lambda module, name: name in chosen  # noqa: E731
    quantize_(component.module, config, filter_fn=wanted)


def pick(component: Component, min_features: int, layers: Sequence[str] | None = None) -> list[str]:
    """Names of the linear layers with at least so many inputs: those of `layers`, or of `linears` when None.

    Raises:
        UsageError: when there is none.
    """
    named = {name: component.module.get_submodule(name) for name in (linears(component) if layers is None else layers)}
    picked = [n for n, module in named.items() if isinstance(module, nn.Linear) and module.in_features >= min_features]
    if not picked:
        where = component.name if layers is None else f"{component.name}: {', '.join(layers[:4])}"
        raise UsageError(f"{where}: no linear layer with at least {min_features} inputs to quantize; use scheme fp32")
    return picked


def linears(component: Component) -> list[str]:
    """Names of the linear layers that a linear method takes by default: those of the repeated blocks.

    First and last layers are left as they are, for they are small and errors there reach everything: whatever lies
    outside the stack; of a component without one, outside every list of modules; without lists, the first and the last
    linear layer of three or more. Norms and embeddings are no linear layers and are never taken.
    """
    modules = dict(component.module.named_modules())
    lists = [component.stack] if component.stack else [n for n, m in modules.items() if isinstance(m, nn.ModuleList)]
    every = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    inside = [name for name in every if name.startswith(tuple(f"{path}." for path in lists))]
    if inside or component.stack:
        return inside
    return every[1:-1] if len(every) > 2 else every
