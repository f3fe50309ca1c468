"""Train the structured latent's flow (after train_slat_encoder): `python -m training.trellis_mini.train_slat_flow`.

Rectified flow as in `train_flow`, on normalised latents of true cells. A step sees boxes of cells of a few shapes, each
under its four looks, which share all tables; towards the end half of the boxes are whole shapes. The transformer blocks
start from those of the trained structure flow, which have the same width and read the same text features.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.models.trellis.sampler import Schedule, sample
from gen3dexport.models.trellis.slat_flow import SLatFlow
from gen3dexport.models.trellis.slat_inputs import FLOW_TABLES, flow_tables
from gen3dexport.models.trellis.voxel_budget import Budget, cells
from training.trellis_mini.cells import (
    COARSE,
    MIDDLE,
    Cells,
    box_of_cells,
    cells_of,
    lattice_points,
    sample_cells,
    with_surroundings,
)
from training.trellis_mini.checkpoint import FLOW, RELEASE, Average, load_release, save_release, save_state, write_text
from training.trellis_mini.color_dataset import (
    COLOR_RELEASE,
    COLOR_RUNS,
    LOOKS,
    HeldOutItem,
    Item,
    held_out_items,
    training_features,
    training_items,
)
from training.trellis_mini.dataset import category_weights
from training.trellis_mini.fast_gather import use_fast_gather
from training.trellis_mini.looks import Look, nearest_accent, nearest_main
from training.trellis_mini.shapes import Shape, all_shapes, field
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_flow import DROP, SIGMA_MIN, draw_times
from training.trellis_mini.train_slat_encoder import LATENT, SLAT_ENCODER, Probe, encode, nearness, tables_of

SLAT_FLOW = "slat_flow_txt_mini"
SLAT_FLOW_ARGS: dict[str, Any] = {
    "resolution": 32,
    "in_channels": LATENT,
    "out_channels": LATENT,
    "model_channels": 192,
    "cond_channels": 384,
    "num_blocks": 6,
    "num_heads": 6,
    "mlp_ratio": 4,
    "patch_size": 2,
    "num_io_res_blocks": 2,
    "io_block_channels": [64],
    "qk_rms_norm": True,
}
_WATCHED = 10


def initialise(model: SLatFlow, structure: nn.Module) -> None:
    """Blocks and timestep embedding of the structure flow; residual branches and output of the rest start at zero."""
    state = {k: v for k, v in structure.state_dict().items() if k.startswith(("blocks.", "t_embedder."))}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and not any(key.startswith(("blocks.", "t_embedder.")) for key in missing)
    for block in [*model.input_blocks, *model.out_blocks]:
        assert block.conv2.conv is not None
        nn.init.zeros_(block.conv2.conv.weight)
        nn.init.zeros_(block.conv2.conv.bias)
        nn.init.zeros_(block.emb_layers[1].weight)
        nn.init.zeros_(block.emb_layers[1].bias)
    nn.init.zeros_(model.out_layer.weight)
    nn.init.zeros_(model.out_layer.bias)


def draw_late_times(generator: np.random.Generator, count: int) -> Tensor:
    """Half as in `train_flow`, half closer to noise (logit-normal, mean 3.5, deviation 1.2).

    The many cells of a part show its colour together, even where each is noisy; only near t = 1 must it be read from
    the text.
    """
    late = torch.from_numpy(1 / (1 + np.exp(-(3.5 + 1.2 * generator.standard_normal(count))))).float()
    return torch.where(torch.from_numpy(generator.random(count) < 0.5), late, draw_times(generator, count))


def flow_inputs(coords: NDArray[np.int32]) -> list[Tensor]:
    """`FLOW_TABLES` of cells, without padding."""
    tables = flow_tables(coords, Budget(len(coords), cells(coords)))
    return [torch.from_numpy(tables[name]) for name in FLOW_TABLES]


@torch.no_grad()
def sample_latent(
    model: nn.Module,
    coords: NDArray[np.int32],
    noise: Tensor,
    cond: Tensor,
    negative: Tensor,
    schedule: Schedule,
    half: bool = True,
) -> Tensor:
    """Normalised latents [B, N, 8] of noise [B, N, 8] on cells [N, 3] under conditions [B, 48, 384]."""
    tables, unconditional = flow_inputs(coords), negative.expand_as(cond)

    def velocity(x: Tensor, t: float, conditional: bool) -> Tensor:
        time = torch.full((len(x),), t, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            v: Tensor = model(x, time, cond if conditional else unconditional, *tables)
        return v.float()

    return sample(velocity, noise, schedule)  # type: ignore[no-any-return]


class Watch:
    """What the flow makes of held-out captions on their true cells, read by the encoder's probe."""

    def __init__(self, run: Path, mean: Tensor, std: Tensor, encoder: nn.Module) -> None:
        models = nn.ModuleList([encoder, Probe()])
        state = torch.load(run / "slat_encoder.pt", weights_only=False)
        for key, value in models.named_parameters():
            value.data.copy_(state["average"][key])
        self.probe, self.mean, self.std = models[1].eval(), mean, std
        text = TextEncoder()
        self.items: list[HeldOutItem] = held_out_items()[:_WATCHED]
        self.features, self.empty = text([item.caption for item in self.items]), text([""])
        self.cells: list[Cells] = []
        for item in self.items:
            self.cells.append(sample_cells((item.category, item.params), cells_of((item.category, item.params))))
        self.truth = [encode(encoder, c, [item.look])[0] for c, item in zip(self.cells, self.items, strict=True)]

    @torch.no_grad()
    def score(self, model: nn.Module, schedule: Schedule) -> dict[str, float]:
        """Share of right colours (main, accent), mean colour error, latent error in deviations."""
        right: list[tuple[bool, bool]] = []
        errors, gaps = [], []
        for index, (item, found) in enumerate(zip(self.items, self.cells, strict=True)):
            noise = np.random.default_rng(item.seed).standard_normal((1, len(found.coords), LATENT), np.float32)
            some = slice(index, index + 1)
            latent = sample_latent(
                model, found.coords, torch.from_numpy(noise), self.features[some], self.empty, schedule
            )
            latent = latent * self.std + self.mean
            errors.append(((latent[0] - self.truth[index]) / self.std).square().mean().item())
            with torch.autocast("cpu", torch.bfloat16):
                answer = self.probe(latent, *tables_of([found.coords])).float()[0]
            colors = (answer[:, 125:].reshape(-1, len(COARSE), 3) + 0.5).numpy()
            near = nearness(torch.from_numpy(found.distance[:, COARSE])).numpy() > 0.5
            second, points = found.second[:, COARSE][near], found.points(COARSE)[near]
            gaps.append(float(np.abs(colors - found.colors(item.look, COARSE))[near].mean()))
            main = nearest_main(colors[near][~second], points[~second], item.look.material) == item.look.main
            accent = not second.any() or nearest_accent(colors[near][second]) == item.look.accent
            right.append((main, accent))
        share = np.array(right).mean(0)
        return {
            "main": float(share[0]),
            "accent": float(share[1]),
            "color_error": float(np.mean(gaps)),
            "latent_error": float(np.mean(errors)),
        }


