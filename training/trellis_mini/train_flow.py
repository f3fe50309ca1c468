"""Train the structure flow (after train_vae): `python -m training.trellis_mini.train_flow`.  Resumes its last state.

Rectified flow on the VAE's latents: x_t = (1-t) x_0 + (s + (1-s) t) eps, velocity (1-s) eps - x_0, t logit-normal.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gen3dexport.models.trellis import networks
from gen3dexport.models.trellis.networks import SparseStructureEncoder, SparseStructureFlow
from training.trellis_mini.checkpoint import (
    DECODER,
    ENCODER,
    FLOW,
    RUNS,
    Average,
    load_release,
    save_release,
    save_state,
    write_text,
)
from training.trellis_mini.dataset import category_weights, training_features
from training.trellis_mini.sampler import Settings, generate, ious, load_held_out
from training.trellis_mini.shapes import all_shapes, pack
from training.trellis_mini.text import TextEncoder
from training.trellis_mini.train_vae import encode_all

FLOW_ARGS = {
    "resolution": 8,
    "in_channels": 8,
    "out_channels": 8,
    "model_channels": 192,
    "cond_channels": 384,
    "num_blocks": 6,
    "num_heads": 6,
    "mlp_ratio": 4,
    "patch_size": 2,
    "qk_rms_norm": True,
}
SIGMA_MIN = 1e-5
DROP = 0.1


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """`networks.attend` by explicit products: for few tokens its backward pass is much faster on a CPU."""
    batch, _, heads, width = q.shape
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    scores = torch.bmm(q * width**-0.5, k.mT)
    if mask is not None:
        scores = (scores.reshape(batch, heads, *scores.shape[1:]) + mask).flatten(0, 1)
    return torch.bmm(scores.softmax(-1), v).reshape(batch, heads, -1, width).transpose(1, 2).flatten(2)


def initialise(model: SparseStructureFlow) -> None:
    """Xavier linear layers, zero modulation and zero output: every block starts as the identity."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for layer in (model.t_embedder.mlp[0], model.t_embedder.mlp[2]):
        nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
    for block in model.blocks:
        nn.init.zeros_(block.adaLN_modulation[1].weight)  # type: ignore[index, union-attr]
        block.cross_attn.to_kv.weight.data.mul_(3)  # type: ignore[union-attr, operator]  # MiniLM features are small
    nn.init.zeros_(model.out_layer.weight)


def draw_times(generator: np.random.Generator, count: int) -> Tensor:
    """Logit-normal times (mean 1, deviation 1), as in TRELLIS."""
    return torch.from_numpy(1 / (1 + np.exp(-(1 + generator.standard_normal(count))))).float()


def main() -> None:
    """Train, and refresh the released EMA weights every `--release-every` steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--release-every", type=int, default=250)
    parser.add_argument("--run", type=Path, default=RUNS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    networks.attend = plain_attention
    shapes, _ = all_shapes()
    captions, cache = training_features(shapes, options.run)
    encoder, decoder = load_release(ENCODER), load_release(DECODER)
    assert isinstance(encoder, SparseStructureEncoder)
    latents = encode_all(encoder, pack(shapes))
    chance = category_weights(shapes)
    held_out = load_held_out()
    text = TextEncoder()
    features, empty = text(held_out.captions), text([""])
    model = SparseStructureFlow(**FLOW_ARGS)  # type: ignore[arg-type]
    initialise(model)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
    average = Average(model, 0.998)
    history: list[dict[str, float]] = []
    step, spent, losses = 0, 0.0, []
    state_path = options.run / "flow.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=False)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count = state["average"], state["count"]
        history, step, spent = state["history"], state["step"], state["spent"]
    copy = SparseStructureFlow(**FLOW_ARGS).eval()  # type: ignore[arg-type]
    start = time.time() - spent
    while step < options.steps:
        generator = np.random.default_rng([options.seed, 2, step])
        chosen = generator.choice(len(shapes), options.batch, p=chance)
        wording = captions.rows[chosen, generator.integers(0, captions.rows.shape[1], options.batch)]
        wording[generator.random(options.batch) < DROP] = captions.empty
        clean = latents[chosen]
        noise = torch.from_numpy(generator.standard_normal(tuple(clean.shape), np.float32))
        t = draw_times(generator, options.batch)
        mix = t[:, None, None, None, None]
        noisy = (1 - mix) * clean + (SIGMA_MIN + (1 - SIGMA_MIN) * mix) * noise
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = options.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))
        with torch.autocast("cpu", torch.bfloat16):
            velocity = model(noisy, 1000 * t, cache.batch(wording.tolist())).float()
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
        if step % options.release_every == 0 or step == options.steps:
            average.copy_to(copy)
            some = slice(0, None if step == options.steps else 64)
            answer = generate(copy, decoder, features[some], empty, held_out.seeds[some], Settings(8, 1.0))
            score = float(ious(answer > 0, held_out.occupancy[some]).mean())
            history[-1]["held_out_iou"] = score
            print("held-out IoU", round(score, 4), flush=True)
            save_release(FLOW, "SparseStructureFlowModel", {**FLOW_ARGS, "pe_mode": "ape"}, copy)
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "average": average.values}
            state |= {"count": average.count, "history": history, "step": step, "spent": time.time() - start}
            save_state(state_path, state)
            report = {"steps": options.steps, "batch": options.batch, "step": step, "seconds": time.time() - start}
            write_text(options.run / "flow_report.json", json.dumps(report | {"history": history}) + "\n")


if __name__ == "__main__":
    main()
