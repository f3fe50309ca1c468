"""An LGM or L4GM model's configuration, in the names of the release's code. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from gen3dexport.documents.record import Record
from gen3dexport.models.configuration import checked, read_configuration
from gen3dexport.models.whose_configuration import refuse_others

CONFIG = "config.json"
"""The file that every checkpoint folder has."""
GROUPS, HEADS = 32, 16
"""Of every group norm, and of every attention, whatever its width."""
FIELDS, CHANNELS = 14, 9
"""Numbers of a Gaussian; channels of an input: three of colour and six of a ray."""

_WHAT = "an LGM configuration"

Size = Annotated[int, Field(ge=1, le=2**13)]
Width = Annotated[int, Field(ge=GROUPS, le=2**13, multiple_of=GROUPS)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=12)]
Flags = Annotated[tuple[bool, ...], Field(min_length=1, max_length=12)]
Degrees = Annotated[float, Field(gt=0, lt=180)]
Length = Annotated[float, Field(gt=0)]


class Model(Record):
    """A model's network and cameras.

    Attributes:
        input_size: edge of a view in pixels; splat_size: edge of the map of Gaussians of a view.
        down_channels, down_attention, mid_attention, up_channels, up_attention: of the U-Net's blocks; further flags of
            the way up are left unused, as the release does.
        fovy: degrees that a view spans; cam_radius: of the orbit; znear, zfar: of what is drawn.
        num_frames: that attend to each other in one call, 0 for a model of a still object; the tensors do not say it.
        use_temp_attn: whether they do.
        gaussian_perpixel: Gaussians that a pixel of the map makes.
    """

    input_size: Size = 256
    down_channels: Widths
    down_attention: Flags
    mid_attention: bool = True
    up_channels: Widths
    up_attention: Flags
    splat_size: Size
    fovy: Degrees = 49.1
    cam_radius: Length = 1.5
    znear: Length = 0.5
    zfar: Length = 2.5
    num_input_views: Annotated[int, Field(ge=1, le=16)] = 4
    num_frames: Annotated[int, Field(ge=0, le=64)] = 0
    use_temp_attn: bool = False
    gaussian_perpixel: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        down, up = len(self.down_channels), len(self.up_channels)
        if len(self.down_attention) < down or len(self.up_attention) < up:
            raise ValueError("down_attention and up_attention need a flag for every block of their channels")
        if up > down:
            raise ValueError(f"up_channels has {up} blocks, and down_channels {down}; the way up is no longer")
        if self.up_channels != self.down_channels[::-1][:up]:
            raise ValueError(
                f"up_channels {list(self.up_channels)} are not down_channels from the end, "
                f"{list(self.down_channels[::-1][:up])}"
            )
        whole = 2 ** (down - 1)
        if self.input_size % whole:
            raise ValueError(f"input_size {self.input_size} is no multiple of {whole}, by which the U-Net divides it")
        made = self.input_size // whole * 2 ** (up - 1)
        if self.splat_size != made:
            raise ValueError(f"splat_size is {self.splat_size}, and the U-Net makes maps of {made} pixels an edge")
        if self.use_temp_attn and not self.num_frames:
            raise ValueError("use_temp_attn needs num_frames, 1 at least")
        if self.znear >= self.zfar:
            raise ValueError(f"znear {self.znear} is not less than zfar {self.zfar}")
        return self

    @property
    def over_time(self) -> bool:
        """Whether it takes frames."""
        return self.num_frames > 0

    @property
    def gaussians(self) -> int:
        """Of one frame."""
        return self.num_input_views * self.splat_size**2 * self.gaussian_perpixel


def read_model(folder: Path) -> Model:
    """The model of `folder`/config.json.

    Raises:
        UsageError: when the file is missing, is not such a configuration, or is of a model that is not here.
    """
    path = folder / CONFIG
    remedy = (
        "the release has none: copy the one of weights/LGM-big (or LGM-small, LGM-tiny, "
        "L4GM-big) of this package beside the checkpoint"
    )
    data = read_configuration(path, _WHAT, remedy)
    refuse_others(data, "lgm", str(path))
    return parse_model(data, str(path))


def parse_model(data: Mapping[str, Any], where: str) -> Model:
    """The model of a configuration.

    Raises:
        UsageError: as `read_model` does.
    """
    return checked(Model, data, _WHAT, where)
