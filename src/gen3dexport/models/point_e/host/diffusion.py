"""Point-E's sampler: from noise to a cloud in the release's units, by the calls of a network. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gen3dexport.models.guidance import Arrays, Floats, Network, with_guidance
from gen3dexport.models.heun_sampler import HeunStep, sample
from gen3dexport.models.point_e.host.model import Denoising
from gen3dexport.models.point_e.host.schedule import Betas, Level


@dataclass(frozen=True)
class Stage:
    """One of the two walks.

    Attributes:
        config: its network's configuration.
        betas: see `schedule.signal`; steps: see `schedule.walk`.
        guidance_scale: s in clean = u + s (c - u); 0 and 1 leave u out.
        batched: whether the network's batch holds both branches, c first.
    """

    config: Denoising
    betas: Betas
    steps: list[HeunStep]
    guidance_scale: float
    batched: bool

    @property
    def guided(self) -> bool:
        """Whether the branch without a condition is asked, too."""
        return guided(self.guidance_scale)

    @property
    def calls(self) -> int:
        """Calls of the network in one walk."""
        return sum(step.calls for step in self.steps) * (2 if self.guided and not self.batched else 1)

    def unscaled(self, x: Floats) -> Floats:
        """A cloud [..., 6, n] in the release's units: places within about +-0.5, colours 0 to 255."""
        scales, biases = (np.asarray(v, np.float32)[:, None] for v in self._channels)
        found: Floats = ((x - biases) / scales).astype(np.float32)
        return found

    @property
    def _channels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.config.channel_scales, self.config.channel_biases

    def run(
        self,
        network: Network,
        noise: Floats,
        given: Arrays,
        on_step: Callable[[int, Floats, Floats], None] | None = None,
    ) -> tuple[Floats, Floats]:
        """The last x and the last prediction, both unscaled.

        Args:
            network: its answer is [B, 12, n], whose first six channels are the noise.
            noise: [1 + steps, B, 6, n]: what the walk begins with, and what each step adds; the first alone where none
                adds any.
            given: what the network takes beside x and t, each [B, ...]; zeros in their place are no condition.
            on_step: called with (step, x with its fresh noise, the cloud predicted there), unscaled.
        """

        def denoised(x: Floats, sigma: float) -> Floats:
            return self._clean(network, x, Level.at(sigma, self.betas), given)

        told = on_step and (lambda step, x, clean: on_step(step, self.unscaled(x), self.unscaled(clean)))
        x, clean = sample(denoised, noise[0] * np.float32(self.steps[0].sigma), self.steps, noise[1:], told)
        return self.unscaled(x), self.unscaled(clean)

    def _clean(self, network: Network, x: Floats, level: Level, given: Arrays) -> Floats:
        """The predicted cloud: each branch's within [-1, 1], then guided."""

        def predicted(answer: Floats, x: Floats) -> Floats:
            clean = x * np.float32(level.of_input) - answer[:, : x.shape[1]] * np.float32(level.of_noise)
            return np.clip(clean, -1, 1)

        scaled = (x * np.float32(level.shrink)).astype(np.float32)
        scale = self.guidance_scale if self.guided else None
        return with_guidance(network, predicted, scaled, level.t, given, scale, self.batched)


def guided(scale: float) -> bool:
    """Whether a scale guides at all."""
    return scale not in (0.0, 1.0)
