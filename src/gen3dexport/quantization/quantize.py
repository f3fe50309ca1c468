"""Quantization: one small config per method, one verb. Backends choose the config that their kernels take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gen3dexport.errors import UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.ranges import Ranges
from gen3dexport.quantization.calibration import CONVOLUTIONS
from gen3dexport.quantization.float8_linear import MULTIPLE, Float8Linear
from gen3dexport.quantization.int4_linear import GROUP, Int4Linear
from gen3dexport.quantization.int8_convolution import Convolution, Int8Convolution
from gen3dexport.quantization.int8_linear import Int8Linear
from gen3dexport.quantization.schemes import SCHEMES

Kernel = Literal["int_mm", "xnnpack"]


@dataclass(frozen=True)
class Half:
    """Blocks in a half-precision dtype, everything around them in float32 (what released checkpoints do)."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Int8Dynamic:
    """int8 weights per output channel, int8 activations per token chosen at run time.

    Attributes:
        kernel: `int_mm` for this package's `Int8Linear`, which compilers lower to an integer matmul; `xnnpack` for
            torchao's affine form, which XNNPACK's partitioner matches.
        min_features: linears narrower than this on input stay as they are (they cost more than they win).
    """

    kernel: Kernel = "int_mm"
    min_features: int = 128


@dataclass(frozen=True)
class Int8Weight:
    """int8 weights per output channel, activations as they are."""

    min_features: int = 128


@dataclass(frozen=True)
class Int4Dynamic:
    """int4 weights with a scale per group of inputs, int8 activations per token chosen at run time.

    Attributes:
        group: inputs that share a scale; layers whose inputs it does not divide stay as they are.
    """

    group: int = SCHEMES["int4-dynamic"].group
    min_features: int = 128


@dataclass(frozen=True)
class Int4Weight:
    """int4 weights with a scale and a zero point per group of 32 inputs, two in a byte, activations as they are.

    torchao's form of the same numbers keeps each in a byte. Relative error of two 1024-wide blocks (trellis-mini's
    flow): asymmetric 0.028 (0.090), symmetric 0.042 (0.111), torchao's `hqq_scale_only` 0.042 (0.100) after a search
    of half a minute and more.
    """

    min_features: int = 128


@dataclass(frozen=True)
class Float8Weight:
    """float8 (e4m3) weights per output channel, activations as they are."""

    min_features: int = 128


@dataclass(frozen=True)
class Float8Dynamic:
    """float8 (e4m3) weights per output channel, float8 activations per token, scaled at run time."""

    min_features: int = 128


@dataclass(frozen=True)
class Int8Static:
    """Convolutions with int8 weights per output channel and int8 activations per tensor, in observed ranges.

    Attributes:
        make: a convolution and its ranges -> the layer in the form of the backend's kernels.
    """

    make: Callable[[Convolution, Ranges], nn.Module] = Int8Convolution


_INT4: torch.dtype = getattr(torch, "int4")  # noqa: B009  torch's type hints lack it
Method = Half | Int8Dynamic | Int8Weight | Int4Dynamic | Int4Weight | Float8Weight | Float8Dynamic | Int8Static

HALVES: dict[str, torch.dtype] = {name: getattr(torch, s.half) for name, s in SCHEMES.items() if s.half}
"""Dtype by half-precision scheme."""


