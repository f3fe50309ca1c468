"""What Point-E's golden sets say: outputs of a network and of the sampler around it, found and expected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.point_e.host.diffusion import Stage, guided
from gen3dexport.models.point_e.host.model import Denoising, parse_network
from gen3dexport.models.point_e.host.schedule import Betas, signal, timestep, walk
from gen3dexport.models.point_e.networks.denoiser import Denoiser, timestep_features
from gen3dexport.models.point_e.networks.golden_sets import Field, conditions, read_golden

read = read_golden

NOISE: Mapping[str, float] = {"sample": 4e-4, "pred_progress": 4e-4}
"""Outputs whose reference is not exact, and by how much: a walk multiplies rounding by its largest sigma. 4e-4 of a
colour's 255 is a tenth."""


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    assert golden.component is not None
    given = golden.inputs()
    makers = {"denoiser": _denoiser, "sampler": _sampler, "sdf": _sdf}
    return golden.compared(makers[golden.subject](golden, given, run))


def _denoiser(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """Noise and variance, and by themselves, eagerly, the steps to what the second block takes."""
    assert golden.component is not None
    network, inputs = golden.component.module, golden.component.inputs
    assert isinstance(network, Denoiser)
    found: dict[str, Tensor] = {"timestep_embedding": timestep_features(inputs["t"], network.width)}
    with torch.no_grad():
        found["t_embed"] = network.time_token(inputs["t"])
        (x,) = network.before(*inputs.values())
        first = network.blocks[0]
        found |= {"ln_pre": x, "block0_attn": first.attn(first.ln_1(x)), "block0": first(x)}  # type: ignore[operator]
    return run(given) | {name: value.numpy() for name, value in found.items()}


def _sdf(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The field, and by themselves, eagerly, the cloud's tokens after the encoder."""
    assert golden.component is not None and isinstance(golden.component.module, Field)
    encoder = golden.component.module.encoder
    with torch.no_grad():
        (x,) = encoder.before(golden.component.inputs["cloud"])
        for block in encoder.blocks:
            x = block(x)
    return {"sdf": run(given)["sdf"][..., 0], "latents": x.numpy()}


def _sampler(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The cloud, x and the prediction at each step, sigmas and timesteps."""
    extra = golden.extra
    network = parse_network(extra["model"], "", whole=False)
    assert isinstance(network, Denoising)
    betas: Betas = "linear" if "upsample" in str(extra["diffusion"]) else "cosine"
    steps = walk(extra["steps"], extra["sigma_max"], extra["s_churn"], extra["sigma_min"], extra["rho"])
    scale = float(extra["guidance_scale"])
    stage = Stage(network, betas, steps, scale, batched=guided(scale))
    noise = golden.tensors["in.noise"].numpy()
    states: list[tuple[np.ndarray, np.ndarray]] = []
    last = stage.run(
        lambda inputs: run(inputs)["eps_var"],
        noise,
        {name: value.numpy() for name, value in conditions(golden.tensors).items()},
        lambda step, x, clean: states.append((x, clean)),
    )
    xs, cleans = (np.stack(column) for column in zip(*states, last, strict=True))
    return {
        "sample": last[1],
        "x_progress": xs,
        "pred_progress": cleans,
        "sigmas": np.asarray([*(step.sigma for step in steps), 0.0]),
        "t_of_sigma": np.asarray([timestep(step.sigma, betas) for step in steps]),
        "alphas_cumprod": signal(betas),
    }
