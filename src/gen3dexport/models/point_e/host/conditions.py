"""What Point-E's networks are conditioned on: a prompt's tokens or a picture for CLIP, or given features. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.clip_files import ClipText, pixels
from gen3dexport.models.declaration import State
from gen3dexport.models.image_preparation import picture_alone
from gen3dexport.models.point_e.host.settings import Settings
from gen3dexport.models.tokens import tokenize


def begin_condition(settings: Settings, request: Request, files: Path) -> State:
    """What CLIP takes (`ids` and `end`, or `image`), or what it would make (`vector`, or `grid`).

    Raises:
        UsageError: for a request that the pipeline cannot take.
    """
    match settings.model.made_of:
        case "nothing":
            return _nothing(request)
        case "text":
            return _text(settings, request, files)
        case _:
            return _image(settings, request)


def _nothing(request: Request) -> State:
    told = {"image": request.image is not None, "features": request.features is not None}
    told["prompt"] = bool(request.prompt) and not request.stand_in
    if given := [name for name, there in told.items() if there]:
        raise UsageError(f"{given[0]}: this model makes clouds of nothing but the seed; leave it out")
    return {}


def _text(settings: Settings, request: Request, files: Path) -> State:
    if request.image is not None:
        raise UsageError("image: this model makes an asset of a prompt; give it that, and no image")
    rng = np.random.default_rng(request.seed)
    shape = settings.model.base.condition
    if request.features is None and request.stand_in and settings.clip_text is None:
        given = rng.standard_normal(shape, dtype=np.float32)
        return {"vector": (given / np.linalg.norm(given))[None]}
    if request.features is not None:
        vector = np.asarray(request.features, np.float32)
        if vector.shape not in (shape, (1, *shape)) or not np.isfinite(vector).all():
            raise UsageError(f"features: shape {list(vector.shape)}, and the model takes finite numbers {list(shape)}")
        if abs((length := float(np.linalg.norm(vector))) - 1) > 0.01:
            raise UsageError(f"features: of length {length:.3g}, and CLIP's vector has length 1; divide it by that")
        return {"vector": vector.reshape(1, *shape)}
    if (clip := settings.clip_text) is None:
        raise UsageError(
            "this pipeline was built without its text encoder, whose weights were not there; give it CLIP's vector of "
            f"the prompt {list(shape)}, of length 1 (--features FILE.npy)"
        )
    if request.stand_in and not settings.tokenizer:
        return _seeded(clip, rng)
    if not request.prompt.strip():
        raise UsageError('prompt: empty; say what to make, e.g. --prompt "a red motorcycle"')
    ids, mask = tokenize(request.prompt, clip.max_position_embeddings, files / "tokenizer.json", "end", "cut")
    return {"ids": ids, "end": _end(int(mask.sum()), clip)}


def _seeded(clip: ClipText, rng: np.random.Generator) -> State:
    """Token ids that stand in for a tokenizer's."""
    length = clip.max_position_embeddings
    return {"ids": rng.integers(0, clip.vocab_size, (1, length)), "end": _end(int(rng.integers(2, length + 1)), clip)}


def _end(count: int, clip: ClipText) -> np.ndarray:
    """1 at the end mark of so many tokens, 0 elsewhere [1, L]."""
    mark = np.zeros((1, clip.max_position_embeddings), np.float32)
    mark[0, count - 1] = 1
    return mark


def _image(settings: Settings, request: Request) -> State:
    if settings.clip_vision is not None:
        return {"image": pixels(picture_alone(request), settings.clip_vision.image_size)}
    width, tokens = settings.model.upsampler.condition
    if request.features is None and request.stand_in:
        given = np.random.default_rng(request.seed).standard_normal((tokens, width), dtype=np.float32)
    elif request.features is None:
        raise UsageError(
            "this pipeline was built without its image encoder, whose weights were not there; give it CLIP's tokens of "
            f"the picture {[tokens, width]} (--features FILE.npy)"
        )
    else:
        given = np.asarray(request.features, np.float32)
    if given.shape != (tokens, width) or not np.isfinite(given).all():
        raise UsageError(
            f"features: shape {list(given.shape)}, and the model takes finite numbers {[tokens, width]}: the last "
            "block's tokens of the picture without the class token"
        )
    return {"grid": np.ascontiguousarray(given.T)[None]}
