"""Other libraries' ways to shrink or speed up an eager model, to compare with. Nothing here is lowered to a target.

torch.amp's autocast casts at run time and stores nothing smaller. bitsandbytes' nf4 and quanto's int8 replace the same
linear layers that this package's schemes take. Both libraries are optional (`pip install 'gen3dexport[compare]'`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models.component import Component
from gen3dexport.quantization.quantize import pick, replace_linears


class Autocast(nn.Module):
    """A module under `torch.autocast`: products in bfloat16, sums and norms in float32."""

    def __init__(self, module: nn.Module, device: str) -> None:
        super().__init__()
        self.module = module
        self.device = device

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16):
            result: Tensor = self.module(*inputs)
        return result


def apply(component: Component, method: str, device: str, min_features: int = 128) -> nn.Module:
    """The component's module on `device` (`cpu`, `cuda`) after one of `METHODS`, changed in place.

    Raises:
        UsageError: for an unknown method, or a component without such layers.
        MissingError: when the method's library is not installed.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r}: unknown; there are {', '.join(METHODS)}")
    package, function = METHODS[method]
    if package is not None and not _installed(package):
        name = package.replace(".", "-")
        raise MissingError(f"{component.name}: {method} needs {name}; run: pip install 'gen3dexport[compare]'")
    return function(component, device, min_features)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def _autocast(component: Component, device: str, min_features: int) -> nn.Module:
    return Autocast(component.module.to(device), device)


def _nf4(component: Component, device: str, min_features: int) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit

    def in_nf4(linear: nn.Linear) -> nn.Module:
        sizes = (linear.in_features, linear.out_features, linear.bias is not None)
        made: nn.Module = Linear4bit(*sizes, compute_dtype=torch.bfloat16, quant_type="nf4")
        made.weight = Params4bit(linear.weight.detach(), requires_grad=False, quant_type="nf4")
        made.bias = linear.bias
        return made

    replace_linears(component, pick(component, min_features), in_nf4)
    return component.module.to(device)  # which quantizes


def _quanto(component: Component, device: str, min_features: int) -> nn.Module:
    from optimum.quanto import freeze, qint8, quantize

    quantize(component.module, weights=qint8, include=pick(component, min_features))
    freeze(component.module)
    return component.module.to(device)


METHODS: Mapping[str, tuple[str | None, Callable[[Component, str, int], nn.Module]]] = {
    "autocast": (None, _autocast),
    "nf4": ("bitsandbytes", _nf4),
    "quanto-int8": ("optimum.quanto", _quanto),
}
"""Method -> (the package that it needs, what applies it)."""
