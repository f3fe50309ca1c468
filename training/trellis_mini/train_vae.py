"""Train the structure VAE: `python -m training.trellis_mini.train_vae`.  Resumes from training/runs/trellis_mini."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.models.trellis.networks import SparseStructureDecoder, SparseStructureEncoder
from training.trellis_mini.checkpoint import DECODER, ENCODER, RUNS, Average, save_release, save_state, write_text
from training.trellis_mini.shapes import all_shapes, pack, unpack

LATENT = 8
ENCODER_ARGS = {
    "in_channels": 1,
    "latent_channels": LATENT,
    "num_res_blocks": 0,
    "channels": [16, 32, 64],
    "num_res_blocks_middle": 2,
}
DECODER_ARGS = {
    "out_channels": 1,
    "latent_channels": LATENT,
    "num_res_blocks": 0,
    "channels": [64, 32, 8],
    "num_res_blocks_middle": 2,
}
KL_WEIGHT = 1e-3


def iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU [B] of occupancy logits > 0 with the truth, both [B, 1, 32, 32, 32]."""
    answer, target = logits.flatten(1) > 0, truth.flatten(1) > 0.5
    return (answer & target).sum(1) / (answer | target).sum(1).clamp_min(1)


def reconstruction_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy per voxel plus a soft Dice term per shape."""
    soft = logits.sigmoid().flatten(1)
    target = truth.flatten(1)
    dice = 1 - (2 * (soft * target).sum(1) + 1) / (soft.sum(1) + target.sum(1) + 1)
    return 4 * F.binary_cross_entropy_with_logits(logits, truth) + 0.3 * dice.mean()


@torch.no_grad()
def fold_scale(encoder: SparseStructureEncoder, decoder: SparseStructureDecoder, std: Tensor) -> None:
    """Divide the encoder's mean by `std` per channel and multiply the decoder's input by it (exact)."""
    last = encoder.out_layer[2]
    assert isinstance(last, torch.nn.Conv3d)
    last.weight[:LATENT] /= std[:, None, None, None, None]
    assert last.bias is not None
    last.bias[:LATENT] /= std
    last.bias[LATENT:] -= 2 * std.log()
    decoder.input_layer.weight *= std[None, :, None, None, None]


@torch.no_grad()
def encode_all(encoder: SparseStructureEncoder, packed: np.ndarray, batch: int = 64) -> Tensor:
    """Mean latents [N, 8, 8, 8, 8] of packed occupancies."""
    out = []
    for first in range(0, len(packed), batch):
        truth = torch.from_numpy(unpack(packed[first : first + batch])).float()[:, None]
        out.append(encoder(truth)[0])
    return torch.cat(out)


def main() -> None:
    """Train, then fold the latent's scale and write the two networks in the released layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1250)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path, default=RUNS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    training, held_out = (pack(shapes) for shapes in all_shapes())
    encoder, decoder = SparseStructureEncoder(**ENCODER_ARGS), SparseStructureDecoder(**DECODER_ARGS)  # type: ignore[arg-type]
    models = torch.nn.ModuleList([encoder, decoder]).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(models.parameters(), lr=options.lr, weight_decay=0.01, betas=(0.9, 0.98))
    average = Average(models, 0.995)
    history: list[dict[str, float]] = []
    step, spent = 0, 0.0
    state_path = options.run / "vae.pt"
    if state_path.exists():
        state = torch.load(state_path, weights_only=False)
        models.load_state_dict(state["models"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.count = state["average"], state["count"]
        history, step, spent = state["history"], state["step"], state["spent"]
    start = time.time() - spent
    while step < options.steps:
        generator = np.random.default_rng([options.seed, 1, step])
        chosen = generator.integers(0, len(training), options.batch)
        truth = torch.from_numpy(unpack(training[chosen])).float()[:, None]
        noise = torch.from_numpy(generator.standard_normal((options.batch, LATENT, 8, 8, 8), np.float32))
        warm = min(1.0, (step + 1) / 50)
        rate = options.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / options.steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = encoder(truth.contiguous(memory_format=torch.channels_last_3d))
            mean, log_variance = mean.float(), log_variance.float().clamp(-20, 10)
            logits = decoder(mean + noise * (0.5 * log_variance).exp()).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = reconstruction_loss(logits, truth) + KL_WEIGHT * kl
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimiser.step()
        average.update(models)
        step += 1
        if step % 25 == 0:
            row = {"step": step, "loss": loss.item(), "kl": kl.item(), "iou": iou(logits, truth).mean().item()}
            history.append(row)
            print(json.dumps({k: round(v, 4) for k, v in row.items()}), round(time.time() - start), flush=True)
        if step % 250 == 0 or step == options.steps:
            state = {"models": models.state_dict(), "optimiser": optimiser.state_dict(), "average": average.values}
            state |= {"count": average.count, "history": history, "step": step, "spent": time.time() - start}
            save_state(state_path, state)
    average.copy_to(models)
    models.eval()
    latents = encode_all(encoder, training)
    fold_scale(encoder, decoder, latents.std(dim=(0, 2, 3, 4)))
    mean = encode_all(encoder, training).mean(dim=(0, 2, 3, 4))
    scores = []
    with torch.no_grad():
        for first in range(0, len(held_out), 64):
            truth = torch.from_numpy(unpack(held_out[first : first + 64])).float()[:, None]
            scores.append(iou(decoder(encoder(truth)[0]), truth))
    score = torch.cat(scores).mean().item()
    save_release(ENCODER, "SparseStructureEncoder", ENCODER_ARGS, encoder)
    save_release(DECODER, "SparseStructureDecoder", DECODER_ARGS, decoder)
    report = {"steps": step, "seconds": time.time() - start, "held_out_iou": score, "latent_mean": mean.tolist()}
    report |= {"latent_std_before_fold": latents.std(dim=(0, 2, 3, 4)).tolist(), "history": history}
    write_text(options.run / "vae_report.json", json.dumps(report) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "history"}))


if __name__ == "__main__":
    main()
