"""What CLIP's half of prompts is given, or what stands for its answer. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models.clip_files import ClipText, ClipVision, pixels
from gen3dexport.models.declaration import State
from gen3dexport.models.image_preparation import picture_alone
from gen3dexport.models.tokens import tokenize


def of_prompt(request: Request, clip: ClipText | None, tokenizer: Path | None, width: int) -> State:
    """`ids` and `end` for the text encoder (see `networks.clip_vectors`), or given features as its `vector` [1, width].

    Args:
        clip: None where the pipeline has no text encoder.
        tokenizer: its file; None where only the size of the programs counts.

    Raises:
        UsageError: for a request without a prompt, or with more than that.
    """
    if request.image is not None:
        raise UsageError("image: this model makes an asset of a prompt; give it that, and no image")
    rng = np.random.default_rng(request.seed)
    if request.features is None and request.stand_in and clip is None:
        given = rng.standard_normal(width, dtype=np.float32)
        return {"vector": (given / np.linalg.norm(given))[None]}
    if request.features is not None:
        vector = np.asarray(request.features, np.float32)
        if vector.shape not in ((width,), (1, width)) or not np.isfinite(vector).all():
            raise UsageError(f"features: shape {list(vector.shape)}, and the model takes finite numbers [{width}]")
        if abs((length := float(np.linalg.norm(vector))) - 1) > 0.01:
            raise UsageError(f"features: of length {length:.3g}, and CLIP's vector has length 1; divide it by that")
        return {"vector": vector.reshape(1, width)}
    if clip is None:
        raise UsageError(
            "this pipeline was built without its text encoder, whose weights were not there; give it CLIP's vector of "
            f"the prompt [{width}], of length 1 (--features FILE.npy)"
        )
    if request.stand_in and tokenizer is None:
        return _seeded(clip, rng)
    if not request.prompt.strip():
        raise UsageError('prompt: empty; say what to make, e.g. --prompt "a red motorcycle"')
    if tokenizer is None:
        raise UsageError("prompt: this bundle was built for sizing, without a tokenizer; build it with weights")
    ids, mask = tokenize(request.prompt, clip.max_position_embeddings, tokenizer, "end", "cut")
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


def of_picture(request: Request, clip: ClipVision | None, tokens: int, width: int) -> State:
    """`image` for the image encoder (see `networks.clip_vectors`), or given features as its `grid` [1, width, tokens].

    Args:
        clip: None where the pipeline has no image encoder.

    Raises:
        UsageError: for a request without a picture, or with more than that.
    """
    if clip is not None:
        return {"image": pixels(picture_alone(request), clip.image_size)}
    return {"grid": np.ascontiguousarray(_of_tokens(request, tokens, width).T)[None]}


def _of_tokens(request: Request, tokens: int, width: int) -> np.ndarray:
    """Given features [tokens, width] that stand for CLIP's tokens of a picture; seeded ones for golden data.

    Raises:
        UsageError: for a request without them, or with others.
    """
    if request.features is None and request.stand_in:
        return np.random.default_rng(request.seed).standard_normal((tokens, width), dtype=np.float32)
    if request.features is None:
        raise UsageError(
            "this pipeline was built without its image encoder, whose weights were not there; give it CLIP's tokens of "
            f"the picture {[tokens, width]} (--features FILE.npy)"
        )
    given = np.asarray(request.features, np.float32)
    if given.shape != (tokens, width) or not np.isfinite(given).all():
        raise UsageError(
            f"features: shape {list(given.shape)}, and the model takes finite numbers {[tokens, width]}: the last "
            "block's tokens of the picture without the class token"
        )
    return given
