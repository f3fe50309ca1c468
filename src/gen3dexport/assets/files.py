"""Which kind of asset goes into a file by its ending, and pictures of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen3dexport.assets import mesh as assets
from gen3dexport.assets import usd
from gen3dexport.assets.gaussians import Gaussians, write_ply, write_splat
from gen3dexport.assets.mesh import Mesh
from gen3dexport.disk import write_atomically
from gen3dexport.errors import UsageError

KINDS = ("gaussians", "mesh", "radiance_field")
ENDINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(assets.FORMATS, ("mesh",)),
    ".ply": ("gaussians", "mesh"),
    ".splat": ("gaussians",),
    **dict.fromkeys(usd.FORMATS, ("gaussians", "mesh")),
    ".html": ("gaussians", "mesh"),
    ".npz": ("radiance_field",),
}
"""What a file can hold by its ending; the first that there is goes in unless another is named."""


def choose(path: Path, kinds: Sequence[str] | None = None, wanted: str = "") -> str:
    """The kind of asset that goes into `path`.

    Args:
        kinds: those that there are; every kind when None (to refuse an ending before the bundle is read).
        wanted: the kind that must, or "".

    Raises:
        UsageError: for an unknown ending or kind, or one that cannot be.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"{path}: unknown format {path.suffix!r}; known endings are {', '.join(ENDINGS)}")
    if wanted and wanted not in KINDS:
        raise UsageError(f"kind {wanted!r}: unknown; there are {', '.join(KINDS)}")
    here = KINDS if kinds is None else tuple(kinds)
    found = next((k for k in ENDINGS[ending] if k in here and wanted in ("", k)), None)
    if found is not None:
        return found
    if wanted and wanted not in here:
        raise UsageError(f"this bundle makes {', '.join(here)}, no {wanted}")
    fitting = [e for e, held in ENDINGS.items() if any(k in here and wanted in ("", k) for k in held)]
    raise UsageError(f"{path}: a {ending} holds {' or '.join(ENDINGS[ending])}; name a {', '.join(fitting)} file")


def check_output(path: Path, wanted: str = "") -> None:
    """Refuse an output that could not be written, before any work is done for it; makes nothing.

    Raises:
        UsageError: for an unknown ending or a place that cannot be written; MissingError without the format's package.
    """
    choose(path, None, wanted)
    assets.check_place(path)
    if path.suffix.lower() in usd.FORMATS:
        usd.require_package(path)


def write(asset: Any, path: Path, title: str = "") -> None:
    """Write an asset of a kind that the ending holds. The file appears whole or not at all.

    Args:
        title: of a page (.html).
    """
    ending = path.suffix.lower()
    if ending in usd.FORMATS:
        usd.write_usd(asset, path)
    elif ending == ".html":
        from gen3dexport.pages.viewer import viewer_html

        write_atomically(path, viewer_html(asset, title).encode())
    elif ending == ".npz":
        import io

        stream = io.BytesIO()
        np.savez(stream, depth=asset.depth, **{k: getattr(asset, k) for k in ("positions", "trivec", "density", "sh")})
        write_atomically(path, stream.getvalue())
    elif isinstance(asset, Mesh):
        assets.write(asset, path)
    else:
        (write_splat if ending == ".splat" else write_ply)(asset, path)


def turntable(asset: Any) -> NDArray[np.uint8]:
    """A contact sheet of eight pictures around an asset of any kind."""
    from gen3dexport.assets.draw.field_render import field_turntable
    from gen3dexport.assets.draw.gaussian_render import gaussian_turntable
    from gen3dexport.assets.draw.render import turntable

    if isinstance(asset, Mesh):
        return turntable(asset)
    return gaussian_turntable(asset) if isinstance(asset, Gaussians) else field_turntable(asset)


def counts(asset: Any) -> Mapping[str, int]:
    """How large an asset is."""
    if isinstance(asset, Mesh):
        return {"vertices": len(asset.vertices), "faces": len(asset.faces)}
    return {"gaussians" if isinstance(asset, Gaussians) else "voxels": len(asset.positions)}
