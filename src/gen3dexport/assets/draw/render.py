"""Pictures of meshes: a software renderer in NumPy (z-buffer, perspective, soft light and shadow).

Pictures are for people. They need no GPU and no window, and the same mesh gives the same pixels.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets.colour import display_light, linear_light
from gen3dexport.assets.draw.lighting import Floats, Light, Stage, key_light, sky_light, stage
from gen3dexport.assets.draw.rasterise import rasterise
from gen3dexport.assets.mesh import Mesh
from gen3dexport.disk import write_output

_CLAY = np.array([0.64, 0.33, 0.19])  # linear RGB of a mesh without colors
_TOP, _BOTTOM = np.array([0.90, 0.92, 0.95]), np.array([0.74, 0.76, 0.79])  # backdrop, linear RGB
_KEY, _SKY, _EARTH = np.array([1.0, 0.94, 0.86]), np.array([0.80, 0.90, 1.05]), np.array([0.62, 0.55, 0.50])
_FIELD_OF_VIEW = math.radians(26)
_SUPERSAMPLING = 2
_CUBE_RADIUS = math.sqrt(0.75)  # of the sphere around the unit cube


@dataclass(frozen=True, eq=False)
class _Camera:
    """A perspective camera that looks at the centre of the stage.

    Attributes:
        right, up, back: unit vectors; `back` points from the mesh to the camera.
        distance: from the centre.
        focal: pixels at distance 1.
        pixels: edge of the (supersampled) picture.
    """

    right: Floats
    up: Floats
    back: Floats
    distance: float
    focal: float
    pixels: int


def render(
    mesh: Mesh, azimuth: float = 35, elevation: float = 22, size: int = 512, shadow: bool = True
) -> NDArray[np.uint8]:
    """A square picture [size, size, 3] (sRGB) of `mesh`, framed by its bounding sphere.

    Args:
        mesh: z up; its colors if it has any, clay otherwise.
        azimuth: degrees of the camera around z, counter-clockwise from +x seen from above.
        elevation: degrees of the camera above the horizon.
        size: pixels of an edge.
        shadow: a soft shadow on the ground under the mesh.

    Raises:
        ValueError: when the mesh has no faces.
    """
    scene = stage(mesh)
    return _draw(mesh, scene, sky_light(scene), azimuth, elevation, size, shadow)


def turntable(
    mesh: Mesh, views: int = 8, size: int = 256, elevation: float = 22, columns: int = 4
) -> NDArray[np.uint8]:
    """A contact sheet [rows * size, columns * size, 3] of `views` pictures around the mesh, row by row.

    Raises:
        ValueError: when the mesh has no faces.
    """
    scene = stage(mesh)
    sky = sky_light(scene)
    return contact_sheet(
        [_draw(mesh, scene, sky, azimuth, elevation, size, shadow=True) for azimuth in around(views)], columns
    )


def around(views: int) -> list[float]:
    """Azimuths of so many views, the first as in a single picture."""
    return [35 + 360 * view / views for view in range(views)]


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int = 4) -> NDArray[np.uint8]:
    """Pictures [size, size, 3] side by side, row by row, on white."""
    size, columns = len(pictures[0]), min(columns, len(pictures))
    sheet = np.full((-(-len(pictures) // columns) * size, columns * size, 3), 255, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = picture
    return sheet


def save_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write RGB pixels [H, W, 3] as a PNG, whole or not at all.

    Raises:
        UsageError: when the place cannot be written.
    """
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", optimize=True)
    write_output(path, stream.getvalue())


def depth_map(mesh: Mesh, azimuth: float = 35, elevation: float = 22, size: int = 256) -> Floats:
    """Depth [size, size] of the surface behind the unit cube's sphere as that camera sees it: 0 at the sphere's nearest
    point, in edges of the cube; inf where there is none. Framed by that sphere, so that meshes can be compared."""
    camera, shown, face, weights = _framed(mesh, azimuth, elevation, size)
    depth = np.full((size, size), np.inf)
    seen = face >= 0
    nearness = (weights[seen] * shown[mesh.faces[face[seen]], 2]).sum(1)
    depth[seen] = 1 / nearness - (camera.distance - _CUBE_RADIUS)
    return depth


