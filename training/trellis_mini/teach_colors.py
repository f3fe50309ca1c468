"""Teach the latent's flow which part a colour word is of: `python -m training.trellis_mini.teach_colors`.

A flow that trains on boxes of cells soon paints everything in the first colour of the caption, and leaves that only
slowly: other parts are small, and cells show their colour to each other at all but the highest noise. So its blocks
alone learn from the pure-noise end: some coarse cells of whole shapes, half of them of the accent, as a dense batch,
must have their colour where the flow itself keeps the colour: in a linear reading of its tokens, fitted before and held
fixed. A copy from before holds everything else in place. Continue with `train_slat_flow` afterwards.
"""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.networks.structure import position_features
from training.trellis_mini.cells import MIDDLE, cells_of, lattice_points
from training.trellis_mini.checkpoint import save_state
from training.trellis_mini.color_dataset import COLOR_RUNS, LOOKS, Item, training_features, training_items
from training.trellis_mini.dataset import category_weights
from training.trellis_mini.fast_gather import use_fast_gather
from training.trellis_mini.looks import paint
from training.trellis_mini.run import Run, adamw, read_options
from training.trellis_mini.shapes import Shape, all_shapes, field
from training.trellis_mini.text import FeatureCache
from training.trellis_mini.train_slat_encoder import LATENT
from training.trellis_mini.train_slat_flow import SLAT_FLOW_ARGS, flow_inputs

_HELD = 12  # shapes of a batch that the copy looks at
_FITTED = 48  # shapes that the linear reading is fitted on


