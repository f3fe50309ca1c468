"""Hunyuan3D-2's pipeline on the host: picture -> image tokens -> latent set -> keys and values -> inside or not at
points -> mesh. No torch.

The cube that the decoder is asked in is [-1.01, 1.01]^3; axes are those of `models.vector_set`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from gen3dexport.models import Request, vector_set
from gen3dexport.models.declaration import AS_STORED, Declaration, Load, Reading, State, Weights
from gen3dexport.models.hunyuan3d_2.host.picture import pixels
from gen3dexport.models.hunyuan3d_2.host.settings import Settings, network_time

BOUND = 1.01
"""Half the edge of the cube that the decoder is asked in."""

CHECKPOINT = "model.fp16"


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The image encoder, the flow, what the decoder makes of a latent set once, and what it makes of a point."""
    found = vector_set.Surface(BOUND, settings.chunk, settings.resolution, settings.coarse)
    checkpoints = dict.fromkeys(vector_set.OUTPUTS, CHECKPOINT)
    return vector_set.declarations(checkpoints, partial(_loader, settings), settings.sampler, network_time, found)


def _loader(settings: Settings, name: str) -> Load:
    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.hunyuan3d_2.networks.loading import load_component

        return load_component(name, settings, folder / CHECKPOINT, weights, reading)

    return load


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The picture's pixels and the noise.

    Raises:
        UsageError: for a request without a picture, or with more than that.
        MissingError: when the picture's background must be removed and the package for that is not here.
    """
    latent = (1, settings.model.vae.num_latents, settings.model.vae.embed_dim)
    size = settings.model.image_encoder.image_size
    return vector_set.begin(request, lambda image: pixels(image, size), latent, xp)


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The mesh of a finished state; one without triangles where no point is inside."""
    return vector_set.make_assets(state, settings.resolution)
