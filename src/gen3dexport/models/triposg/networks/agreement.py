"""What TripoSG's golden sets say: outputs of a network and of the sampler around it, found and expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gen3dexport.models.flow_sampler import sample
from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.point_queries import in_chunks
from gen3dexport.models.triposg.host.settings import schedule
from gen3dexport.models.triposg.networks.golden_sets import Decoded, read_golden
from gen3dexport.models.triposg.networks.transformer import Flow, TimeEmbedding, sinusoid
from gen3dexport.networks.point_features import point_features

read = read_golden


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    assert golden.component is not None
    given = golden.inputs()
    makers = {"dit": _flow, "sampler": _sampler, "vae": _decoder}
    return golden.compared(makers.get(golden.subject, _network)(golden, given, run))


def _network(golden: Golden, given: Arrays, run: Run) -> Arrays:
    return run(given)


def _flow(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The velocity, and by themselves, eagerly, what becomes of the timestep."""
    assert golden.component is not None
    flow, t = golden.component.module, golden.component.inputs["t"]
    assert isinstance(flow, Flow) and isinstance(flow.time_proj, TimeEmbedding)
    with torch.no_grad():
        steps = {"time_sinusoid": sinusoid(t, flow.time_proj.width).numpy(), "time_proj": flow.time_proj(t).numpy()}
    return run(given) | steps


def _decoder(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """Logits of all points, a chunk of the program's size a call, and by themselves, eagerly, the points' features."""
    assert golden.component is not None
    whole, points = golden.component.module, golden.tensors["in.queries"]
    assert isinstance(whole, Decoded)
    logits = in_chunks(run, given, points.numpy(), "logits")["logits"]
    with torch.no_grad():
        steps = {
            "post_quant": whole.decoder.post_quant(golden.tensors["in.z"]).numpy(),
            "query_embedding": point_features(points, whole.query.get_buffer("frequencies")).numpy(),
        }
    return steps | {"logits": logits, "logits_chunked": logits}


def _sampler(golden: Golden, given: Arrays, run: Run) -> Arrays:
    """The latents after every step, and the times of the steps."""
    extra: Mapping[str, Any] = golden.extra
    steps, states = schedule(extra["steps"], extra["guidance_scale"], extra["shift"]), []

    def velocity(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
        cond = given["cond"] if conditional else np.zeros_like(given["cond"])
        times = np.full(len(x), t, np.float32)
        return run({"x": x.astype(np.float32), "t": times, "cond": cond})["v"]

    sample(velocity, given["x"], steps, lambda step, x, clean: states.append(x))
    sigmas = np.asarray(steps.times)
    return {"latents": np.stack(states), "sigmas": sigmas, "timesteps": 1000 * sigmas[:-1]}