def base_color_map(mesh: Mesh, azimuth: float = 35, elevation: float = 22, size: int = 256) -> Floats:
    """The texture's base colour [size, size, 3], in bytes as displays take it, as the camera of `depth_map` sees it
    without any light; NaN where there is no surface."""
    assert mesh.texture is not None
    _, shown, face, weights = _framed(mesh, azimuth, elevation, size)
    colors = np.full((size, size, 3), np.nan)
    seen = face >= 0
    corners = mesh.faces[face[seen]]
    inside = weights[seen] * shown[corners, 2]  # perspective-correct
    inside /= inside.sum(1, keepdims=True)
    colors[seen] = mesh.texture.color_at(np.einsum("nk,nkc->nc", inside, mesh.texture.uv[corners].astype(np.float64)))
    return colors


def _framed(
    mesh: Mesh, azimuth: float, elevation: float, size: int
) -> tuple[_Camera, Floats, NDArray[np.int64], Floats]:
    """A camera that sees the unit cube's sphere; the mesh's vertices there, each pixel's face and its weights."""
    camera = _camera(_CUBE_RADIUS, azimuth, elevation, size)
    shown = _project(mesh.vertices.astype(np.float64), camera)
    return camera, shown, *rasterise(shown, mesh.faces, size, size)


def _draw(
    mesh: Mesh, scene: Stage, sky: Light, azimuth: float, elevation: float, size: int, shadow: bool
) -> NDArray[np.uint8]:
    pixels = size * _SUPERSAMPLING
    camera = _camera(scene.radius, azimuth, elevation, pixels)
    towards = camera_axes(azimuth - 50, 48)[2]  # the light turns with the camera, so that every view is lit alike
    key = key_light(scene, towards)
    shown = _project(scene.vertices, camera)
    face, weights = rasterise(shown, scene.faces, pixels, pixels)
    drawn = face >= 0
    corners = scene.faces[face[drawn]]
    inside = weights[drawn] * shown[corners, 2]  # perspective-correct
    inside /= inside.sum(1, keepdims=True)
    image = _backdrop(camera)
    if shadow:
        image *= 1 - _ground_shadow(camera, scene, key, sky)[:, :, None]
    image[drawn] = _shade(mesh, scene, corners, inside, (key, towards), sky, camera)
    fine = image.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3)
    return _encode(fine.mean(axis=(1, 3)))


def _camera(radius: float, azimuth: float, elevation: float, pixels: int) -> _Camera:
    distance, focal = framing(radius, pixels)
    return _Camera(*camera_axes(azimuth, elevation), distance=distance, focal=focal, pixels=pixels)


def _project(vertices: Floats, camera: _Camera) -> Floats:
    """Column, row and nearness (1 / depth) [V, 3] of points."""
    nearness = 1 / (camera.distance - vertices @ camera.back)
    column = camera.pixels / 2 + camera.focal * (vertices @ camera.right) * nearness
    row = camera.pixels / 2 - camera.focal * (vertices @ camera.up) * nearness
    return np.stack([column, row, nearness], axis=1)


def framing(radius: float, pixels: int) -> tuple[float, float]:
    """Distance of a camera from the centre of a sphere that it frames, and its focal length in pixels."""
    return 1.06 * radius / math.sin(_FIELD_OF_VIEW / 2), pixels / 2 / math.tan(_FIELD_OF_VIEW / 2)


def camera_axes(azimuth: float, elevation: float) -> tuple[Floats, Floats, Floats]:
    """Unit vectors right, up and back of a camera in that direction."""
    a, e = math.radians(azimuth), math.radians(elevation)
    back = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
    right = np.array([-math.sin(a), math.cos(a), 0.0])
    return right, np.cross(back, right), back


