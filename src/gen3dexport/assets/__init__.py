"""Assets: what the pipelines make. One module a kind (`kinds`); the names below are what applications need most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gen3dexport.assets.gaussians import Gaussians
    from gen3dexport.assets.mesh import Mesh
    from gen3dexport.assets.mesh_files import read, write

__all__ = ["Gaussians", "Mesh", "read", "write"]

_HOMES = {"Gaussians": "gaussians", "Mesh": "mesh", "read": "mesh_files", "write": "mesh_files"}


def __getattr__(name: str) -> Any:
    """Imported when they are first asked for, so that the folder's light modules stay light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
