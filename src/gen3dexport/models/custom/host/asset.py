"""What the outputs of one's own model mean: a surface in a field, points, or Gaussians. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gen3dexport.arrays import on_host
from gen3dexport.assets.gaussians import SH_C0, Gaussians
from gen3dexport.assets.mesh import Mesh, vertex_normals
from gen3dexport.assets.points import Points
from gen3dexport.documents.record import Record
from gen3dexport.models.isosurface import surface

Up = Literal["z", "y"]
FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
"""(x, y, z) with y up -> (x, -z, y), which is z up: a quarter turn about x, so right-handed frames stay so."""


class Surface(Record):
    """A mesh where a field crosses a level: the last network answers at points of a grid over a cube.

    Attributes:
        points: its input [1, N, 3] or [N, 3]; the host fills it with N points of the grid at a time.
        values: its output [1, N, 1], [1, N] or [N]. inside: which side of the level is inside the shape.
        resolution: points along each edge of the cube. edge: of the cube, which is centred at the origin.
        up: the axis that points up in the network's coordinates.
    """

    kind: Literal["mesh"]
    points: str
    values: str
    inside: Literal["below", "above"] = "below"
    level: float = 0.0
    resolution: int = Field(default=64, ge=4, le=1024)
    edge: float = Field(default=1.0, gt=0)
    up: Up = "z"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that it reads."""
        return (self.values,)

    def grid(self) -> NDArray[np.float32]:
        """Points [R^3, 3] of the cube by x, y, z, its faces included."""
        line = np.linspace(-self.edge / 2, self.edge / 2, self.resolution, dtype=np.float32)
        return np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)

    def asset(self, arrays: Mapping[str, NDArray[Any]]) -> Mesh:
        """The mesh of the field's values [R, R, R]; empty where nothing of it crosses the level."""
        values = np.asarray(arrays[self.values], np.float32)
        sign = np.float32(-1 if self.inside == "below" else 1)
        vertices, faces = surface(sign * values, float(sign) * self.level)
        placed = _z_up((vertices * self.edge).astype(np.float32), self.up)
        return Mesh(placed, faces, vertex_normals(placed, faces), cell=self.edge / (self.resolution - 1))


class Cloud(Record):
    """Points.

    Attributes:
        positions: output [1, N, 3] or [N, 3]. colors: output of the same shape, RGB in [0, 1] as displays take it.
        up: the axis that points up in the network's coordinates.
    """

    kind: Literal["points"]
    positions: str
    colors: str | None = None
    up: Up = "z"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that it reads."""
        return (self.positions,) if self.colors is None else (self.positions, self.colors)

    def asset(self, arrays: Mapping[str, NDArray[Any]]) -> Points:
        """The points."""
        colors = None
        if self.colors is not None:
            seen = np.nan_to_num(_rows(arrays[self.colors]))
            colors = np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)
        return Points(_z_up(_rows(arrays[self.positions]), self.up), colors)


class Splats(Record):
    """3D Gaussians.

    Attributes:
        positions, scales, quaternions, opacities: outputs [1, N, C] or [N, C] with C = 3, 3, 4, 1.
        sh: output [N, K, 3] of harmonics, or colors: output [N, 3], RGB in [0, 1]; one of the two.
        scale: whether scales are logarithms; opacity: whether opacities are logits; order: of a quaternion's numbers.
        up: the axis that points up in the network's coordinates.
    """

    kind: Literal["gaussians"]
    positions: str
    scales: str
    quaternions: str
    opacities: str
    sh: str | None = None
    colors: str | None = None
    scale: Literal["log", "value"] = "value"
    opacity: Literal["logit", "value"] = "value"
    order: Literal["wxyz", "xyzw"] = "wxyz"
    up: Up = "z"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that it reads."""
        named = (self.positions, self.scales, self.quaternions, self.opacities, self.sh, self.colors)
        return tuple(name for name in named if name is not None)

    def asset(self, arrays: Mapping[str, NDArray[Any]]) -> Gaussians:
        """The Gaussians."""
        scales, opacities = _rows(arrays[self.scales]), np.asarray(arrays[self.opacities], np.float32).reshape(-1)
        turns = _rows(arrays[self.quaternions])[:, [3, 0, 1, 2] if self.order == "xyzw" else [0, 1, 2, 3]]
        if self.sh is not None:
            sh = arrays[self.sh].reshape(len(scales), -1, 3).astype(np.float32)
        else:
            assert self.colors is not None
            sh = ((_rows(arrays[self.colors]) - 0.5) / SH_C0)[:, None].astype(np.float32)
        made = Gaussians(
            _rows(arrays[self.positions]),
            np.exp(scales) if self.scale == "log" else scales,
            turns,
            sigmoid(opacities) if self.opacity == "logit" else opacities,
            sh,
        )
        return made if self.up == "z" else made.turned(FROM_Y_UP)


Meaning = Annotated[Surface | Cloud | Splats, Field(discriminator="kind")]
"""What the outputs mean, told apart by `kind`."""


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits as values in [0, 1]."""
    found: NDArray[np.float32] = (0.5 + 0.5 * np.tanh(logits.astype(np.float64) / 2)).astype(np.float32)
    return found


def _rows(values: NDArray[Any]) -> NDArray[np.float32]:
    """[..., C] as [N, C]."""
    found = np.asarray(on_host(values), np.float32)
    return found.reshape(-1, found.shape[-1])


def _z_up(positions: NDArray[np.float32], up: Up) -> NDArray[np.float32]:
    return positions if up == "z" else (positions.astype(np.float64) @ FROM_Y_UP.T).astype(np.float32)
