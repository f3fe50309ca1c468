"""Assets: what the pipelines make. One module a kind (`kinds`); the names below are what applications need most, and
`from_trimesh`, `to_open3d` and the like for other libraries' objects (docs/interop.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen3dexport.assets.gaussians import Gaussians
    from gen3dexport.assets.mesh import Mesh
    from gen3dexport.assets.mesh_files import read, write

__all__ = ["Gaussians", "Mesh", "read", "write"]

_LIBRARIES = ("trimesh", "open3d", "gsplat", "pytorch3d", "kaolin")
_HOMES = {"Gaussians": "gaussians", "Mesh": "mesh", "read": "mesh_files", "write": "mesh_files"}
_HOMES |= {f"{way}_{library}": f"interop_{library}" for library in _LIBRARIES for way in ("from", "to")}


def __getattr__(name: str) -> Any:
    """Imported when they are first asked for, so that the folder's light modules stay light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
