"""Golden sets: a network's configuration, weights, inputs and expected outputs, as files.

Format: `config.json` {"name", "args"[, "extra"]}, `weights.safetensors`, `io.safetensors` with tensors `in.NAME`,
`mid.NAME` and `out.NAME`, `meta.json` with the scale of the main outputs. A set of host work has neither `name` nor
weights. Where a set is kept small, `rows.NAME` says which rows of an output `out.NAME` has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gen3dexport.models.component import Component


@dataclass(frozen=True)
class Golden:
    """A golden folder, read.

    Attributes:
        component: the network with the stored weights; its example inputs are the stored ones. None for host work.
        tensors: every stored tensor by full name (`in.x`, `mid.block0`, `out.v`).
        extra: further settings (the sampler's).
        subject: what the folder exercises (`ss_flow`, `sampler`, ...).
    """

    component: Component | None
    tensors: dict[str, Tensor]
    extra: dict[str, Any]
    subject: str

    def expected(self) -> dict[str, Tensor]:
        """The stored outputs that the network itself computes."""
        if self.component is None:
            return {}
        return {name: self.tensors[f"out.{name}"] for name in self.component.outputs if f"out.{name}" in self.tensors}
