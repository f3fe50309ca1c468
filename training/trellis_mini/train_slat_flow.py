"""Train the structured latent's flow (after train_slat_encoder): `python -m training.trellis_mini.train_slat_flow`.

Rectified flow as in `train_flow`, on normalised latents of true cells. A step sees boxes of cells of a few shapes, each
under its four looks, which share all tables; towards the end half of the boxes are whole shapes. The transformer blocks
start from those of the trained structure flow, which have the same width and read the same text features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.models.flow_sampler import Schedule, sample
from gen3dexport.models.trellis.host.slat_inputs import FLOW_TABLES, flow_tables
from gen3dexport.models.trellis.host.voxel_budget import Budget, cells
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
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
from training.trellis_mini.checkpoint import FLOW, load_release, save_release, write_text
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
from training.trellis_mini.run import Run, adamw, decay_groups, flow_loss, read_options
from training.trellis_mini.shapes import Shape, all_shapes, field
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_flow import DROP, draw_times
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
    options = read_options(
        __doc__, COLOR_RUNS, minutes=True, steps=6000, cells=100, boxes=4, lr=7e-4, release_every=500
    )
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
    initialise(model, load_release(FLOW))
    run = Run("slat_flow", options, model, adamw(decay_groups(model), options.lr), 0.997)
    copy = SLatFlow(**SLAT_FLOW_ARGS).eval()

    def losses(generator: np.random.Generator) -> Iterator[Tensor]:
        """The loss of every box of a step."""
        whole = run.progress > 0.75 and generator.random() < 0.4
        boxes = 1 if whole else options.boxes
        for _ in range(boxes):
            shape = int(generator.choice(len(shapes), p=chance))
            coords, centres = cells_of(shapes[shape]), None
            if generator.random() < 0.6:  # accents are small: more than half of the boxes are around one
                centres = field(*shapes[shape], lattice_points(coords, MIDDLE)[:, 0])[1]
            box = box_of_cells(coords, generator, 1500 if whole else options.cells, centres)
            wording = LOOKS * shape + generator.permutation(LOOKS)[: 2 if whole else LOOKS]
            clean = (latents_of(shape, coords, box, [items[k].look for k in wording]) - mean) / std
            wording[generator.random(len(wording)) < DROP] = LOOKS * len(shapes)
            inputs = cache.batch(wording.tolist()), *flow_inputs(coords[box])
            yield flow_loss(model, clean, generator, draw_late_times, *inputs) / boxes

    while True:
        generator = run.begin(5)
        run.set_rate(200, 0.01, run.progress)
        run.update(losses(generator))
        run.note_means(50)
        if run.step % options.release_every == 0 or run.done:
            run.average.copy_to(copy)
            scores = watch.score(copy, Schedule(6, 1.5, (0.0, 1.0), 6.0))
            run.note({**run.means(50), **scores})
            save_release(SLAT_FLOW, "SLatFlowModel", {**SLAT_FLOW_ARGS, "pe_mode": "ape"}, copy, COLOR_RELEASE)
            run.save()
            run.report(boxes=options.boxes, cells=options.cells)
        if run.done:
            break


if __name__ == "__main__":
    main()
