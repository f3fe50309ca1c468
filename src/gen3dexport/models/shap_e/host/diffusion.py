"""Shap-E's sampler: from noise to latents by the calls of the prior. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gen3dexport.models.guidance import Floats, Network, with_guidance
from gen3dexport.models.heun_sampler import sample
from gen3dexport.models.shap_e.host.model import Scheduler
from gen3dexport.models.shap_e.host.schedule import shrink, walk


@dataclass(frozen=True)
class Sampler:
    """A walk of the prior.

    Attributes:
        scheduler: its noise levels; steps: of the walk, each but the last with two predictions.
        guidance_scale: s in clean = u + s (c - u); 1 and less leave u out.
        batched: whether the network's batch holds both branches, that without a condition first.
    """

    scheduler: Scheduler
    steps: int
    guidance_scale: float
    batched: bool

    def run(
        self, network: Network, noise: Floats, cond: Floats, on_step: Callable[[int, Floats], None] | None = None
    ) -> Floats:
        """The latents [B, N, C] at the end.

        Args:
            network: the prior; it predicts latents [B, N, C].
            noise: of deviation 1, like them; cond: what the network takes beside; zeros in its place are no condition.
            on_step: called with (step, latents after it).
        """
        steps, times = walk(self.scheduler, self.steps)
        seen: list[Floats] = []

        def denoised(x: Floats, sigma: float) -> Floats:
            found = self._clean(network, (x * np.float32(shrink(sigma))).astype(np.float32), times[sigma], cond)
            most = self.scheduler.clip_sample_range
            return np.clip(found, -most, most) if self.scheduler.clip_sample else found

        x: Floats
        x, _ = sample(denoised, noise * np.float32(steps[0].sigma), steps, (), lambda step, at, clean: seen.append(at))
        for number, state in enumerate([*seen[1:], x]):
            if on_step is not None:
                on_step(number, state)
        return x

    @property
    def guided(self) -> bool:
        """Whether the branch without a condition is asked, too."""
        return self.guidance_scale > 1

    @property
    def calls(self) -> int:
        """Calls of the prior in one walk."""
        found = sum(step.calls for step in walk(self.scheduler, self.steps).steps)
        return found * (2 if self.guided and not self.batched else 1)

    def _clean(self, network: Network, x: Floats, t: float, cond: Floats) -> Floats:
        """The latents that are predicted, guided."""
        scale = self.guidance_scale if self.guided else None
        return with_guidance(
            network, lambda answer, x: answer[..., : x.shape[-1]], x, t, {"cond": cond}, scale, self.batched, "none"
        )
