"""Builds a CPU package, or loads one, in whatever torch runs this file; `test_aotinductor_versions` runs it.

python packages.py build FOLDER     a small network's package, its record, golden inputs and outputs
python packages.py load FOLDER      from disk, as bundles are loaded; prints torch's version and the
                                                relative L2 error against the golden outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gen3dexport.backends import aotinductor
from gen3dexport.bundle.program import ProgramRecord, program_record, specs
from gen3dexport.export import Captured
from gen3dexport.models.component import Component


class Block(nn.Module):
    """Attention and a perceptron: generated kernels, ATen calls and weights of both kinds, parameters and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(32), nn.Linear(32, 96)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.register_buffer("scale", torch.rand(32))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        return x + self.mlp(x + attended) * self.scale


def build(folder: Path) -> None:
    torch.manual_seed(0)
    component = Component("block", Block().eval(), {"x": torch.randn(1, 24, 32)}, ("y",))
    lowered = aotinductor.lower(Captured(component), aotinductor.Options(), folder)
    outputs = component.run()
    record = program_record(component.name, lowered, specs(component.inputs), specs(outputs))
    (folder / "record.json").write_text(record.model_dump_json())
    save_file({**component.inputs, **{k: v.detach() for k, v in outputs.items()}}, folder / "golden.safetensors")


def load(folder: Path) -> None:
    record = ProgramRecord.model_validate_json((folder / "record.json").read_text())
    golden = load_file(folder / "golden.safetensors")
    found = aotinductor.load(folder, record)({"x": golden["x"]})["y"]
    error = (found.double() - golden["y"].double()).norm() / golden["y"].double().norm()
    print(json.dumps({"torch": torch.__version__, "built with": record.requires["torch"], "error": float(error)}))


if __name__ == "__main__":
    {"build": build, "load": load}[sys.argv[1]](Path(sys.argv[2]))
