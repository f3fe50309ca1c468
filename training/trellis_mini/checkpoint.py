"""Files of the released layout (`ckpts/NAME.json` + `ckpts/NAME.safetensors`) and resumable run state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gen3dexport.models.trellis.networks.loading import network
from gen3dexport.models.trellis.networks.sparse_layers import PointwiseConv3d, SparseConv3d

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASE = REPOSITORY / "weights" / "trellis-mini"
RUNS = REPOSITORY / "training" / "runs" / "trellis_mini"

DECODER, ENCODER, FLOW = "ss_dec_mini", "ss_enc_mini", "ss_flow_txt_mini"
_HALF_LISTS = ("blocks.", "middle_block.", "input_blocks.", "out_blocks.", "upsample.")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write run state with torch.save in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def half_keys(model: nn.Module) -> set[str]:
    """Keys of the linear and convolution parameters inside the block lists, which releases store in float16."""
    keys = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv3d | SparseConv3d | PointwiseConv3d) and (name + ".").startswith(
            _HALF_LISTS
        ):
            keys |= {f"{name}.{key}" for key, _ in module.named_parameters()}
    return keys


def save_release(name: str, kind: str, args: dict[str, Any], model: nn.Module, folder: Path = RELEASE) -> None:
    """Write one network as the releases do: blocks in float16, everything around them in float32."""
    half = half_keys(model)
    state: dict[str, Tensor] = {
        key: value.detach().to(torch.float16 if key in half else torch.float32).contiguous().clone()
        for key, value in model.state_dict().items()
    }
    path = folder / "ckpts" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    save_file(state, temporary)
    temporary.chmod(0o644)
    temporary.replace(path)
    text = json.dumps({"name": kind, "args": {**args, "use_fp16": True}}, indent=2)
    write_text(folder / "ckpts" / f"{name}.json", text + "\n")


def load_release(name: str, folder: Path = RELEASE) -> nn.Module:
    """Read one network back in float32, ready for inference."""
    config = json.loads((folder / "ckpts" / f"{name}.json").read_text())
    model = network(config["name"], config["args"])
    state = load_file(folder / "ckpts" / f"{name}.safetensors")
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model.eval().requires_grad_(False)


class Average:
    """Exponential moving average of a model's parameters."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.count = 0
        self.values = {k: v.detach().clone() for k, v in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the current parameters; young averages follow faster."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for key, value in model.named_parameters():
            self.values[key].lerp_(value, 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Put the average into a model."""
        for key, value in model.named_parameters():
            value.copy_(self.values[key])
