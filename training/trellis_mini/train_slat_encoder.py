"""Train the structured latent's encoder: `python -m training.trellis_mini.train_slat_encoder`.

A probe reads distances and colours of every cell's lattice back from the latent; the decoders are trained afterwards
on the frozen latent (`train_slat_decoders`), so that they and the flow can train at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.models.trellis.host.slat_inputs import WINDOW_TABLES, window_inputs
from gen3dexport.models.trellis.networks import window_attention
from gen3dexport.models.trellis.networks.slat_decoders import SLatEncoder
from gen3dexport.models.trellis.networks.window_attention import WindowTrunk, final_norm
from training.trellis_mini.cells import COARSE, FEATURES, Cells, box_of_cells, cells_of, sample_cells
from training.trellis_mini.checkpoint import save_release
from training.trellis_mini.color_dataset import COLOR_RELEASE, COLOR_RUNS
from training.trellis_mini.dataset import category_weights
from training.trellis_mini.looks import Look, draw_look
from training.trellis_mini.run import Run, adamw, read_options
from training.trellis_mini.shapes import Shape, all_shapes
from training.trellis_mini.train_flow import plain_attention

SLAT_ENCODER = "slat_enc_mini"
LATENT, WINDOW = 8, 4
ENCODER_ARGS: dict[str, Any] = {
    "resolution": 32,
    "in_channels": FEATURES,
    "model_channels": 96,
    "latent_channels": LATENT,
    "num_blocks": 2,
    "num_heads": 3,
    "mlp_ratio": 2,
    "window_size": WINDOW,
}
KL_WEIGHT = 1e-3
_APART = 40  # cells between the shapes of a batch, so that no window holds two


class Probe(WindowTrunk):
    """Distances at the 125 lattice points and colours at 27 of them, of a latent."""

    def __init__(self) -> None:
        super().__init__(LATENT, 32, 128, 2, 4, 32, 2, WINDOW)
        self.out_layer = nn.Linear(128, 125 + 3 * len(COARSE))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs as a decoder's -> [1, T, 206]."""
        return self.out_layer(final_norm(self.trunk(*inputs)))  # type: ignore[no-any-return]


def tables_of(coords: Sequence[NDArray[np.int32]]) -> list[Tensor]:
    """`WINDOW_TABLES` of the cells of several shapes, which do not see each other."""
    shift = np.array([_APART, 0, 0])
    tables = window_inputs(np.concatenate([c + i * shift for i, c in enumerate(coords)]), sum(map(len, coords)), WINDOW)
    tables["coords"] = np.concatenate(coords).astype(np.float32)
    return [torch.from_numpy(tables[name]) for name in WINDOW_TABLES]


def training_look(rng: Random) -> Look:
    """A look that training may see; one in ten has a single colour."""
    look = draw_look(rng)
    return Look(look.main, look.material, look.main) if rng.random() < 0.1 else look


def draw_cells(
    shapes: list[Shape], chance: NDArray[np.float64], generator: np.random.Generator, count: int, most: int
) -> tuple[list[Cells], list[Look]]:
    """Boxes of cells of `count` random shapes, each with a look."""
    chosen = generator.choice(len(shapes), count, p=chance)
    parts = []
    for index in chosen:
        coords = cells_of(shapes[index])
        parts.append(sample_cells(shapes[index], coords[box_of_cells(coords, generator, most)]))
    rng = Random(int(generator.integers(2**31)))
    return parts, [training_look(rng) for _ in parts]


def targets_of(parts: Sequence[Cells], looks: Sequence[Look], which: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Distances [T, 125] and colours [T, W, 3] of a batch."""
    distance = np.concatenate([part.distance for part in parts])
    colors = np.concatenate([part.colors(look, which) for part, look in zip(parts, looks, strict=True)])
    return torch.from_numpy(distance), torch.from_numpy(colors)


def nearness(distance: Tensor) -> Tensor:
    """Weight of a lattice point: 1 on the surface, less away from it."""
    return torch.exp(-3 * distance.abs())


@torch.no_grad()
def encode(encoder: nn.Module, cells: Cells, looks: Sequence[Look]) -> Tensor:
    """Mean latents [L, N, 8] of one shape's cells under several looks."""
    feats = torch.stack([cells.features(look) for look in looks])
    with torch.autocast("cpu", torch.bfloat16):
        mean: Tensor = encoder(feats, *tables_of([cells.coords]))[0]
    return mean.float()


def main() -> None:
    """Train, and write the encoder in the released layout."""
    options = read_options(__doc__, COLOR_RUNS, steps=2500, batch=4, cells=600, lr=2e-3)
    vars(window_attention)["attend"] = plain_attention
    shapes, _ = all_shapes()
    chance = category_weights(shapes)
    encoder, probe = SLatEncoder(**ENCODER_ARGS), Probe()
    models = nn.ModuleList([encoder, probe])
    run = Run("slat_encoder", options, models, adamw(models.parameters(), options.lr), 0.995)
    while not run.done:
        generator = run.begin(4)
        run.set_rate(100, 0.02)
        parts, looks = draw_cells(shapes, chance, generator, options.batch, options.cells)
        feats = torch.cat([part.features(look) for part, look in zip(parts, looks, strict=True)])[None]
        tables = tables_of([part.coords for part in parts])
        distance, colors = targets_of(parts, looks, COARSE)
        noise = torch.from_numpy(generator.standard_normal((1, len(distance), LATENT), np.float32))
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = encoder(feats, *tables)
            mean, log_variance = mean.float(), log_variance.float().clamp(-20, 10)
            answer = probe(mean + noise * (0.5 * log_variance).exp(), *tables).float()[0]
        weight = nearness(distance)
        shape_loss = (weight * (answer[:, :125] - distance).abs()).sum() / weight.sum()
        near = weight[:, COARSE]
        gaps = (answer[:, 125:].reshape(colors.shape) + 0.5 - colors).abs().mean(-1)
        color_loss = (near * gaps).sum() / near.sum()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = shape_loss + color_loss + KL_WEIGHT * kl
        run.update([loss], shape=shape_loss, color=color_loss, kl=kl)
        run.note_means(50)
        if run.step % 500 == 0 or run.done:
            run.save()
    run.average.copy_to(models)
    save_release(SLAT_ENCODER, "SLatEncoder", ENCODER_ARGS, encoder, COLOR_RELEASE)
    run.report()


if __name__ == "__main__":
    main()
