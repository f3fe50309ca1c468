"""The network's sizes, as they follow from its tensors. No torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

HEAD = 64
"""Channels of a head, in every size of DINOv2."""
UPSAMPLINGS = 3

Size = Annotated[int, Field(ge=1, le=2**16)]


class Model(Record):
    """The sizes of a network.

    Attributes:
        hidden_size: channels of a token; layers: blocks.
        patch_size: edge of a patch in pixels.
        table_edge: edge of the stored position table, in patches.
        decoder: channels into its first upsampling and out of each.
    """

    hidden_size: Size
    layers: Annotated[int, Field(ge=1, le=1024)]
    patch_size: Size
    table_edge: Size
    decoder: tuple[Size, Size, Size, Size]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.hidden_size % HEAD:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of a head's {HEAD} channels")
        if self.decoder[0] != self.hidden_size:
            raise ValueError(f"the decoder takes {self.decoder[0]} channels, and tokens have {self.hidden_size}")
        return self

    @property
    def heads(self) -> int:
        """Heads of attention."""
        return self.hidden_size // HEAD


def model_of(tensors: Mapping[str, NDArray[Any] | Any], where: str) -> Model:
    """The sizes that tensors in the released names (see `released`) have.

    Raises:
        UsageError: when they are not those of such a network.
    """

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        found = tuple(tensors[name].shape) if name in tensors else ()
        if len(found) != dimensions:
            said = f"has shape {list(found)}" if name in tensors else "is missing"
            raise UsageError(f"{where}: {name} {said}, so this is no network of this family")
        return found

    blocks = {int(m[1]) for m in (re.match(r"backbone\.encoder\.layer\.(\d+)\.", name) for name in tensors) if m}
    table = shape("backbone.embeddings.position_embeddings", 3)[1] - 1
    sizes = [shape(f"decoder.upconv{i + 1}.weight", 4) for i in range(UPSAMPLINGS)]
    try:
        return Model(
            hidden_size=shape("backbone.embeddings.cls_token", 3)[2],
            layers=len(blocks),
            patch_size=shape("backbone.embeddings.patch_embeddings.projection.weight", 4)[3],
            table_edge=math.isqrt(max(table, 0)),
            decoder=(sizes[0][0], sizes[0][1], sizes[1][1], sizes[2][1]),
        )
    except ValidationError as error:
        raise UsageError(f"{where}: not a network of this family ({told(error)})") from error
