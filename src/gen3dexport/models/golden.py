"""Golden sets: a network's configuration, weights, inputs and expected outputs, as files.

Format: `config.json` {"name", "args"[, "extra"]}, `weights.safetensors`, `io.safetensors` with tensors `in.NAME`,
`mid.NAME` and `out.NAME`, `meta.json` with the scale of the main outputs. A set of host work has neither `name` nor
weights. Where a set is kept small, `rows.NAME` says which rows of an output `out.NAME` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gen3dexport.documents.json_file import read_json
from gen3dexport.errors import UsageError
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

    def stored(self, name: str) -> NDArray[Any] | None:
        """The output `out.NAME`, else the step `mid.NAME`; None where the set has neither."""
        value = self.tensors.get(f"out.{name}", self.tensors.get(f"mid.{name}"))
        return None if value is None else value.numpy()

    def compared(self, made: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """What was made of all that the set has stored, and what it has, by name."""
        stored = {name: value for name in made if (value := self.stored(name)) is not None}
        return {name: made[name] for name in stored}, stored


def read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """`config.json`, `meta.json` and the tensors of a golden folder.

    Raises:
        UsageError: when a file is missing or damaged.
    """
    if not (folder / "config.json").is_file() and (sets := sets_in(folder)):
        raise UsageError(
            f"{folder}: a folder of golden sets and none itself; there are {', '.join(sets)}; give one, e.g. "
            f"{folder / sets[0]}"
        )
    for name in ("config.json", "meta.json", "io.safetensors"):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder / name}: not found; a golden folder has config.json, meta.json, weights.safetensors and "
                "io.safetensors"
            )
    config, meta = (read_json(folder / f"{name}.json", "a golden set's file") for name in ("config", "meta"))
    try:
        return config, meta, load_file(folder / "io.safetensors")
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{folder / 'io.safetensors'}: safetensors cannot read it ({error}); copy it again") from error


def sets_in(folder: Path) -> list[str]:
    """The names of the golden sets that lie in a folder."""
    return sorted(path.parent.name for path in folder.glob("*/config.json"))
