"""Meshes and points to and from PyTorch3D, whose worlds are y up.

Objects are read by the names of their documented methods (`verts_list`, `points_list`, ...), so that reading needs no
import. No wheel of PyTorch3D is published for the versions that this package uses: these functions have not run against
the package.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from gen3dexport.assets.interop import Light, Up, bytes_of, fractions_of, indices, one_of, to_z_up, turned, wrong
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.errors import MissingError, UsageError


def from_pytorch3d(found: Any, index: int | None = None, up: Up = "y", light: Light = "srgb") -> Mesh | Points:
    """One of `Meshes` or `Pointclouds`; colours of `TexturesVertex` and features of 3 or 4 channels are kept.

    Args:
        index: which one of a batch; light: what colours are.

    Raises:
        UsageError: for another object, a batch of which none is named, or a texture that is an image.
    """
    frame = to_z_up(up)
    if hasattr(found, "points_list"):
        clouds = list(found.points_list())
        at = one_of(clouds, index, "from_pytorch3d")
        features = found.features_list() if hasattr(found, "features_list") else None
        colors = None if features is None else bytes_of(features[at], light)
        return Points(turned(clouds[at], frame), colors)
    if not hasattr(found, "verts_list") or not hasattr(found, "faces_list"):
        raise wrong(found, "from_pytorch3d", "pytorch3d.structures.Meshes or Pointclouds")
    vertices = list(found.verts_list())
    at = one_of(vertices, index, "from_pytorch3d")
    textures, shades = getattr(found, "textures", None), None
    if textures is not None:
        if not hasattr(textures, "verts_features_list"):
            raise UsageError(
                f"from_pytorch3d: textures are {type(textures).__name__}; needs TexturesVertex (sample the image first)"
            )
        shades = bytes_of(textures.verts_features_list()[at], light)
    return Mesh(turned(vertices[at], frame), indices(found.faces_list()[at]), colors=shades)


def to_pytorch3d(asset: Mesh | Points, up: Up = "y", light: Light = "srgb") -> Any:
    """`Meshes` or `Pointclouds` of one.

    Raises:
        UsageError: for an asset of another kind. MissingError: without the package.
    """
    if not isinstance(asset, Mesh | Points):
        raise wrong(asset, "to_pytorch3d", "a Mesh or Points")
    try:
        structures, torch = import_module("pytorch3d.structures"), import_module("torch")
    except ImportError as error:
        raise MissingError(
            f"pytorch3d cannot be imported ({error}); it has no wheel for this torch: build it from its source"
        ) from error
    frame = to_z_up(up).T
    shades = None if asset.colors is None else fractions_of(asset.colors, light).astype(np.float32)
    if isinstance(asset, Points):
        features = None if shades is None else [torch.from_numpy(shades)]
        return structures.Pointclouds([torch.from_numpy(turned(asset.positions, frame))], features=features)
    textures = None
    if shades is not None:
        textures = import_module("pytorch3d.renderer").TexturesVertex([torch.from_numpy(shades)])
    vertices = [torch.from_numpy(turned(asset.vertices, frame))]
    return structures.Meshes(vertices, [torch.from_numpy(asset.faces)], textures)
