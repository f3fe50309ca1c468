"""The encoders that released pipelines name: where their weights lie, and what they take and give. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, ValidationInfo, field_validator

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

Architecture = Literal["dinov2", "clip"]


class Encoder(Record):
    """The network that makes the condition features; stored in the settings.

    Attributes:
        architecture: DINOv2 with registers, of an image; CLIP's text model, of a prompt.
        config: its configuration, in the names of its released `config.json`.
        tokenizer: whether the bundle has its tokenizer; False where only the size of the programs counts.
    """

    architecture: Architecture
    config: dict[str, Any]
    tokenizer: bool = False

    @field_validator("config")
    @classmethod
    def _like_the_released(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        known = [r.config for r in _RELEASED.values() if r.architecture == info.data.get("architecture")]
        released = known[0] if known and value else {}
        if wrong := [key for key in released if not _alike(key, value.get(key), released[key])]:
            said = ", ".join(f"{key}={shown(value.get(key))}" for key in wrong)
            raise ValueError(f"no such encoder has {said}; copy the file again")
        if released and value["hidden_size"] % value["num_attention_heads"]:
            heads = value["num_attention_heads"]
            raise ValueError(f"hidden_size={value['hidden_size']} is no multiple of num_attention_heads={heads}")
        return value

    @property
    def reads_image(self) -> bool:
        """Whether it takes an image; else token ids of a prompt."""
        return self.architecture == "dinov2"

    @property
    def component(self) -> str:
        """Its name in the pipeline."""
        return "image_encoder" if self.reads_image else "text_encoder"

    @property
    def condition(self) -> tuple[int, int]:
        """Tokens and width of its features."""
        c = self.config
        if not self.reads_image:
            return c["max_position_embeddings"], c["hidden_size"]
        return 1 + c["num_register_tokens"] + (c["image_size"] // c["patch_size"]) ** 2, c["hidden_size"]

    @property
    def image_size(self) -> int:
        """Edge of the images that it takes, in pixels."""
        return int(self.config["image_size"])


@dataclass(frozen=True)
class _Released:
    architecture: Architecture
    repository: str
    config: Mapping[str, Any]


_RELEASED = {
    "dinov2_vitl14_reg": _Released(
        "dinov2",
        "facebook/dinov2-with-registers-large",
        {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "mlp_ratio": 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "image_size": 518,
            "patch_size": 14,
            "num_channels": 3,
            "qkv_bias": True,
            "num_register_tokens": 4,
            "use_swiglu_ffn": False,
        },
    ),
    "openai/clip-vit-large-patch14": _Released(
        "clip",
        "openai/clip-vit-large-patch14",
        {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    ),
}
_ACTIVATIONS = ("gelu", "quick_gelu")
_MODEL_TYPES: dict[Architecture, tuple[str, ...]] = {
    "dinov2": ("dinov2_with_registers",),
    "clip": ("clip", "clip_text_model"),
}


def _alike(key: str, value: Any, released: Any) -> bool:
    """Whether a configuration's value is of the released one's type, and a number that counts or scales something."""
    if key == "hidden_act":
        return value in _ACTIVATIONS
    if isinstance(released, bool | str) or isinstance(value, bool):
        return type(value) is type(released)
    number = int | float if isinstance(released, float) or key == "mlp_ratio" else int
    return isinstance(value, number) and (0 < value <= 2**20 or (value == 0 and key == "num_register_tokens"))


def component_of(name: str | None) -> str | None:
    """The component that an encoder is, by the name that `pipeline.json` gives it; None for one unknown here."""
    released = _RELEASED.get(name or "")
    return None if released is None else Encoder(architecture=released.architecture, config={}).component


def read_encoder(
    folder: Path, name: str | None, chosen: str | None, random_weights: bool
) -> tuple[Encoder, str] | None:
    """The encoder that a pipeline names, and its checkpoint relative to the weights `folder`; None when it is left out.

    It lies in `folder`/encoders/NAME, NAME being the last part of its name, in the transformers library's layout:
    config.json, model.safetensors and, of a text encoder, tokenizer.json. Where it does not, it is left out, and
    features are given instead; for sizing, its released configuration is enough.

    Args:
        name: what `pipeline.json` calls it.
        chosen: the recipe's choice: another folder, or `none`.

    Raises:
        UsageError: when the chosen folder is not there, or is not such an encoder.
    """
    released = _RELEASED.get(name or "")
    if chosen not in (None, "none") and released is None:
        known = ", ".join(_RELEASED)
        raise UsageError(f"encoder: {folder / 'pipeline.json'} names none of {known}, so there is none to replace")
    if released is None or chosen == "none":
        return None
    assert name is not None
    own = f"encoders/{name.rpartition('/')[2]}"
    place = folder / own if chosen is None else Path(chosen).expanduser().absolute()
    if os.path.lexists(place / "config.json"):  # also a link to nothing, which reading tells
        checkpoint = f"{own}/model" if chosen is None else f"{place}/model"
        return _read(place, released, random_weights), checkpoint
    if chosen is not None:
        raise UsageError(f"encoder: {place}: no config.json; {how_to_get(name)} and name that folder")
    return (
        (Encoder(architecture=released.architecture, config=dict(released.config)), f"{own}/model")
        if random_weights
        else None
    )


def how_to_get(name: str) -> str:
    """What a user does to have the encoder of that name."""
    released = _RELEASED[name]
    files = "config.json, model.safetensors" + (", tokenizer.json" if released.architecture == "clip" else "")
    return f"copy {files} of {released.repository} into a folder"


def _read(place: Path, released: _Released, random_weights: bool) -> Encoder:
    path = place / "config.json"
    given = read_json(path, "a configuration of the transformers library")
    try:
        model_type = given["model_type"]
        given = given.get("text_config", given) if released.architecture == "clip" else given
        config = {key: given.get(key, value) for key, value in released.config.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path}: not a configuration of the transformers library ({error!r}); copy it again"
        ) from error
    if model_type not in _MODEL_TYPES[released.architecture]:
        known = " or ".join(_MODEL_TYPES[released.architecture])
        raise UsageError(
            f"{path}: model_type {shown(model_type)}, and this pipeline takes {known}: copy {released.repository}"
        )
    tokenizer = (place / "tokenizer.json").is_file()
    if released.architecture == "clip" and not tokenizer and not random_weights:
        raise UsageError(f"{place / 'tokenizer.json'}: not found; copy it from {released.repository}")
    try:
        return Encoder(architecture=released.architecture, config=config, tokenizer=tokenizer)
    except ValidationError as error:
        raise UsageError(f"{path}: {told(error)}") from error
