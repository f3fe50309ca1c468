"""What the Gaussian decoder's features mean: G Gaussians per voxel, offset from its centre. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

Array = NDArray[np.float32]

# Fields of the features, in order: (name, values per Gaussian).
FIELDS = (("_xyz", 3), ("_features_dc", 3), ("_scaling", 3), ("_rotation", 4), ("_opacity", 1))
CHANNELS = sum(width for _, width in FIELDS)


class Representation(Record):
    """The released `representation_config` of a Gaussian decoder.

    Attributes:
        num_gaussians: G, per voxel.
        voxel_size: reach of a Gaussian's centre, in voxels.
        filter_kernel: the smallest standard deviation (mip-splatting's 3-D filter).
        scaling_bias, opacity_bias: scale and opacity at features of zero.
        scaling_activation: `softplus` or `exp`.
        perturb_offset: spread the Gaussians of a voxel by a low-discrepancy sequence.
        rates: factor of each field.
    """

    num_gaussians: int = Field(ge=1, le=1024)
    voxel_size: float = Field(gt=0)
    filter_kernel: float = Field(ge=0)
    scaling_bias: float = Field(gt=0)
    opacity_bias: float = Field(gt=0, lt=1)
    scaling_activation: str
    perturb_offset: bool
    rates: dict[str, float] = {}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Representation:
        """From the released keys.

        Raises:
            UsageError: for a key that is missing or has no such value, or an activation that is not implemented.
        """
        try:
            values = {
                "num_gaussians": config["num_gaussians"],
                "voxel_size": config["voxel_size"],
                "filter_kernel": config["3d_filter_kernel_size"],
                "scaling_bias": config["scaling_bias"],
                "opacity_bias": config["opacity_bias"],
                "scaling_activation": config["scaling_activation"],
                "perturb_offset": config.get("perturb_offset", False),
                "rates": {name: config["lr"][name] for name, _ in FIELDS},
            }
            found = cls.model_validate(values, strict=True)
        except KeyError as error:
            raise UsageError(f"representation_config: {error.args[0]}: missing; copy the file again") from error
        except TypeError as error:
            raise UsageError("representation_config: lr: needs a mapping; copy the file again") from error
        except ValidationError as error:
            raise UsageError(f"representation_config: {told(error)}; copy the file again") from error
        if found.scaling_activation not in ("softplus", "exp"):
            raise UsageError(
                f"representation_config: scaling_activation={found.scaling_activation!r} is not implemented; "
                "softplus and exp are"
            )
        if found.perturb_offset and found.voxel_size <= 1:
            raise UsageError(
                f"representation_config: voxel_size={found.voxel_size}: perturbed offsets need more than 1"
            )
        return found


def perturbation(representation: Representation) -> Array:
    """Offsets [G, 3] before the tanh: atanh((2 u - 1) / voxel_size) of the Hammersley points u; zeros when unused.

    Source: Hammersley points with van der Corput's radical inverse in bases 2 and 3 (Niederreiter 1992).
    """
    count = representation.num_gaussians
    if not representation.perturb_offset:
        return np.zeros((count, 3), np.float32)
    points = [(g / count, _radical_inverse(g, 2), _radical_inverse(g, 3)) for g in range(count)]
    return np.arctanh((2 * np.asarray(points) - 1) / representation.voxel_size).astype(np.float32)


def _radical_inverse(number: int, base: int) -> float:
    """`number`'s digits in `base`, mirrored at the point."""
    result, place = 0.0, 1.0
    while number:
        place /= base
        number, digit = divmod(number, base)
        result += digit * place
    return result


def raw_fields(
    features: Array, coords: NDArray[np.integer], perturbed: Array, representation: Representation, resolution: int = 64
) -> dict[str, Array]:
    """The fields before their activations, a row per Gaussian, voxel-major.

    Args:
        features: [N, 14 G] float32, what the decoder gave for real rows.
        coords: [N, 3] voxels.
        perturbed: [G, 3], the checkpoint's `offset_perturbation`.
        representation: the decoder's.
        resolution: of the voxel grid.

    Returns:
        `xyz` [N G, 3] in [0, 1], `features_dc` [N G, 1, 3], `scaling` [N G, 3], `rotation` [N G, 4] and `opacity`
        [N G, 1].
    """
    count, fields, start = representation.num_gaussians, {}, 0
    for name, width in FIELDS:
        part = features[:, start : start + count * width].reshape(-1, count, width)
        fields[name.removeprefix("_")] = part * np.float32(representation.rates[name])
        start += count * width
    reach = 0.5 * representation.voxel_size / resolution
    centres = ((coords.astype(np.float32) + 0.5) / resolution)[:, None]
    fields["xyz"] = centres + np.tanh(fields["xyz"] + perturbed) * np.float32(reach)
    rows = {name: value.reshape(-1, value.shape[-1]).astype(np.float32) for name, value in fields.items()}
    rows["features_dc"] = rows["features_dc"][:, None]
    return rows


def attributes(
    features: Array, coords: NDArray[np.integer], perturbed: Array, representation: Representation, resolution: int = 64
) -> Gaussians:
    """The Gaussians of the decoder's features; arguments as in `raw_fields`.

    Source: Xiang et al. 2024, "Structured 3D Latents for Scalable and Versatile 3D Generation", 3D Gaussians; the
    smallest scale is Yu et al. 2024, "Mip-Splatting".
    """
    raw = raw_fields(features, coords, perturbed, representation, resolution)
    scaling = raw["scaling"].astype(np.float64)
    bias = representation.scaling_bias
    if representation.scaling_activation == "softplus":
        scaling = np.logaddexp(0, scaling + bias + math.log(-math.expm1(-bias)))
    else:
        scaling = np.exp(scaling + math.log(bias))
    opacity_bias = math.log(representation.opacity_bias / (1 - representation.opacity_bias))
    identity = np.array([1, 0, 0, 0], np.float32)
    opacity = 1 / (1 + np.exp(-(raw["opacity"][:, 0].astype(np.float64) + opacity_bias)))
    return Gaussians(
        positions=raw["xyz"] - np.float32(0.5),
        scales=np.sqrt(scaling**2 + representation.filter_kernel**2).astype(np.float32),
        quaternions=raw["rotation"] + identity,
        opacities=opacity.astype(np.float32),
        sh=raw["features_dc"],
    )
