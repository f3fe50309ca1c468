"""Train the structure flow (after train_vae): `python -m training.trellis_mini.train_flow`.  Resumes its last state.

Rectified flow on the VAE's latents, at logit-normal times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gen3dexport.models.trellis.networks import structure as networks
from gen3dexport.models.trellis.networks.structure import SparseStructureEncoder, SparseStructureFlow
from training.trellis_mini.checkpoint import DECODER, ENCODER, FLOW, RELEASE, RUNS, load_release, save_release
from training.trellis_mini.dataset import category_weights, training_features
from training.trellis_mini.run import Run, adamw, decay_groups, flow_loss, read_options
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


class HeldOutScore:
    """IoU of what a structure flow makes of the held-out captions, or of others of the same shapes."""

    def __init__(self, captions: Sequence[str] = ()) -> None:
        self.held_out, self.decoder, text = load_held_out(), load_release(DECODER), TextEncoder()
        self.features, self.empty = text(captions or self.held_out.captions), text([""])

    def __call__(self, flow: nn.Module, settings: Settings, count: int | None) -> float:
        """Mean over the first `count` captions."""
        truth, seeds = self.held_out.occupancy[:count], self.held_out.seeds[:count]
        answer = generate(flow, self.decoder, self.features[:count], self.empty, seeds, settings)
        return float(ious(answer > 0, truth).mean())


def release(run: Run, copy: nn.Module, score: HeldOutScore, settings: Settings, folder: Path = RELEASE) -> None:
    """Write the average, in a copy of the model, and the run; score it, before the last step on 64 captions."""
    run.average.copy_to(copy)
    run.history[-1]["held_out_iou"] = score(copy, settings, None if run.done else 64)
    print("held-out IoU", round(run.history[-1]["held_out_iou"], 4), flush=True)
    save_release(FLOW, "SparseStructureFlowModel", {**FLOW_ARGS, "pe_mode": "ape"}, copy, folder)
    run.save()
    run.report(steps=run.options.steps, batch=run.options.batch)


def main() -> None:
    """Train, and refresh the released EMA weights every `--release-every` steps."""
    options = read_options(__doc__, RUNS, steps=5800, batch=64, lr=8e-4, release_every=250)
    networks.attend = plain_attention
    shapes, _ = all_shapes()
    captions, cache = training_features(shapes, options.run)
    encoder = load_release(ENCODER)
    assert isinstance(encoder, SparseStructureEncoder)
    latents = encode_all(encoder, pack(shapes))
    chance = category_weights(shapes)
    score = HeldOutScore()
    model = SparseStructureFlow(**FLOW_ARGS)  # type: ignore[arg-type]
    initialise(model)
    run = Run("flow", options, model, adamw(decay_groups(model), options.lr), 0.998)
    copy = SparseStructureFlow(**FLOW_ARGS).eval()  # type: ignore[arg-type]
    while not run.done:
        generator = run.begin(2)
        run.set_rate(200, 0.01)
        chosen = generator.choice(len(shapes), options.batch, p=chance)
        wording = captions.rows[chosen, generator.integers(0, captions.rows.shape[1], options.batch)]
        wording[generator.random(options.batch) < DROP] = captions.empty
        run.update([flow_loss(model, latents[chosen], generator, draw_times, cache.batch(wording.tolist()))])
        run.note_means(25)
        if run.step % options.release_every == 0 or run.done:
            release(run, copy, score, Settings(8, 1.0))


if __name__ == "__main__":
    main()
