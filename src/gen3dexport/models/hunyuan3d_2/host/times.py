"""The times of Hunyuan3D-2's samplers. No torch.

The networks' time s runs from 0 (noise) to 1; a `Schedule`'s t is 1 - s. Source: Zhao et al. 2025, "Hunyuan3D 2.0".
"""

from __future__ import annotations

from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.hunyuan3d_2.host.model import Scheduler

_TRAINED = 1000  # times of training


def schedule(scheduler: Scheduler, steps: int, guidance_scale: float, distilled: bool) -> Schedule:
    """The steps of a sampler; of n even ones the last has width 0, and is left out.

    Args:
        guidance_scale: g in v = u + g (c - u); a distilled model has it as an input, and one call a step.
    """
    scale = 0.0 if distilled else guidance_scale - 1
    if scheduler.kind == "flow":
        # s = h s' / (1 + (h - 1) s') is t = t' / h / (1 + (1 / h - 1) t').
        return Schedule(max(steps - 1, 1), scale, (0.0, 1.0), 1 / scheduler.shift, toward_data=True)
    times = tuple(1 - taught(scheduler.pcm_timesteps)[i * scheduler.pcm_timesteps // steps] for i in range(steps))
    return Schedule(steps, scale, (0.0, 1.0), 1.0, toward_data=True, step_times=times)


def taught(count: int) -> list[float]:
    """The times s that a distilled model was taught."""
    every = [i / (_TRAINED - 1) for i in range(_TRAINED)]
    return [every[0], *(every[k * (_TRAINED // count) - 1] for k in range(1, count))]
