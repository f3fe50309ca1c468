"""What a flow's blocks make of the timestep, computed when a bundle is built: a table of the sampler's steps.

A flow reads the timestep alone through its embedding and through one linear layer in every block (adaLN: 27 % of the
weights of TRELLIS's flows), and a sampler calls it at a few fixed times. So the answers at those times, in float32,
take the place of the layers: the embedding becomes the weights of the steps at t (1 for the step at t, 0 for all
others), and each block's layer a linear layer from those weights to what it answered.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from gen3dexport.networks.step_weights import StepWeights


def tabulate_time(flow: nn.Module, timesteps: Sequence[float]) -> nn.Module:
    """`flow` (SparseStructureFlow or SLatFlow), in place, for these timesteps alone (times 1000, falling).

    A flow that is no wider than there are steps stays as it is: its table would be larger.
    """
    embedder, layers = flow.get_submodule("t_embedder"), _modulations(flow)
    width = layers[0][1].in_features
    if len(timesteps) >= width:
        return flow
    times = torch.tensor(timesteps, dtype=torch.float32, device=layers[0][1].weight.device)
    with torch.no_grad():
        embedded = embedder(times)
        for modulation, layer in layers:
            answers = modulation(embedded)
            table = nn.Linear(len(times), layer.out_features, bias=False, device=times.device)
            table.weight = nn.Parameter(answers.t().contiguous(), requires_grad=False)
            modulation[0], modulation[1] = nn.Identity(), table
    flow.add_module("t_embedder", StepWeights(times))
    return flow


def _modulations(flow: nn.Module) -> list[tuple[nn.Sequential, nn.Linear]]:
    """Every SiLU and linear layer that reads the timestep embedding, with that layer."""
    found = []
    for name, part in flow.named_modules():
        if name.endswith(("adaLN_modulation", "emb_layers")):
            assert isinstance(part, nn.Sequential) and isinstance(part[1], nn.Linear)
            found.append((part, part[1]))
    return found
