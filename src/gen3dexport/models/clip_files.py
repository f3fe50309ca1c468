"""CLIP's halves as parts of a checkpoint folder: their configurations, in the transformers library's layout. No torch.

The folder has config.json and model.safetensors of `openai/clip-vit-large-patch14`, and tokenizer.json for prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import checked, fields_of
from gen3dexport.models.image_preparation import read_image
from gen3dexport.models.normalisation import CLIP

FOLDER = "clip-vit-large-patch14"
"""Where it lies in a checkpoint folder."""
MODEL = "openai/clip-vit-large-patch14"

_WHAT = "a configuration of CLIP in the transformers library's layout"

Size = Annotated[int, Field(ge=1, le=2**20)]
Epsilon = Annotated[float, Field(gt=0, le=1)]
Activation = Literal["gelu", "quick_gelu"]


class _Half(Record):
    """What both halves have; the library's names."""

    num_hidden_layers: Size
    num_attention_heads: Size
    hidden_size: Size
    intermediate_size: Size
    hidden_act: Activation = "quick_gelu"
    layer_norm_eps: Epsilon = 1e-5
    projection_dim: Size = 768

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"hidden_size={self.hidden_size} is no multiple of {self.num_attention_heads} heads")
        return self


class ClipText(_Half):
    """The half of prompts; ViT-L/14's where nothing else is said."""

    num_hidden_layers: Size = 12
    num_attention_heads: Size = 12
    hidden_size: Size = 768
    intermediate_size: Size = 3072
    vocab_size: Size = 49408
    max_position_embeddings: Annotated[int, Field(ge=3, le=2**16)] = 77


class ClipVision(_Half):
    """The half of pictures; ViT-L/14's where nothing else is said."""

    num_hidden_layers: Size = 24
    num_attention_heads: Size = 16
    hidden_size: Size = 1024
    intermediate_size: Size = 4096
    image_size: Size = 224
    patch_size: Size = 14

    @model_validator(mode="after")
    def _patches(self) -> Self:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size={self.image_size} is no multiple of patch_size={self.patch_size}")
        return self

    @property
    def grid(self) -> tuple[int, int]:
        """Channels and tokens of what it makes of a picture."""
        return self.hidden_size, (self.image_size // self.patch_size) ** 2


def read_half(folder: Path, half: type[ClipText] | type[ClipVision]) -> ClipText | ClipVision:
    """A half of the model in `folder`, by its config.json.

    Raises:
        UsageError: when the file is damaged, or of another model.
    """
    path = folder / "config.json"
    data = read_json(path, _WHAT)
    part, kinds = "text_config", ("clip", "clip_text_model")
    if half is ClipVision:
        part, kinds = "vision_config", ("clip", "clip_vision_model")
    if (kind := data.get("model_type")) not in kinds:
        raise UsageError(f"{path}: model_type is {shown(kind)}, and this pipeline takes {kinds[0]}: copy {MODEL}")
    own: Any = data.get(part, data)
    if not isinstance(own, Mapping):
        raise UsageError(f"{path}: {part} is no object; copy the file again")
    known = fields_of(half, own)
    if "projection_dim" in data:  # the whole model's counts
        known["projection_dim"] = data["projection_dim"]
    return checked(half, known, _WHAT, str(path), "copy it again")


def pixels(source: Any, size: int) -> NDArray[np.float32]:
    """A picture as CLIP takes it: [1, 3, size, size] float32, what is transparent on white.

    Its shorter edge is resized (bicubic), its middle cut out, its channels normalised.

    Args:
        source: a file's path, an uint8 array [H, W, 3 or 4], or a Pillow image.

    Raises:
        UsageError: when the picture cannot be read, or is too long and thin.
    """
    image = read_image(source)
    if image.mode == "RGBA":
        ground = Image.new("RGB", image.size, (255, 255, 255))
        ground.paste(image.convert("RGB"), (0, 0), image.getchannel("A"))
        image = ground
    short = min(image.size)
    if max(image.size) > 64 * short:
        raise UsageError(f"image: {image.width} x {image.height} pixels, of which only the middle square is looked at")
    wide, high = (size if edge == short else int(size * edge / short) for edge in image.size)
    resized = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    middle = np.asarray(resized.crop((left, top, left + size, top + size)), np.float32) / 255
    return CLIP.picture(middle)