def _shade(
    mesh: Mesh,
    scene: Stage,
    corners: NDArray[np.int64],
    weights: Floats,
    key: tuple[Light, Floats],
    sky: Light,
    camera: _Camera,
) -> Floats:
    """Linear RGB of the drawn pixels: key light (Lambert and a little gloss), sky above, earth below, a rim."""

    def interpolate(values: NDArray[Any]) -> Floats:
        mixed: Floats = np.einsum("nk,nk...->n...", weights, values[corners].astype(np.float64))
        return mixed

    light, towards = key
    to_eye = _rows_to_unit(camera.distance * camera.back - interpolate(scene.vertices))
    normals = interpolate(scene.normals)
    normals *= np.where((normals * to_eye).sum(1) < -0.2, -1.0, 1.0)[:, None]  # the inside of an open surface
    normals = _rows_to_unit(normals)
    if mesh.texture is not None:
        albedo = linear_light(mesh.texture.color_at(interpolate(mesh.texture.uv)) / 255)
    else:
        albedo = _CLAY if mesh.colors is None else linear_light(interpolate(mesh.colors) / 255)
    lit, open_sky = interpolate(light.vertices), interpolate(sky.vertices)
    lambert = np.maximum(normals @ towards, 0.0) * lit
    gloss = 0.10 * np.maximum((normals * _rows_to_unit(to_eye + towards)).sum(1), 0.0) ** 24 * lit * (lambert > 0)
    upward = ((normals[:, 2] + 1) / 2)[:, None]
    ambient = (upward * _SKY + (1 - upward) * _EARTH) * (0.15 + 0.85 * open_sky)[:, None]
    rim = 0.06 * (1 - np.clip((normals * to_eye).sum(1), 0, 1)) ** 3 * open_sky
    linear: Floats = albedo * (1.15 * lambert[:, None] * _KEY + 0.52 * ambient) + (gloss + rim)[:, None]
    return linear


def _backdrop(camera: _Camera) -> Floats:
    """Linear RGB [pixels, pixels, 3]: light above, a little darker below."""
    blend = np.linspace(0, 1, camera.pixels)[:, None, None] ** 1.3
    return np.repeat(_TOP + (_BOTTOM - _TOP) * blend, camera.pixels, axis=1)


def _ground_shadow(camera: _Camera, scene: Stage, key: Light, sky: Light) -> Floats:
    """How much darker [pixels, pixels] the ground's shadow makes the backdrop."""
    from scipy.ndimage import map_coordinates

    height = camera.distance * camera.back[2] - scene.floor
    if height <= 0:  # the camera is under the ground
        return np.zeros((camera.pixels, camera.pixels))
    offset = (np.arange(camera.pixels) + 0.5 - camera.pixels / 2) / camera.focal
    rays = offset[None, :, None] * camera.right - offset[:, None, None] * camera.up - camera.back
    down = -rays[:, :, 2]
    falls = down > 1e-3
    hit = camera.distance * camera.back[:2] + (height / np.where(falls, down, np.inf))[:, :, None] * rays[:, :, :2]
    share = 0.55 * key.ground + 0.45 * sky.ground
    cells = (hit / key.reach + 1) / 2 * (len(share) - 1)
    reaching = map_coordinates(share, [cells[:, :, 0], cells[:, :, 1]], order=1, mode="constant", cval=1.0)
    fade = np.clip(2 - 2 * np.linalg.norm(hit, axis=2) / key.reach, 0, 1)
    shadow: Floats = 0.62 * (1 - reaching) * fade * falls
    return shadow


def _rows_to_unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit


def _encode(linear: Floats) -> NDArray[np.uint8]:
    """Linear light to 8-bit sRGB."""
    encoded: NDArray[np.uint8] = (display_light(linear) * 255 + 0.5).astype(np.uint8)
    return encoded
