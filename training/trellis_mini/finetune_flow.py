"""Teach the trained structure flow captions that name colours: `python -m training.trellis_mini.finetune_flow`.

Starts from weights/trellis-mini, writes weights/trellis-mini-color; resumes from training/runs/trellis_mini_color.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from gen3dexport.models.trellis import networks
from gen3dexport.models.trellis.networks import SparseStructureEncoder
from training.trellis_mini.checkpoint import (
    DECODER,
    ENCODER,
    FLOW,
    RELEASE,
    Average,
    load_release,
    save_release,
    save_state,
    write_text,
)
from training.trellis_mini.color_dataset import (
    COLOR_RELEASE,
    COLOR_RUNS,
    LOOKS,
    held_out_items,
    training_features,
    training_items,
    write_held_out,
)
from training.trellis_mini.dataset import category_weights
from training.trellis_mini.dataset import training_features as plain_features
from training.trellis_mini.evaluate import read_settings
from training.trellis_mini.sampler import generate, ious, load_held_out
from training.trellis_mini.shapes import all_shapes, pack
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_flow import DROP, FLOW_ARGS, SIGMA_MIN, draw_times, plain_attention
from training.trellis_mini.train_vae import encode_all

PLAIN_SHARE = 0.3


def main() -> None:
    """Train; refresh the released EMA weights and their score every 200 steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2.5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=COLOR_RUNS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    networks.attend = plain_attention
    write_held_out()
    for name in (DECODER, ENCODER):
        for suffix in (".json", ".safetensors"):
            (COLOR_RELEASE / "ckpts").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RELEASE / "ckpts" / (name + suffix), COLOR_RELEASE / "ckpts" / (name + suffix))
    shapes, _ = all_shapes()
    cache = training_features(training_items(shapes), options.run)
    captions, plain_cache = plain_features(shapes)
    encoder, decoder = load_release(ENCODER), load_release(DECODER)
    assert isinstance(encoder, SparseStructureEncoder)
    latents, chance = encode_all(encoder, pack(shapes)), category_weights(shapes)
    held_out, text = load_held_out(), TextEncoder()
    features, empty = text([item.caption for item in held_out_items()]), text([""])
    model, copy = load_release(FLOW).train().requires_grad_(True), load_release(FLOW)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    average = Average(model, 0.995)
    history: list[dict[str, float]] = []
    step, spent, losses = 0, 0.0, []
    state_path = options.run / "structure.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=False)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count = state["average"], state["count"]
        history, step, spent = state["history"], state["step"], state["spent"]
    start = time.time() - spent
    while step < options.steps:
        generator = np.random.default_rng([options.seed, 3, step])
        chosen = generator.choice(len(shapes), options.batch, p=chance)
        colored = generator.random(options.batch) >= PLAIN_SHARE
        row = LOOKS * chosen + generator.integers(0, LOOKS, options.batch)
        row[generator.random(options.batch) < DROP] = LOOKS * len(shapes)
        plain = captions.rows[chosen, generator.integers(0, captions.rows.shape[1], options.batch)]
        cond = torch.where(
            torch.from_numpy(colored)[:, None, None], cache.batch(row.tolist()), plain_cache.batch(plain.tolist())
        )
        clean = latents[chosen]
        noise = torch.from_numpy(generator.standard_normal(tuple(clean.shape), np.float32))
        t = draw_times(generator, options.batch)
        mix = t[:, None, None, None, None]
        noisy = (1 - mix) * clean + (SIGMA_MIN + (1 - SIGMA_MIN) * mix) * noise
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = options.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))
        with torch.autocast("cpu", torch.bfloat16):
            velocity = model(noisy, 1000 * t, cond).float()
        loss = (velocity - ((1 - SIGMA_MIN) * noise - clean)).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        step += 1
        losses.append(loss.item())
        if step % 25 == 0:
            history.append({"step": step, "loss": sum(losses[-25:]) / len(losses[-25:])})
            print(step, round(history[-1]["loss"], 4), round(time.time() - start), flush=True)
        if step % 200 == 0 or step == options.steps:
            average.copy_to(copy)
            some = slice(0, None if step == options.steps else 64)
            answer = generate(copy, decoder, features[some], empty, held_out.seeds[some], read_settings())
            score = float(ious(answer > 0, held_out.occupancy[some]).mean())
            history[-1]["held_out_iou"] = score
            print("held-out IoU", round(score, 4), flush=True)
            save_release(FLOW, "SparseStructureFlowModel", {**FLOW_ARGS, "pe_mode": "ape"}, copy, COLOR_RELEASE)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average.values}
            state |= {"count": average.count, "history": history, "step": step, "spent": time.time() - start}
            save_state(state_path, state)
            report = {"steps": options.steps, "batch": options.batch, "step": step, "seconds": time.time() - start}
            write_text(options.run / "structure_report.json", json.dumps(report | {"history": history}) + "\n")


if __name__ == "__main__":
    main()
