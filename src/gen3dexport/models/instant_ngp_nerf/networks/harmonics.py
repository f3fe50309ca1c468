"""Real spherical harmonics of directions, signs all positive, in nerfstudio's order."""

from __future__ import annotations

import torch
from torch import Tensor

from gen3dexport.errors import UsageError

MOST = 4
"""Bands that there are here: degrees 0 to 3."""


def harmonics(directions: Tensor, bands: int) -> Tensor:
    """Components [..., bands^2] of directions [..., 3], band by band.

    Raises:
        UsageError: for more bands than there are here.
    """
    if not 1 <= bands <= MOST:
        raise UsageError(f"spherical harmonics of {bands} bands: there are 1 to {MOST}")
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    found = [torch.full_like(x, 0.28209479177387814)]
    if bands > 1:
        found += [0.4886025119029199 * value for value in (y, z, x)]
    if bands > 2:
        found += [
            1.0925484305920792 * (x * y),
            1.0925484305920792 * (y * z),
            0.9461746957575601 * zz - 0.31539156525251999,
            1.0925484305920792 * (x * z),
            0.5462742152960396 * (xx - yy),
        ]
    if bands > 3:
        found += [
            0.5900435899266435 * (y * (3 * xx - yy)),
            2.890611442640554 * (x * y * z),
            0.4570457994644658 * (y * (5 * zz - 1)),
            0.3731763325901154 * (z * (5 * zz - 3)),
            0.4570457994644658 * (x * (5 * zz - 1)),
            1.445305721320277 * (z * (xx - yy)),
            0.5900435899266435 * (x * (xx - 3 * yy)),
        ]
    return torch.stack(found, -1)


def field_harmonics(directions: Tensor, bands: int) -> Tensor:
    """What a field trained with the torch implementation takes of unit directions: of (d + 1) / 2, not mapped back."""
    return harmonics((directions + 1) / 2, bands)
