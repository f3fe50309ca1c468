"""Quantization: one small config per method, one verb. Backends choose the config that their kernels take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

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


def quantize(component: Component, method: Method) -> Component:
    """`component` with `method` applied, in place.

    Raises:
        UsageError: when the method matches no layer.
    """
    match method:
        case Half(dtype):
            set_dtype = getattr(component.module, "set_block_dtype", None)
            if set_dtype is None:
                raise UsageError(f"{component.name}: has no half-precision form; use scheme fp32")
            set_dtype(dtype)
        case Int8Dynamic(kernel, min_features):
            _torchao(component, _int8_dynamic(kernel), min_features)
        case Int8Weight(min_features):
            from torchao.quantization import Int8WeightOnlyConfig

            _torchao(component, Int8WeightOnlyConfig(), min_features)
    return component


def _int8_dynamic(kernel: str) -> object:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8DynamicActivationIntxWeightConfig
    from torchao.quantization.granularity import PerAxis

    if kernel == "xnnpack":
        return Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    return Int8DynamicActivationInt8WeightConfig()


def _torchao(component: Component, config: object, min_features: int) -> None:
    from torchao.quantization import quantize_

    picked = linears(component, min_features)
    if not picked:
        raise UsageError(
            f"{component.name}: no linear layer with at least {min_features} inputs to quantize; use scheme fp32"
        )
    chosen = set(picked)
    wanted: Callable[[nn.Module, str], bool] = lambda module, name: name in chosen  # noqa: E731
    quantize_(component.module, config, filter_fn=wanted)


def linears(component: Component, min_features: int) -> list[str]:
    """Names of the linear layers that a linear method takes: inside the repeated blocks if there are any."""
    return [
        name
        for name, module in component.module.named_modules()
        if isinstance(module, nn.Linear)
        and module.in_features >= min_features
        and (component.stack is None or name.startswith(component.stack + "."))
    ]
