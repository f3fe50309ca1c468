"""What families that take a photograph let a recipe set alike: their fields' types, defaults and names. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gen3dexport.errors import UsageError

Pixels = Annotated[int, Field(ge=1, le=8192)]
Edges = tuple[Pixels, Pixels]
"""Height and width of the picture that a network takes, in pixels."""

Fit = Literal["letterbox", "stretch"]
"""What happens to a photograph whose published size is not the program's: it keeps its shape between bars, or not."""
FieldOfView = Annotated[float, Field(gt=0, lt=180)]
"""Degrees from the left to the right edge of a photograph."""
Grid = Annotated[int, Field(ge=2, le=8192)]
"""Pixels along the longer edge of the grid that points and mesh are made of, at most."""
Cut = Annotated[float, Field(gt=0, le=10)]
"""The mesh has no triangle over a step in depth of more than this share."""

GRID, CUT = 512, 0.05
"""What a recipe gets that does not say."""

RUN_FIELDS: Mapping[str, str] = {name: name for name in ("field_of_view", "grid", "cut", "fit")}
"""What an application may set of these when it runs a bundle."""


def edges(size: int | Edges, patch: int) -> Edges:
    """Height and width of one edge or two.

    Raises:
        UsageError: when one is no multiple of the patch.
    """
    found = size if isinstance(size, tuple) else (size, size)
    for edge in found:
        if edge % patch:
            below = edge // patch * patch
            near = " or ".join(str(n) for n in (below, below + patch) if n)
            raise UsageError(f"knobs.size: {edge} is no multiple of the patch ({patch}); use {near}")
    return found


def given(knobs: Any, size: int | Edges, patch: int) -> dict[str, Any]:
    """The knobs that a recipe sets, and `size` in any case: what it is where the recipe does not say.

    Raises:
        UsageError: as `edges` does.
    """
    found: dict[str, Any] = knobs.model_dump(exclude_none=True)
    return {**found, "size": edges(found.get("size", size), patch)}
