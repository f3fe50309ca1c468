"""Train the head on kept tokens, and write weights/depth-mini/head.safetensors.

    python -m training.depth_mini.tokens
    python -m training.depth_mini.train

The weights that are written are an average over the steps, in float16.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gen3dexport.networks.dpt import DptDecoder, DptHead, LinearConvolution
from training.depth_mini.digest import SCENES
from training.depth_mini.loss import loss_of, relative
from training.depth_mini.tokens import GRID, MODEL, RELEASE, RUNS, Store

_DECAY = 0.998  # of the average of the weights, which is what is written


def decoder() -> DptDecoder:
    """The head for the scenes' size, with random weights that are trained."""
    head = DptHead(MODEL.hidden_size, MODEL.neck_hidden_sizes, MODEL.fusion_hidden_size, MODEL.head_hidden_size)
    made = DptDecoder(head, (GRID, GRID), MODEL.patch_size).requires_grad_(True)
    last = made.output.get_submodule("2")
    assert isinstance(last, nn.Conv2d) and last.bias is not None
    nn.init.constant_(last.bias, 0.4)  # the mean nearness: a ReLU follows
    return made


def released(made: DptDecoder, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A decoder's tensors, by name, under the names and in the shapes of `DptHead`."""
    head = DptHead(MODEL.hidden_size, MODEL.neck_hidden_sizes, MODEL.fusion_hidden_size, MODEL.head_hidden_size)
    found: dict[str, Tensor] = {}

    def keep(theirs: str, module: nn.Module, ours: str) -> None:
        for name, like in module.named_parameters(prefix=theirs):
            inner = "linear." if isinstance(made.get_submodule(ours), LinearConvolution) else ""
            value = values[f"{ours}.{inner}{name.removeprefix(theirs + '.')}"]
            if inner and value.dim() == 2:  # neighbours before channels
                value = value.unflatten(1, (*like.shape[2:], like.shape[1])).permute(0, 3, 1, 2)
            found[name] = value.reshape(like.shape)

    for i in range(4):
        keep(f"projects.{i}", head.projects[i], f"projects.{i}")
        keep(f"resize_layers.{i}", head.resize_layers[i], f"resizes.{i}")
        keep(f"scratch.layer{i + 1}_rn", head.scratch.get_submodule(f"layer{i + 1}_rn"), f"laterals.{i}")
        fusion = f"scratch.refinenet{i + 1}"
        parts = {"out_conv": "project", "resConfUnit2": "unit", "resConfUnit1": "join"}
        for theirs, ours in parts.items():
            module = head.get_submodule(f"{fusion}.{theirs}")
            if i == 3 and ours == "join":  # the coarsest one joins nothing; its file has the tensors all the same
                found |= {name: torch.zeros_like(v) for name, v in module.named_parameters(prefix=f"{fusion}.{theirs}")}
            else:
                keep(f"{fusion}.{theirs}", module, f"fusions.{i}.{ours}")
    keep("scratch.output_conv1", head.scratch.get_submodule("output_conv1"), "narrow")
    for place in (0, 2):
        keep(f"scratch.output_conv2.{place}", head.get_submodule(f"scratch.output_conv2.{place}"), f"output.{place}")
    assert found.keys() == head.state_dict().keys()
    return {name: value.detach().half().contiguous() for name, value in found.items()}


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--run", type=Path, default=RUNS)
    parser.add_argument("--kept", type=int, help="scenes that the files have, when they are more")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    store, made = Store.opened(given.run, given.kept or given.scenes, "r"), decoder()
    optimiser = torch.optim.AdamW(made.parameters(), lr=given.rate, weight_decay=0.01, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min(1, (k + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1, k / given.steps)))
    )
    average = {name: value.detach().clone() for name, value in made.named_parameters()}
    start, order, losses = time.process_time(), np.array([], np.int64), []
    for step in range(given.steps):
        if len(order) < given.batch:
            order = draw.permutation(given.scenes)
        rows, order = np.sort(order[: given.batch]), order[given.batch :]
        tokens, nearness = store.of(rows)
        # The decoder takes tokens with the class token before the patches, which it does not read.
        taken = [torch.cat([part[:, :1], part], 1) for part in tokens]
        with torch.autocast("cpu", torch.bfloat16):
            found = made(taken)[:, 0].relu()
        loss = loss_of(found.float(), relative(nearness))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(_DECAY, (1 + step) / (10 + step))
        for name, value in made.named_parameters():
            average[name].lerp_(value.detach(), 1 - decay)
        losses.append(loss.item())
        if step % 50 == 49:
            print(step + 1, f"loss {np.mean(losses[-50:]):.4f}, {time.process_time() - start:.0f} s", flush=True)
        if step % 400 == 399 or step + 1 == given.steps:
            save_file(released(made, average), RELEASE / "head.safetensors")
            (RELEASE / "head.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
