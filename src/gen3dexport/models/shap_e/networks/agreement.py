"""What Shap-E's golden sets say: outputs of a network and of the sampler around it, found and expected."""

from __future__ import annotations

import math

import numpy as np

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.shap_e.host.diffusion import Sampler
from gen3dexport.models.shap_e.host.model import Scheduler
from gen3dexport.models.shap_e.host.schedule import walk
from gen3dexport.models.shap_e.networks.golden_sets import read_golden

read = read_golden


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    assert golden.component is not None
    given = golden.inputs()
    return golden.compared(_sampler(golden, run) if golden.subject == "sampler" else run(given))


def _sampler(golden: Golden, run: Run) -> Arrays:
    """The latents after every step, and the walk's sigmas and timesteps."""
    config, count = Scheduler.model_validate(golden.extra["scheduler"]), int(golden.extra["steps"])
    scale = float(golden.extra["guidance_scale"])
    sampler = Sampler(config, count, scale, batched=scale > 1)
    vector = golden.tensors["in.vector"].numpy()
    cond = (math.sqrt(vector.shape[-1]) * vector).astype(np.float32)
    after: list[np.ndarray] = []
    noise = golden.tensors["in.noise"].numpy()
    last = sampler.run(
        lambda inputs: run(inputs)["predicted"], noise, cond, lambda step, latents: after.append(latents)
    )
    steps, times = walk(config, count)
    return {
        "latents": last,
        "after_steps": np.stack(after),
        "sigmas": np.asarray([*(step.sigma for step in steps), 0.0]),
        "timesteps": np.asarray(list(times.values())),
    }
