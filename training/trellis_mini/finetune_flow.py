"""Teach the trained structure flow captions that name colours: `python -m training.trellis_mini.finetune_flow`.

Starts from weights/trellis-mini, writes weights/trellis-mini-color; resumes from training/runs/trellis_mini_color.
"""

from __future__ import annotations

import shutil

import torch

from gen3dexport.models.trellis.networks import structure as networks
from gen3dexport.models.trellis.networks.structure import SparseStructureEncoder
from training.trellis_mini.checkpoint import DECODER, ENCODER, FLOW, RELEASE, load_release
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
from training.trellis_mini.run import Run, adamw, flow_loss, read_options
from training.trellis_mini.shapes import all_shapes, pack
from training.trellis_mini.train_flow import DROP, HeldOutScore, draw_times, plain_attention, release
from training.trellis_mini.train_vae import encode_all

PLAIN_SHARE = 0.3


def main() -> None:
    """Train; refresh the released EMA weights and their score every 200 steps."""
    options = read_options(__doc__, COLOR_RUNS, steps=1600, batch=64, lr=2.5e-4)
    networks.attend = plain_attention
    write_held_out()
    for name in (DECODER, ENCODER):
        for suffix in (".json", ".safetensors"):
            (COLOR_RELEASE / "ckpts").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(RELEASE / "ckpts" / (name + suffix), COLOR_RELEASE / "ckpts" / (name + suffix))
    shapes, _ = all_shapes()
    cache = training_features(training_items(shapes), options.run)
    captions, plain_cache = plain_features(shapes)
    encoder = load_release(ENCODER)
    assert isinstance(encoder, SparseStructureEncoder)
    latents, chance = encode_all(encoder, pack(shapes)), category_weights(shapes)
    score = HeldOutScore([item.caption for item in held_out_items()])
    model, copy = load_release(FLOW).train().requires_grad_(True), load_release(FLOW)
    run = Run("structure", options, model, adamw(model.parameters(), options.lr), 0.995)
    while not run.done:
        generator = run.begin(3)
        run.set_rate(50, 0.01)
        chosen = generator.choice(len(shapes), options.batch, p=chance)
        colored = generator.random(options.batch) >= PLAIN_SHARE
        row = LOOKS * chosen + generator.integers(0, LOOKS, options.batch)
        row[generator.random(options.batch) < DROP] = LOOKS * len(shapes)
        plain = captions.rows[chosen, generator.integers(0, captions.rows.shape[1], options.batch)]
        cond = torch.where(
            torch.from_numpy(colored)[:, None, None], cache.batch(row.tolist()), plain_cache.batch(plain.tolist())
        )
        run.update([flow_loss(model, latents[chosen], generator, draw_times, cond)])
        run.note_means(25)
        if run.step % 200 == 0 or run.done:
            release(run, copy, score, read_settings(), COLOR_RELEASE)


if __name__ == "__main__":
    main()
