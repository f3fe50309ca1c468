"""Golden sets of V-JEPA 2, made by the transformers library's own class with seeded random weights.

    python benchmarks/vjepa2_golden.py tests/golden/v_jepa2

Every parameter is random, also those that the library makes zero or one. The library computes in float32 on one thread.
A set has the film, where it is of the predictor also the patches that are known and asked for (`in.context_mask`,
`in.target_mask`), and what VJEPA2Model gives: `last_hidden_state`, and `predicted` and `target` of its predictor.
The set `frames` is of its VJEPA2VideoProcessor, which needs torchvision: frames in bytes, and what becomes of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Made:
    """A set: what differs from the tiny default, frames and batch of its film, and how patches are masked."""

    seed: int
    frames: int
    masks: str = ""
    batch: int = 1
    config: tuple[tuple[str, float | bool], ...] = ()


_TINY: dict[str, float | bool] = {
    "patch_size": 4, "crop_size": 16, "frames_per_clip": 8, "tubelet_size": 2, "hidden_size": 32,
    "num_attention_heads": 2, "num_hidden_layers": 2, "mlp_ratio": 2.0, "pred_hidden_size": 24,
    "pred_num_attention_heads": 2, "pred_num_hidden_layers": 2, "pred_num_mask_tokens": 3, "pred_mlp_ratio": 2.0,
}  # fmt: skip
_WIDE = (
    ("num_hidden_layers", 1),
    ("hidden_size", 40),
    ("num_attention_heads", 2),
    ("crop_size", 12),
    ("mlp_ratio", 48 / 11),
)
SETS = {
    "encoder": Made(0, 8),
    "encoder_still": Made(1, 1, config=_WIDE),
    "encoder_tubelet3": Made(2, 6, batch=2, config=(("tubelet_size", 3), ("qkv_bias", False), ("crop_size", 12))),
    "predictor_full": Made(3, 4, "full", config=(("crop_size", 12),)),
    "predictor_later": Made(4, 8, "later"),
    "predictor_scattered": Made(5, 8, "scattered", 2, _WIDE),
}


def masks(kind: str, batch: int, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Patches that are known and asked for, [B, K] and [B, M]."""
    every = torch.arange(count).expand(batch, -1)
    if kind == "full":
        return every, every.clone()
    if kind == "later":
        return every[:, : count // 2], every[:, count // 2 :]
    mixed = torch.stack([torch.randperm(count, generator=draw) for _ in range(batch)])
    return mixed[:, : count // 3], mixed[:, count // 4 : count // 4 + count // 2]  # some are in both, some in neither


def make(name: str, made: Made, folder: Path) -> None:
    """Write a set."""
    fields = _TINY | dict(made.config)
    draw = torch.Generator().manual_seed(made.seed)
    config = transformers.VJEPA2Config(**fields)
    model = transformers.VJEPA2Model(config).eval()
    state = {}
    for key, value in model.state_dict().items():
        spread = 0.3 if value.ndim < 2 else 1.2 / value[0].numel() ** 0.5
        state[key] = torch.randn(value.shape, generator=draw) * spread + (
            1.0 if "norm" in key and "weight" in key else 0
        )
    model.load_state_dict(state, strict=True)
    size = int(fields["crop_size"])
    film = torch.randn(made.batch, made.frames, 3, size, size, generator=draw)
    given, asked = {"in.pixel_values_videos": film}, {}
    if made.masks:
        steps = made.frames // int(fields["tubelet_size"])
        known, target = masks(made.masks, made.batch, steps * (size // int(fields["patch_size"])) ** 2, draw)
        asked = {"context_mask": [known], "target_mask": [target]}
        given |= {"in.context_mask": known.clone(), "in.target_mask": target.clone()}
    with torch.no_grad():
        found = model(pixel_values_videos=film, skip_predictor=not made.masks, **asked)
    given["out.last_hidden_state"] = found.last_hidden_state
    if made.masks:
        given["out.predicted"] = found.predictor_output.last_hidden_state
        given["out.target"] = found.predictor_output.target_hidden_state
    upstream = f"transformers {transformers.__version__} VJEPA2Model (Apache-2.0), torch {torch.__version__}"
    about = {"component": "predictor" if made.masks else "encoder", "seed": made.seed, "upstream": upstream}
    write(folder, fields, given, about)
    stored = {key: value for key, value in state.items() if made.masks or not key.startswith("predictor.")}
    save_file({key: value.contiguous() for key, value in stored.items()}, folder / "weights.safetensors")


def make_frames(folder: Path, seed: int = 6, crop: int = 16, shape: tuple[int, int] = (45, 61)) -> None:
    """Write the set of what becomes of frames."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 6, 8, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, shape, mode="bicubic").clamp(0, 1)
    frames = (255 * smooth).round().to(torch.uint8)
    processor = transformers.VJEPA2VideoProcessor(
        size={"shortest_edge": int(crop * 256 / 224)}, crop_size={"height": crop, "width": crop}
    )
    made = processor(frames, return_tensors="pt")["pixel_values_videos"]
    given = {"in.frames": frames.permute(0, 2, 3, 1).contiguous(), "out.pixel_values_videos": made[0].contiguous()}
    upstream = f"transformers {transformers.__version__} VJEPA2VideoProcessor (Apache-2.0), torch {torch.__version__}"
    write(folder, {"crop_size": crop}, given, {"component": "frames", "seed": seed, "upstream": upstream})


def write(folder: Path, config: dict[str, Any], given: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write a set's files but for its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in given.items()}, folder / "io.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    scale = {
        key: {"shape": list(value.shape), "std": float(value.float().std()), "absmax": float(value.abs().max())}
        for key, value in given.items()
    }
    notes = "all parameters random; one thread, float32, eval mode; made by benchmarks/vjepa2_golden.py"
    text = json.dumps({**about, "notes": notes, "tensors": scale}, indent=1)
    (folder / "meta.json").write_text(text + "\n")


def main() -> int:
    """Write every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    for name, made in SETS.items():
        make(name, made, folder / name)
        print(name, sum(path.stat().st_size for path in (folder / name).iterdir()))
    make_frames(folder / "frames")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