class Coarse:
    """Coarse cells of a shape: their coordinates, the centres of their cells, and which are accent."""

    def __init__(self, shape: Shape) -> None:
        coords = cells_of(shape)
        points = lattice_points(coords, MIDDLE)[:, 0]
        second = field(*shape, points)[1]
        self.coords, inverse = np.unique(coords // 2, axis=0, return_inverse=True)
        self.points, self.second, self.parent = points, second, inverse.reshape(-1)
        counts = np.bincount(self.parent)
        self.accent = np.bincount(self.parent, second) / counts
        self.counts = counts

    def colors(self, item: Item) -> NDArray[np.float32]:
        """Mean colour [M, 3] of every coarse cell under an item's look."""
        fine = paint(item.look, self.points, self.second)
        sums = np.stack([np.bincount(self.parent, column) for column in fine.T], 1)
        return (sums / self.counts[:, None]).astype(np.float32)


def run_blocks(model: SLatFlow, h: Tensor, t: Tensor, cond: Tensor) -> Tensor:
    """Tokens [B, T, C] after all blocks."""
    m = model.t_embedder(1000 * t)
    for block in model.blocks:
        h = block(h, m, cond)
    return h


@torch.no_grad()
def fit_reading(
    model: SLatFlow, shapes: list[Shape], items: list[Item], cache: FeatureCache, generator: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The linear reading [C + 1, 3] of the main colour, and mean, deviation [C] of what blocks get beside positions."""
    inputs, outputs, targets = [], [], []
    for shape in generator.choice(len(shapes), _FITTED):
        item = LOOKS * int(shape) + int(generator.integers(LOOKS))
        coords = cells_of(shapes[shape])
        tables = flow_inputs(coords)
        noise = torch.from_numpy(generator.standard_normal((1, len(coords), LATENT), np.float32))
        cond, t = cache.batch([item]), torch.tensor([1.0])
        with torch.autocast("cpu", torch.bfloat16):
            h = model.before(noise, 1000 * t, cond, *tables)[0].float()
            inputs.append((h - position_features(tables[5], h.shape[-1]))[0])
            outputs.append(run_blocks(model, h, t, cond).float()[0])
        coarse = Coarse(shapes[shape])
        main = paint(items[item].look, coarse.points, np.zeros(len(coords), bool))
        mean = np.stack([np.bincount(coarse.parent, column) for column in main.T], 1) / coarse.counts[:, None]
        targets.append(torch.from_numpy(mean).float())
    h, target, given = torch.cat(outputs), torch.cat(targets), torch.cat(inputs)
    h = torch.cat([h, torch.ones(len(h), 1)], 1)
    weight = torch.linalg.solve(h.mT @ h + 1e-3 * len(h) * torch.eye(h.shape[1]), h.mT @ target)
    return weight, (h @ weight - target).abs().mean(), given.mean(0), given.std(0)


def main() -> None:
    """Train the blocks of the flow's last state and of its average, and write both back."""
    options = read_options(__doc__, COLOR_RUNS, minutes=True, steps=600, batch=64, cells=24, lr=1e-3)
    use_fast_gather()
    shapes, _ = all_shapes()
    items = training_items(shapes)
    cache, chance = training_features(items, options.run), category_weights(shapes)
    coarse_of = functools.cache(lambda shape: Coarse(shapes[shape]))
    state = torch.load(options.run / "slat_flow.pt", weights_only=False)
    model = SLatFlow(**SLAT_FLOW_ARGS)
    model.load_state_dict({**model.state_dict(), **state["average"]})
    weight, error, offset, spread = fit_reading(model, shapes, items, cache, np.random.default_rng([options.seed, 7]))
    print(f"reading: mean error {error.item():.3f}", flush=True)
    basis = torch.linalg.qr(weight[:-1])[0]
    teacher = copy.deepcopy(model).requires_grad_(False)
    run = Run("teach", options, model, adamw(model.blocks.parameters(), options.lr), 0.0, clip=[model.blocks])
    while True:
        generator = run.begin(8)
        run.set_rate(50, 0.05, run.progress)
        rows, places, colors, accents = [], [], [], []
        for shape in generator.choice(len(shapes), options.batch, p=chance):
            item, coarse = LOOKS * int(shape) + int(generator.integers(LOOKS)), coarse_of(int(shape))
            part = np.where(coarse.accent > 0.5, 0.5 / max((coarse.accent > 0.5).sum(), 1), 0.0)
            part += np.where(coarse.accent <= 0.5, 0.5 / max((coarse.accent <= 0.5).sum(), 1), 0.0)
            chosen = generator.choice(len(part), options.cells, p=part / part.sum())
            rows.append(item)
            places.append(coarse.coords[chosen])
            colors.append(coarse.colors(items[item])[chosen])
            accents.append(coarse.accent[chosen] > 0.5)
        coords = torch.from_numpy(np.stack(places)).float()
        target, accent = torch.from_numpy(np.stack(colors)), torch.from_numpy(np.stack(accents))
        given = offset + spread * torch.from_numpy(
            generator.standard_normal((options.batch, options.cells, len(offset)), np.float32)
        )
        h = position_features(coords.flatten(0, 1), len(offset)).reshape(given.shape) + given
        t = torch.from_numpy(generator.uniform(0.94, 1.0, options.batch)).float()
        cond = cache.batch(rows)
        with torch.autocast("cpu", torch.bfloat16):
            after = run_blocks(model, h, t, cond).float()
            with torch.no_grad():
                before = run_blocks(teacher, h[:_HELD], t[:_HELD], cond[:_HELD]).float()
        gaps = (after @ weight[:-1] + weight[-1] - target).square().mean(-1)
        change = after[:_HELD] - before
        rest = (change - change @ basis @ basis.mT).square().mean()
        loss = gaps.mean() + 0.02 * rest
        run.update([loss], main=gaps[~accent].mean(), accent=gaps[accent].mean(), rest=rest)
        run.note_means(20)
        if run.done:
            break
    state["model"], state["average"] = model.state_dict(), run.average.values
    optimiser_state = state["optimiser"]["state"]
    for entry in optimiser_state.values():  # moments of another loss
        entry["exp_avg"].zero_()
    save_state(options.run / "slat_flow.pt", state)
    run.report()


if __name__ == "__main__":
    main()
