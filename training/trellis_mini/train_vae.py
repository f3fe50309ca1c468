"""Train the structure VAE: `python -m training.trellis_mini.train_vae`.  Resumes from training/runs/trellis_mini."""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.models.trellis.networks.structure import SparseStructureDecoder, SparseStructureEncoder
from training.trellis_mini.checkpoint import DECODER, ENCODER, RUNS, save_release
from training.trellis_mini.run import Run, adamw, read_options
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
    options = read_options(__doc__, RUNS, steps=1250, batch=16, lr=2e-3)
    training, held_out = (pack(shapes) for shapes in all_shapes())
    encoder, decoder = SparseStructureEncoder(**ENCODER_ARGS), SparseStructureDecoder(**DECODER_ARGS)  # type: ignore[arg-type]
    models = torch.nn.ModuleList([encoder, decoder]).to(memory_format=torch.channels_last_3d)
    run = Run("vae", options, models, adamw(models.parameters(), options.lr, fused=None), 0.995)
    while not run.done:
        generator = run.begin(1)
        run.set_rate(50, 0.02)
        chosen = generator.integers(0, len(training), options.batch)
        truth = torch.from_numpy(unpack(training[chosen])).float()[:, None]
        noise = torch.from_numpy(generator.standard_normal((options.batch, LATENT, 8, 8, 8), np.float32))
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = encoder(truth.contiguous(memory_format=torch.channels_last_3d))
            mean, log_variance = mean.float(), log_variance.float().clamp(-20, 10)
            logits = decoder(mean + noise * (0.5 * log_variance).exp()).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        loss = reconstruction_loss(logits, truth) + KL_WEIGHT * kl
        run.update([loss])
        if run.step % 25 == 0:
            run.note({"loss": loss.item(), "kl": kl.item(), "iou": iou(logits, truth).mean().item()})
        if run.step % 250 == 0 or run.done:
            run.save()
    run.average.copy_to(models)
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
    report = {"steps": run.step, "held_out_iou": score, "latent_mean": mean.tolist()}
    report |= {"latent_std_before_fold": latents.std(dim=(0, 2, 3, 4)).tolist()}
    run.report(**report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
