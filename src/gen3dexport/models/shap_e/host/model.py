"""Shap-E's networks by the configurations of a published folder, in the names of the diffusers library. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.plain import shown
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError
from gen3dexport.models.configuration import check_equal, checked

INDEX = "model_index.json"
"""The file that every checkpoint folder has."""
PIPELINES: Mapping[str, Literal["text", "image"]] = {"ShapEPipeline": "text", "ShapEImg2ImgPipeline": "image"}
"""The library's pipeline -> what it makes assets of."""
POSITION_DEGREES, DIRECTION_DEGREES = 15, 8
"""Frequencies of the features of a point, and of a direction."""
POSITION_FEATURES, DIRECTION_FEATURES = 3 * (1 + 2 * POSITION_DEGREES), 3 * (1 + 2 * DIRECTION_DEGREES)
SDF, COLOR = slice(0, 1), slice(3, 6)
"""Channels of the query network: the distance, and the colour of the surface."""
CHANNELS = 12

_WHAT = "a Shap-E configuration of the diffusers library"

Size = Annotated[int, Field(ge=1, le=2**14)]
Even = Annotated[int, Field(ge=2, le=2**14, multiple_of=2)]


class Prior(Record):
    """The diffusion transformer of latents [num_embeddings, embedding_dim]."""

    num_attention_heads: Size
    attention_head_dim: Size
    num_layers: Size
    embedding_dim: Even
    num_embeddings: Size
    additional_embeddings: Literal[0] = 0
    embedding_proj_dim: Size
    time_embed_dim: Size | None = None
    time_embed_act_fn: Literal["gelu", "silu"] = "silu"
    norm_in_type: Literal["layer"]
    embedding_proj_norm_type: Literal["layer"] | None = None
    encoder_hid_proj_type: None = None
    added_emb_type: None = None
    clip_embed_dim: Size | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % 2:
            raise ValueError(f"heads times attention_head_dim, {self.width}, is odd")
        if self.outputs < self.embedding_dim:
            raise ValueError(f"clip_embed_dim={self.outputs} is less than embedding_dim={self.embedding_dim}")
        return self

    @property
    def width(self) -> int:
        """Of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def outputs(self) -> int:
        """Channels that it gives; the first `embedding_dim` are the latents."""
        return self.clip_embed_dim or self.embedding_dim


class Renderer(Record):
    """The networks that make layers of latents, and that ask them at points."""

    param_names: tuple[str, ...] = tuple(f"nerstf.mlp.{k}.weight" for k in range(4))
    param_shapes: tuple[tuple[Size, Size], ...] = ((256, 93), (256, 256), (256, 256), (256, 256))
    d_latent: Size = 1024
    d_hidden: Size = 256
    n_output: Literal[12] = 12
    n_hidden_layers: Annotated[int, Field(ge=2, le=64)] = 6
    act_fn: Literal["swish", "silu"] = "swish"
    insert_direction_at: Annotated[int, Field(ge=1, le=64)] = 4
    background: tuple[float, float, float] = (255.0, 255.0, 255.0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        count = len(self.param_shapes)
        if self.param_names != tuple(f"nerstf.mlp.{k}.weight" for k in range(count)):
            raise ValueError("param_names: need nerstf.mlp.0.weight, nerstf.mlp.1.weight, ... for each of param_shapes")
        if not 2 <= count <= self.n_hidden_layers:
            raise ValueError(f"param_shapes: {count} layers; need 2 at least, and {self.n_hidden_layers} at most")
        if not count <= self.insert_direction_at <= self.n_hidden_layers:
            raise ValueError(
                f"insert_direction_at={self.insert_direction_at} is not one of the layers after those made"
            )
        wanted = tuple((self.d_hidden, self.d_hidden if k else POSITION_FEATURES) for k in range(count))
        if self.param_shapes != wanted:
            raise ValueError(f"param_shapes are {self.param_shapes}, and the layers' {wanted}")
        return self

    @property
    def rows(self) -> int:
        """Latents that it takes: one for each row of the layers that are made."""
        return sum(shape[0] for shape in self.param_shapes)


class Scheduler(Record):
    """Heun's sampler of the diffusers library, as far as Shap-E uses it."""

    num_train_timesteps: Annotated[int, Field(ge=2, le=2**14)] = 1000
    beta_schedule: Literal["exp"]
    prediction_type: Literal["sample"]
    use_karras_sigmas: bool = False
    clip_sample: bool = False
    clip_sample_range: Annotated[float, Field(gt=0)] = 1.0
    timestep_spacing: Literal["linspace"] = "linspace"


class Model(Record):
    """A model's networks.

    Attributes:
        made_of: what an asset is made of.
    """

    made_of: Literal["text", "image"]
    prior: Prior
    renderer: Renderer
    scheduler: Scheduler

    @model_validator(mode="after")
    def _fits(self) -> Self:
        pairs = {
            "prior: num_embeddings, renderer: rows of param_shapes": (self.prior.num_embeddings, self.renderer.rows),
            "prior: embedding_dim, renderer: d_latent": (self.prior.embedding_dim, self.renderer.d_latent),
        }
        check_equal(pairs)
        return self


_UNUSED: Mapping[str, tuple[str, ...]] = {
    "scheduler": ("beta_start", "beta_end", "trained_betas", "steps_offset"),
    "prior": ("dropout",),
    "renderer": (),
}


def read_model(folder: Path) -> Model:
    """The model of a checkpoint folder: `model_index.json`, and a configuration in each part's folder.

    Raises:
        UsageError: when a file is missing, is not such a configuration, or asks for what is not implemented.
    """
    path = folder / INDEX
    if (found := read_json(path, _WHAT).get("_class_name")) not in PIPELINES:
        raise UsageError(f"{path}: _class_name is {shown(found)}, and {' or '.join(PIPELINES)} in {_WHAT}")
    parts = {
        "prior": _own(folder / "prior/config.json", "prior"),
        "renderer": _own(folder / "shap_e_renderer/config.json", "renderer"),
        "scheduler": _own(folder / "scheduler/scheduler_config.json", "scheduler"),
    }
    return parse_model({"made_of": PIPELINES[str(found)], **parts}, str(folder))


def _own(path: Path, part: str) -> dict[str, Any]:
    """A configuration; names that begin with `_` are the library's notes."""
    return known(read_json(path, _WHAT), part)


def known(data: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What of a part's configuration makes the network."""
    return {key: value for key, value in data.items() if not key.startswith("_") and key not in _UNUSED[part]}


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of its parts' configurations.

    Raises:
        UsageError: for what is not such a configuration.
    """
    return checked(Model, data, _WHAT, where)