def latent_scale(
    run: Path, encoder: nn.Module, shapes: list[Shape], items: list[Item], chance: NDArray[np.float64], seed: int
) -> tuple[Tensor, Tensor]:
    """Mean and deviation [8] of the latent over 150 training shapes; kept in the run folder."""
    path = run / "slat_scale.json"
    if not path.exists():
        known = []
        for shape in np.random.default_rng(seed).choice(len(shapes), 150, p=chance):
            looks = [item.look for item in items[LOOKS * shape : LOOKS * (shape + 1)]]
            cells_there = sample_cells(shapes[shape], cells_of(shapes[shape]), False)
            known.append(encode(encoder, cells_there, looks).flatten(0, 1))
        every = torch.cat(known)
        write_text(path, json.dumps({"mean": every.mean(0).tolist(), "std": every.std(0).tolist()}) + "\n")
    scale = json.loads(path.read_text())
    return torch.tensor(scale["mean"]), torch.tensor(scale["std"])


def main() -> None:
    """Train; refresh the released EMA weights every `--release-every` steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, help="end after this time instead of a number of steps")
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--boxes", type=int, default=4)
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--release-every", type=int, default=500)
    parser.add_argument("--run", type=Path, default=COLOR_RUNS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    use_fast_gather()
    shapes, _ = all_shapes()
    chance = category_weights(shapes)
    items = training_items(shapes)
    cache = training_features(items, options.run)
    encoder = load_release(SLAT_ENCODER, COLOR_RELEASE)

    def latents_of(shape: int, coords: NDArray[np.int32], box: NDArray[np.int64], looks: list[Look]) -> Tensor:
        """Latents [L, N, 8] of a box of cells, exactly those that encoding the whole shape gives."""
        around = with_surroundings(coords, box)
        found = encode(encoder, sample_cells(shapes[shape], coords[around], False), looks)
        return found[:, np.searchsorted(around, box)]

    mean, std = latent_scale(options.run, encoder, shapes, items, chance, options.seed)
    watch = Watch(options.run, mean, std, encoder)
    model = SLatFlow(**SLAT_FLOW_ARGS)
    initialise(model, load_release(FLOW, RELEASE))
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
    average = Average(model, 0.997)
    history: list[dict[str, float]] = []
    step, spent, losses = 0, 0.0, []
    state_path = options.run / "slat_flow.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=False)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count = state["average"], state["count"]
        history, step, spent = state["history"], state["step"], state["spent"]
    copy = SLatFlow(**SLAT_FLOW_ARGS).eval()
    start = time.time() - spent
    done = False
    while not done:
        progress = (time.time() - start) / (60 * options.minutes) if options.minutes else step / options.steps
        generator = np.random.default_rng([options.seed, 5, step])
        whole = progress > 0.75 and generator.random() < 0.4
        boxes = 1 if whole else options.boxes
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = options.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))
        optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(boxes):
            shape = int(generator.choice(len(shapes), p=chance))
            coords, centres = cells_of(shapes[shape]), None
            if generator.random() < 0.6:  # accents are small: more than half of the boxes are around one
                centres = field(*shapes[shape], lattice_points(coords, MIDDLE)[:, 0])[1]
            box = box_of_cells(coords, generator, 1500 if whole else options.cells, centres)
            wording = LOOKS * shape + generator.permutation(LOOKS)[: 2 if whole else LOOKS]
            clean = (latents_of(shape, coords, box, [items[k].look for k in wording]) - mean) / std
            wording[generator.random(len(wording)) < DROP] = LOOKS * len(shapes)
            noise = torch.from_numpy(generator.standard_normal(tuple(clean.shape), np.float32))
            t = draw_late_times(generator, len(wording))
            mix = t[:, None, None]
            noisy = (1 - mix) * clean + (SIGMA_MIN + (1 - SIGMA_MIN) * mix) * noise
            with torch.autocast("cpu", torch.bfloat16):
                velocity = model(noisy, 1000 * t, cache.batch(wording.tolist()), *flow_inputs(coords[box])).float()
            loss = (velocity - ((1 - SIGMA_MIN) * noise - clean)).square().mean() / boxes
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        losses.append(total)
        done = progress >= 1 if options.minutes else step >= options.steps
        if step % 50 == 0:
            history.append({"step": step, "loss": sum(losses[-50:]) / len(losses[-50:])})
            print(step, round(history[-1]["loss"], 4), round(time.time() - start), flush=True)
        if step % options.release_every == 0 or done:
            average.copy_to(copy)
            scores = watch.score(copy, Schedule(6, 1.5, (0.0, 1.0), 6.0))
            history.append({"step": step, "loss": sum(losses[-50:]) / len(losses[-50:]), **scores})
            print(json.dumps({k: round(v, 4) for k, v in scores.items()}), round(time.time() - start), flush=True)
            save_release(SLAT_FLOW, "SLatFlowModel", {**SLAT_FLOW_ARGS, "pe_mode": "ape"}, copy, COLOR_RELEASE)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average.values}
            state |= {"count": average.count, "history": history, "step": step, "spent": time.time() - start}
            save_state(state_path, state)
            report = {"boxes": options.boxes, "cells": options.cells, "step": step, "seconds": time.time() - start}
            write_text(options.run / "slat_flow_report.json", json.dumps(report | {"history": history}) + "\n")


if __name__ == "__main__":
    main()
