"""Terrain's host steps as data, for embedders in any language. No torch."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gen3dexport.documents.host_steps import (
    CallProgram,
    Constant,
    HostSteps,
    Noise,
    Operation,
    Requested,
    Scale,
    SinhHeights,
)
from gen3dexport.models.terrain_consistency.host.conditioning import SIGMA_MAX, label, scalings, waves
from gen3dexport.models.terrain_consistency.host.heights import HIGHEST, KNEE, SPAN
from gen3dexport.models.terrain_consistency.host.settings import Settings


def host_steps(settings: Settings) -> HostSteps | None:
    """Noise to heights of one tile, at the difficulty that is set; another one is another number in `label`.

    None for a map of several tiles, which no operation fades into each other.
    """
    if settings.edge != settings.model.size:
        return None
    told = {
        "waves": waves(SIGMA_MAX, settings.model.frequencies),
        "label": label(settings.difficulty),
        "scalings": scalings(SIGMA_MAX),
    }
    steps: tuple[Operation, ...] = (
        Noise(shape=(1, 1, settings.edge, settings.edge), output="noise"),
        Scale(value="noise", factor=SIGMA_MAX, output="canvas"),
        *(_constant(name, numbers) for name, numbers in told.items()),
        CallProgram(
            component="unet", inputs={"noisy": "canvas", **{n: n for n in told}}, outputs={"denoised": "denoised"}
        ),
    )
    extent = settings.cell * (settings.edge - 1)
    rule = SinhHeights(value="denoised", knee=KNEE, span=SPAN, highest=HIGHEST, extent=extent)
    return HostSteps(request=Requested(seed=True), steps=steps, assets={"height_field": rule})


def _constant(name: str, numbers: NDArray[Any]) -> Constant:
    return Constant(shape=numbers.shape, numbers=tuple(numbers.ravel().tolist()), output=name)
