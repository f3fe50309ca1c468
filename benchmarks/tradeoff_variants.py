"""The variants of the trade-off: what a user of torch would try first, and this package's bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from turns import in_bf16

Weights = Literal[
    "fp32", "bf16", "int8-weight", "int8-dynamic", "int4-weight", "autocast", "nf4", "quanto-int8"
]  # fmt: skip
MIN_FEATURES = 128  # narrower linears stay as they are, in every variant


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        name: for people.
        weights: of an eager model: its precision, or the method on the linears of its blocks: torchao's, or one of
            `eager_methods`.
        compiled: mode of torch.compile, or None.
        target: of a bundle or program (`cuda`: of the GPU that is here), None for an eager model.
        assignments: `key=value` on the bundle's recipe.
        scheme: of the block stack's program.
        device: where it runs.
    """

    name: str
    weights: Weights = "fp32"
    compiled: str | None = None
    target: str | None = None
    assignments: tuple[str, ...] = ()
    scheme: str = "int8-dynamic"
    device: str = "cpu"

    @property
    def kind(self) -> str:
        """What the plot marks it as."""
        return "bundle" if self.target else "torch.compile" if self.compiled else "eager"


ON_CUDA = ("int8-dynamic", "float8-dynamic", "int4-weight")
TORCHAO: tuple[Weights, ...] = ("int8-weight", "int8-dynamic", "int4-weight")
ALL_INT8 = (
    "components.text_encoder.scheme=int8-dynamic",
    "components.flow.scheme=int8-dynamic",
    "components.decoder.scheme=int8-static",
)


def _eager(
    device: str, precisions: tuple[Weights, ...], modes: tuple[str, ...], others: tuple[Weights, ...]
) -> list[Variant]:
    prefix = "" if device == "cpu" else f"{device}: "
    found = []
    for mode in (None, *modes):
        way = "eager" if mode is None else "torch.compile" if mode == "default" else f"torch.compile {mode}"
        for weights in (*precisions, *TORCHAO):
            added = f"{way} {weights}" if weights in precisions else f"{way} + torchao {weights}"
            found.append(Variant(prefix + added, weights, mode, device=device))
    return found + [Variant(f"{prefix}eager {other}", other, device=device) for other in others]


ON_CPU = _eager("cpu", ("fp32", "bf16"), ("default",), ("autocast",))
ON_GPU = _eager("cuda", ("fp32", "bf16"), ("default", "max-autotune-no-cudagraphs"), ("autocast", "nf4", "quanto-int8"))

PIPELINES = [
    *ON_CPU,
    Variant("cpu-aoti bundle", target="cpu-aoti-avx512"),
    Variant("onnx bundle", target="onnx"),
    Variant("onnx bundle, all int8", target="onnx", assignments=ALL_INT8),
    Variant("executorch bundle", target="executorch"),
    Variant("executorch bundle, all int8", target="executorch", assignments=ALL_INT8),
    Variant("executorch bundle, flow int4", target="executorch", assignments=("components.flow.scheme=int4-dynamic",)),
    *ON_GPU,
    Variant("cuda bundle fp16", target="cuda", device="cuda"),
    *(
        Variant(f"cuda bundle {s}", target="cuda", assignments=(f"components.flow.scheme={s}",), device="cuda")
        for s in ON_CUDA
    ),
]
"""Of the mini model's whole pipeline."""

BLOCKS = [
    *ON_CPU,
    Variant("cpu-aoti int8", target="cpu-aoti-avx512"),
    Variant("onnx int8", target="onnx"),
    Variant("executorch fp32", target="executorch", scheme="fp32"),
    Variant("executorch int8", target="executorch"),
    Variant("executorch int4", target="executorch", scheme="int4-dynamic"),
    *ON_GPU,
    Variant("cuda package fp16", target="cuda", scheme="fp16", device="cuda"),
    *(Variant(f"cuda package {scheme}", target="cuda", scheme=scheme, device="cuda") for scheme in ON_CUDA),
]
"""Of the block stack."""


def in_weights(component: Any, variant: Variant) -> Any:
    """The component's module as the variant has it: precision or method, device, torch.compile.

    torchao's methods take the layers that this package's schemes take. On a GPU they go on a bfloat16 model, as people
    use them there, and int4 is packed for its kernels; on the CPU torchao keeps int4 in bytes.
    """
    import eager_methods
    import torch

    module, weights, on_gpu = component.module, variant.weights, variant.device == "cuda"
    if weights in eager_methods.METHODS and (weights == "autocast" or _wide_linears(component)):
        return eager_methods.apply(component, weights, variant.device, MIN_FEATURES)
    layers: list[str] = []
    if weights in TORCHAO:
        layers = _wide_linears(component)
    if weights == "bf16" or (on_gpu and layers):
        module = in_bf16(module)
    module = module.to(variant.device)
    if layers:
        from torchao.quantization import quantize_

        chosen = set(layers)
        wanted: Callable[[Any, str], bool] = lambda part, name: name in chosen  # noqa: E731
        quantize_(module, _config(weights, on_gpu), filter_fn=wanted)
    if variant.compiled is not None:
        return torch.compile(module, mode=variant.compiled)
    return module


def _wide_linears(component: Any) -> list[str]:
    """The layers to quantize; none in a component without linear layers (a decoder of convolutions)."""
    from torch import nn

    from gen3dexport.quantization.quantize import linears, pick

    found = [component.module.get_submodule(name) for name in linears(component)]
    wide = any(isinstance(m, nn.Linear) and m.in_features >= MIN_FEATURES for m in found)
    return pick(component, MIN_FEATURES) if wide else []


def _config(weights: Weights, on_gpu: bool) -> object:
    import torch
    from torchao import quantization as ao

    if weights == "int8-weight":
        return ao.Int8WeightOnlyConfig()
    if weights == "int8-dynamic":
        return ao.Int8DynamicActivationInt8WeightConfig()
    if on_gpu:
        return ao.Int4WeightOnlyConfig(group_size=32, int4_packing_format="tile_packed_to_4d")
    int4: torch.dtype = getattr(torch, "int4")  # noqa: B009  torch's type hints lack it
    return ao.IntxWeightOnlyConfig(int4, ao.PerGroup(32))