class InDtype(nn.Module):
    """A layer that computes in a dtype of its own: its input is cast to it, its output back."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x.to(self.dtype))
        return result.to(x.dtype)


def to_scheme(
    component: Component,
    scheme: str,
    min_features: int,
    layers: Sequence[str] | None = None,
    kernel: Kernel = "int_mm",
    static: Int8Static = Int8Static(),
) -> Component:
    """`component` in the scheme of that name, in place; fp32 changes nothing.

    Args:
        min_features, layers: see `quantize` and its methods; kernel: of `Int8Dynamic`; static: the form of int8-static.

    Raises:
        UsageError: for an unknown scheme, or one that matches no layer.
    """
    methods: dict[str, Method] = {
        **{name: Half(dtype) for name, dtype in HALVES.items()},
        "int8-dynamic": Int8Dynamic(kernel, min_features),
        "int8-weight": Int8Weight(min_features),
        "int4-dynamic": Int4Dynamic(min_features=min_features),
        "int4-weight": Int4Weight(min_features=min_features),
        "float8-weight": Float8Weight(min_features),
        "float8-dynamic": Float8Dynamic(min_features),
        "int8-static": static,
    }
    if scheme == "fp32":
        return component
    if scheme not in methods:
        raise UsageError(f"{component.name}: scheme {scheme!r}: unknown; there are fp32, {', '.join(methods)}")
    return quantize(component, methods[scheme], layers)


def rest_in(component: Component, half: str) -> None:
    """Compute the blocks of `component` in half precision beside layers that are quantized next, in place.

    Where they are in it, nothing happens: layers that an earlier rule quantized stay as they are, and float8 values
    would be widened.
    """
    dtype = HALVES[half]
    if hasattr(component.module, "set_block_dtype") and getattr(component.module, "block_dtype", None) is not dtype:
        quantize(component, Half(dtype))


def quantize(component: Component, method: Method, layers: Sequence[str] | None = None) -> Component:
    """`component` with `method` applied, in place.

    Args:
        layers: names of the layers to change; when None, those of `linears`, for int8-static all convolutions but the
            first and the last, in half precision all blocks.

    Raises:
        UsageError: when the method matches no layer.
    """
    match method:
        case Half(dtype) if layers is not None:
            for name in layers:
                component.module.set_submodule(name, InDtype(component.module.get_submodule(name), dtype))
        case Half(dtype):
            check_takes(component, next(name for name, half in HALVES.items() if half is dtype))
            component.module.set_block_dtype(dtype)  # type: ignore[operator]
        case Int8Dynamic("xnnpack", min_features):
            _torchao(component, _int8_for_xnnpack(), pick(component, min_features, layers))
        case Int8Dynamic(_, min_features):
            replace_linears(component, pick(component, min_features, layers), Int8Linear)
        case Int8Static(make):
            for name in pick_convolutions(component, layers):
                convolution = component.module.get_submodule(name)
                assert isinstance(convolution, CONVOLUTIONS), name
                component.module.set_submodule(name, make(convolution, component.ranges[name]))
        case Int8Weight(min_features):
            from torchao.quantization import Int8WeightOnlyConfig

            _torchao(component, Int8WeightOnlyConfig(), pick(component, min_features, layers))
        case Float8Weight(min_features):
            from torchao.quantization import Float8WeightOnlyConfig

            _torchao(component, Float8WeightOnlyConfig(), pick(component, min_features, layers))
        case Int4Dynamic(group, min_features):
            from torchao.quantization import Int8DynamicActivationIntxWeightConfig
            from torchao.quantization.granularity import PerGroup

            dynamic = Int8DynamicActivationIntxWeightConfig(_INT4, PerGroup(group))
            _torchao(component, dynamic, pick(component, min_features, layers, group))
        case Int4Weight(min_features):
            replace_linears(component, pick(component, min_features, layers, GROUP), Int4Linear)
        case Float8Dynamic(min_features):
            replace_linears(component, pick(component, min_features, layers, MULTIPLE), Float8Linear)
    return component


def _int8_for_xnnpack() -> object:
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig
    from torchao.quantization.granularity import PerAxis

    return Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))


def _torchao(component: Component, config: object, layers: Sequence[str]) -> None:
    from torchao.quantization import quantize_

    chosen = set(layers)
    wanted: Callable[[nn.Module, str], bool] = lambda module, name: name in chosen  # noqa: E731
    quantize_(component.module, config, filter_fn=wanted)


def replace_linears(component: Component, layers: Sequence[str], make: Callable[[nn.Linear], nn.Module]) -> None:
    """Put what `make` makes of each linear layer in its place."""
    for name in layers:
        linear = component.module.get_submodule(name)
        assert isinstance(linear, nn.Linear), name
        component.module.set_submodule(name, make(linear))


def check_takes(component: Component, scheme: str, ruled: bool = False) -> None:
    """Check that a component has something that a scheme takes; its weights may have no values.

    Args:
        ruled: whether rules name layers for other schemes.

    Raises:
        UsageError: when it has nothing of that kind.
    """
    match SCHEMES[scheme].covers:
        case "blocks" if not hasattr(component.module, "set_block_dtype"):
            raise UsageError(f"{component.name}: has no half-precision form; use scheme fp32")
        case "convolutions" if not ruled and not convolutions(component):
            raise UsageError(_no_convolution(component.name))
        case "linears" if not ruled:
            pick(component, 1, multiple=SCHEMES[scheme].multiple)


def _no_convolution(where: str) -> str:
    return f"{where}: no convolution to quantize in int8-static; use int8-dynamic for linear layers"


def pick(component: Component, min_features: int, layers: Sequence[str] | None = None, multiple: int = 1) -> list[str]:
    """Names of the linear layers with at least so many inputs: those of `layers`, or of `linears` when None.

    Args:
        multiple: their inputs are a multiple of it, too.

    Raises:
        UsageError: when there is none.
    """
    named = {name: component.module.get_submodule(name) for name in (linears(component) if layers is None else layers)}
    wide = {n: m.in_features for n, m in named.items() if isinstance(m, nn.Linear) and m.in_features >= min_features}
    picked = [name for name, features in wide.items() if features % multiple == 0]
    if not picked:
        where = component.name if layers is None else f"{component.name}: {', '.join(layers[:4])}"
        groups = f", a multiple of {multiple}," if multiple > 1 else ""
        raise UsageError(
            f"{where}: no linear layer with at least {min_features} inputs{groups} to quantize; use scheme fp32"
        )
    return picked


def pick_convolutions(component: Component, layers: Sequence[str] | None = None) -> list[str]:
    """Names of the convolutions to take: those among `layers`, or of `convolutions` when None.

    Raises:
        UsageError: when there is none, or no calibration observed its ranges.
    """
    named = convolutions(component) if layers is None else layers
    picked = [name for name in named if isinstance(component.module.get_submodule(name), CONVOLUTIONS)]
    where = component.name if layers is None else f"{component.name}: {', '.join(layers[:4])}"
    if not picked:
        raise UsageError(_no_convolution(where))
    unseen = [name for name in picked if name not in component.ranges]
    if unseen:
        raise UsageError(
            f"{where}: int8-static needs the ranges of {', '.join(unseen[:4])}, which no calibration observed; name "
            "calibration.prompts in the recipe"
        )
    return picked


def default_layers(component: Component, scheme: str) -> list[str]:
    """Names of the layers that an integer or float8 scheme takes when none are named."""
    return convolutions(component) if SCHEMES[scheme].covers == "convolutions" else linears(component)


def convolutions(component: Component) -> list[str]:
    """Names of the convolutions that int8-static takes by default: all but the first and the last of three or more,
    which read and write what the pipeline sees."""
    every = [name for name, module in component.module.named_modules() if isinstance(module, CONVOLUTIONS)]
    return every[1:-1] if len(every) > 2 else every


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
