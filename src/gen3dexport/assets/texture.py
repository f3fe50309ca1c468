"""Textures of a mesh: pictures that its surface shows, and where each vertex lies in them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.array_checks import check_shapes

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Texture:
    """Pictures on a mesh of V vertices, the first row at v = 0; and its material, as glTF 2.0 has it.

    Attributes:
        uv: [V, 2] float32, from 0 to 1: u to the right, v down.
        base_color: [H, W, 3] uint8 as displays take it (sRGB).
        normal: [H, W, 3] uint8, the surface's normals along `tangents`, up in the picture and out, 128 for 0; or None.
        metallic_roughness: [H, W, 3] uint8, roughness in the second channel and metalness in the third; or None.
        tangents: [V, 4] float32: the way in which u grows, and the sign of normal x tangent, the way up in the picture.
        metallic, roughness: of the whole, times what `metallic_roughness` has.
    """

    uv: NDArray[np.float32]
    base_color: Picture
    normal: Picture | None = None
    metallic_roughness: Picture | None = None
    tangents: NDArray[np.float32] | None = None
    metallic: float = 0.0
    roughness: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.uv)
        check_shapes(count, uv=(self.uv, (2,)))
        if self.tangents is not None:
            check_shapes(count, tangents=(self.tangents, (4,)))
        if self.normal is not None and self.tangents is None:
            raise ValueError("a texture with normals needs the tangents that they are along")
        for name, picture in self.pictures().items():
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
                raise ValueError(f"{name} is {picture.dtype}{list(picture.shape)}; need uint8 [H, W, 3]")

    def pictures(self) -> dict[str, Picture]:
        """The pictures that there are, by name."""
        every = ("base_color", "normal", "metallic_roughness")
        return {name: picture for name in every if (picture := getattr(self, name)) is not None}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that the textures are, by name; lossless."""
        numbers = {"metallic": self.metallic, "roughness": self.roughness}
        found: dict[str, NDArray[Any]] = {"uv": self.uv, **self.pictures()}
        if self.tangents is not None:
            found["tangents"] = self.tangents
        return found | {name: np.asarray(value, np.float64) for name, value in numbers.items()}

    def color_at(self, uv: NDArray[np.floating]) -> Picture:
        """The base colour [N, 3] at places [N, 2]: of the texel that each lies in."""
        height, width = self.base_color.shape[:2]
        column = np.clip((uv[:, 0] * width).astype(np.int64), 0, width - 1)
        row = np.clip((uv[:, 1] * height).astype(np.int64), 0, height - 1)
        found: Picture = self.base_color[row, column]
        return found


def from_arrays(arrays: dict[str, NDArray[Any]]) -> Texture:
    """The textures of their arrays."""
    return Texture(
        arrays["uv"],
        arrays["base_color"],
        arrays.get("normal"),
        arrays.get("metallic_roughness"),
        arrays.get("tangents"),
        arrays["metallic"].item(),
        arrays["roughness"].item(),
    )


def png(picture: Picture) -> bytes:
    """A picture as the bytes of a PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
