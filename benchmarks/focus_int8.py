"""What int8 costs dinov2-s-focus on real photographs, and what helps: who shares a scale, rescaling, layers left out.

    python benchmarks/focus_int8.py

The arithmetic of int8-dynamic (weights per output channel, activations rounded at run time) in eager mode, over the
photographs of `real_weights.py`; the loss is 1 - Pearson's correlation with the float32 map. Rescaling changes nothing
in float32: channel c of a layer's input is divided by s_c, and the layer's weights take the factor.
`benchmarks/results/focus_int8.json` has the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import result_file
import torch
import torch.nn.functional as F
from real_weights import cases
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gen3dexport.plan import make_plan, read_recipe, read_target

RESULT = Path(__file__).parent / "results" / "focus_int8.json"
AFTER_NORMS = {"qkv": "norm1", "fc1": "norm2"}
"""Layers whose input a norm gives, and the norm."""


class Rounded(nn.Module):
    """A linear layer on int8's grid."""

    def __init__(self, linear: nn.Linear, shared: str, scale: Tensor | None) -> None:
        super().__init__()
        weight = linear.weight.detach() if scale is None else linear.weight.detach() * scale
        step = weight.abs().amax(1, keepdim=True) / 127
        self.weight, self.bias = (weight / step).round() * step, linear.bias
        self.shared, self.scale = shared, scale

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.scale is None else x / self.scale
        largest = x.abs().amax() if self.shared == "tensor" else x.abs().amax(-1, keepdim=True)
        step = largest.clamp_min(1e-8) / 127
        return F.linear((x / step).round() * step, self.weight, self.bias)


@dataclass(frozen=True)
class Variant:
    """Who shares an activation's scale (token, tensor), how inputs are rescaled, and which layers stay in float32."""

    shared: str = "token"
    rescaled: str = "no"
    left: tuple[str, ...] = ()


VARIANTS = {
    "a tensor shares a scale": Variant("tensor"),
    "a tensor, norms inside the layers": Variant("tensor", "norms"),
    "a tensor, smoothed (0.5)": Variant("tensor", "smoothed"),
    "a token shares a scale": Variant(),
    "a token, norms inside the layers": Variant(rescaled="norms"),
    "a token, smoothed (0.5)": Variant(rescaled="smoothed"),
    "a token, qkv in float32": Variant(left=("qkv",)),
    "a token, qkv and fc1 in float32": Variant(left=("qkv", "fc1")),
    "a token, decoder in float32": Variant(left=("linear",)),
}


def loaded() -> nn.Module:
    """The network with the published weights."""
    plan = make_plan(read_recipe("dinov2-s-focus"), read_target("eager"))
    (declared,) = plan.declared.values()
    return declared.load(plan.weights).module  # type: ignore[no-any-return]


def layers(network: nn.Module) -> dict[str, nn.Linear]:
    """The layers that the recipe quantizes."""
    named = network.named_modules()
    return {n: m for n, m in named if isinstance(m, nn.Linear) and n.startswith(("encoder.blocks.", "decoder."))}


def scales(network: nn.Module, images: Tensor, how: str) -> Mapping[str, Tensor]:
    """Factors s by layer: the norm's weight (the input is then what a norm without one gives), or SmoothQuant's (Xiao
    et al. 2023): sqrt(largest input / largest weight) of a channel, of these photographs."""
    own = {n: m for n, m in layers(network).items() if n.rpartition(".")[2] in AFTER_NORMS}
    if how == "norms":
        found = {}
        for name in own:
            block, _, layer = name.rsplit(".", 2)
            weight = network.get_submodule(f"{block}.{AFTER_NORMS[layer]}").get_parameter("weight")
            found[name] = weight.detach().abs().clamp_min(1e-3)
        return found
    largest: dict[str, Tensor] = {}
    hooks = [
        m.register_forward_hook(lambda _, taken, given, n=n: largest.update({n: taken[0].abs().flatten(0, 1).amax(0)}))
        for n, m in own.items()
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return {n: torch.sqrt(largest[n].clamp_min(1e-5) / m.weight.abs().amax(0).clamp_min(1e-5)) for n, m in own.items()}


def maps(variant: Variant | None, images: Tensor) -> np.ndarray:
    """The maps of a variant (None: float32)."""
    network = loaded()
    if variant is not None:
        found: Mapping[str, Tensor] = {}
        if variant.rescaled != "no":
            found = scales(network, images, variant.rescaled)
        for name, layer in layers(network).items():
            if name.rpartition(".")[2] not in variant.left:
                network.set_submodule(name, Rounded(layer, variant.shared, found.get(name)))
    with torch.no_grad():
        result: np.ndarray = network(images).numpy()
    return result


def main() -> None:
    """Compute, print, write."""
    named = [(name, ours["image"]) for name, _, ours in cases("dinov2-s-focus")]
    images = torch.from_numpy(np.concatenate([image for _, image in named]))
    expected = maps(None, images)
    rows: list[dict[str, Any]] = []
    table = Table("variant", "mean loss", "largest loss", "of", "largest difference")
    for label, variant in VARIANTS.items():
        found = maps(variant, images)
        losses = [1 - float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(found, expected, strict=True)]
        worst = int(np.argmax(losses))
        row = {
            "variant": label,
            "mean": float(np.mean(losses)),
            "largest": losses[worst],
            "photograph": named[worst][0],
        }
        rows.append({**row, "difference": float(np.abs(found - expected).max())})
        table.add_row(
            label, f"{row['mean']:.5f}", f"{losses[worst]:.5f}", named[worst][0], f"{rows[-1]['difference']:.3f}"
        )
    Console().print(table)
    result_file.write(RESULT, __file__, {"photographs": [name for name, _ in named], "rows": rows})


if __name__ == "__main__":
    main()
