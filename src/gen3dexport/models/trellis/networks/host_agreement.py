"""What the host computes of golden sets: post-processing of decoders, FlexiCubes, and single operations."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen3dexport.assets.gaussian_files import ply_rows
from gen3dexport.errors import UsageError
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.golden import Arrays
from gen3dexport.models.trellis.host import flexicubes as dual
from gen3dexport.models.trellis.host import mesh_features
from gen3dexport.models.trellis.host.gaussian_attributes import Representation, attributes, perturbation, raw_fields
from gen3dexport.models.trellis.host.radiance_field import Factors, radiance_field
from gen3dexport.models.trellis.host.voxel_tables import Coords, coarsening, neighbours, subdivided
from gen3dexport.models.trellis.host.window_tables import labels, windows
from gen3dexport.models.trellis.networks import sparse_layers
from gen3dexport.models.trellis.networks import structure as networks
from gen3dexport.models.trellis.networks.window_attention import window_mask
from gen3dexport.networks.half_precision import FloatNorm


def gaussian_attributes(
    features: np.ndarray,
    coords: Coords,
    perturbed: np.ndarray,
    representation: Representation,
    resolution: int,
    activated: bool,
) -> Arrays:
    """Raw fields and, with `activated`, the attributes, covariances and file rows, by their names in golden sets."""
    raw = raw_fields(features, coords, perturbed, representation, resolution)
    found = {f"raw_{name}": value for name, value in raw.items()}
    if not activated:
        return found
    made = attributes(features, coords, perturbed, representation, resolution)
    return found | {
        "xyz": made.positions,
        "scaling": made.scales,
        "rotation": made.rotations,
        "opacity": made.opacities[:, None],
        "features_dc": made.sh,
        "covariance": made.covariances,
        "ply_default_transform": ply_rows(made),
        "ply_no_transform": ply_rows(made, frame=None),
    }


def radiance(features: np.ndarray, coords: Coords, factors: Factors, resolution: int) -> Arrays:
    """The radiance field by its names in golden sets."""
    field = radiance_field(features, coords, factors, resolution)
    return {
        "position": field.positions,
        "depth": np.full((len(coords), 1), field.depth, np.uint8),
        "trivec": field.trivec,
        "density": field.density,
        "features_dc": field.sh,
    }


def flexicubes(stored: Arrays, resolution: int) -> Arrays:
    """Cubes, cases and surface; the surface by `surface_by_position`."""
    cubes = mesh_features.cubes_of(stored["in.feats"], stored["in.coords"][:, 1:], resolution)
    raw = dual.raw_cases(cubes.sdf)
    mesh = dual.extract(cubes)
    corners = mesh.vertices[mesh.faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return {
        "surf_cube_index": cubes.index,
        "case_raw": raw,
        "case": dual.resolve_ambiguity(raw, cubes.index, resolution),
        "beta": cubes.beta,
        "alpha": cubes.alpha,
        "gamma": cubes.gamma,
        "face_positions": corners,
        "face_attributes": mesh.attributes[mesh.faces],
        "face_normals": doubled,
    }


def surface_by_position(stored: Arrays) -> Arrays:
    """The stored surface without its vertex numbers, which may legitimately differ; of a set without colours its
    places alone.

    Normals are as long as twice the face's area: those of slivers have no certain direction.
    """
    faces = stored["out.faces"]
    corners = stored["out.vertices"][faces]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = {"face_positions": corners}
    if "out.vertex_attrs" in stored:
        found["face_attributes"] = stored["out.vertex_attrs"][faces]
    if "out.face_normals" in stored:
        found["face_normals"] = stored["out.face_normals"] * np.linalg.norm(doubled, axis=1, keepdims=True)
    return found


def ops(stored: Arrays) -> Arrays:
    """Every single operation that a set of them has an output of.

    Raises:
        UsageError: for an output whose name no operation has.
    """
    found: Arrays = {}
    with torch.no_grad():
        for name in [key.removeprefix("out.") for key in stored if key.startswith("out.")]:
            for pattern, operation in _OPERATIONS.items():
                if match := re.fullmatch(pattern, name):
                    value = operation(stored, *match.groups())
                    found[name] = value.numpy() if isinstance(value, Tensor) else value
                    break
            else:
                raise UsageError(f"out.{name}: no operation makes this; there are {', '.join(_OPERATIONS)}")
    return found


def _given(stored: Arrays, name: str) -> Tensor:
    return torch.from_numpy(stored[f"in.{name}"])


def _weighted(stored: Arrays, module: nn.Module, name: str) -> nn.Module:
    """`module` with the stored weight and bias of `name`."""
    for kind in ("weight", "bias"):
        module.get_parameter(kind).copy_(_given(stored, f"{name}_{kind}"))
    return module


def _rms(stored: Arrays) -> Tensor:
    norm = networks.HeadRMSNorm(*stored["in.rms_gamma"].shape)
    norm.gamma.copy_(_given(stored, "rms_gamma"))
    return norm(_given(stored, "rms_x"))  # type: ignore[no-any-return]


def _patches(stored: Arrays, edge: str) -> Tensor:
    grid = _given(stored, "grid")
    sizes = tuple(size // int(edge) for size in grid.shape[2:])
    return networks.unflatten(networks.patch_tokens(grid, int(edge)).mT, 2, sizes)


def _interleaved(x: Tensor, edge: str) -> Tensor:
    return networks.interleave(networks.unflatten(x, 1, (-1, *[int(edge)] * 3)))


def _channel_norm(stored: Arrays) -> Tensor:
    small = _given(stored, "small")
    norm = networks.ChannelNorm(small.shape[1], eps=1e-5)
    norm.weight.copy_(_given(stored, "ln_w"))
    norm.bias.copy_(_given(stored, "ln_b"))
    return norm(small)  # type: ignore[no-any-return]


def _token_norm(stored: Arrays) -> Tensor:
    small = _given(stored, "small")
    norm = FloatNorm(small.shape[1], eps=1e-6, elementwise_affine=False)
    return norm(small.movedim(1, -1).flatten(0, -2))  # type: ignore[no-any-return]


def _coords(stored: Arrays) -> Coords:
    return stored["in.coords"][:, 1:]


def _down(stored: Arrays) -> tuple[Coords, Tensor, Tensor]:
    """Occupied cells of half the resolution, their features [1, N, C], and each voxel's cell."""
    coords = _coords(stored)
    cells = coarsening(coords, len(coords), len(coords))
    children, weight = torch.from_numpy(cells.children), torch.from_numpy(cells.weight)
    feats = sparse_layers.downsample(_given(stored, "feats")[None], children, weight)
    return cells.coords, feats, torch.from_numpy(cells.parent)


def _down_feats(stored: Arrays) -> Tensor:
    coords, feats, _ = _down(stored)
    return feats[0, : len(coords)]


def _up_feats(stored: Arrays) -> Tensor:
    _, feats, parent = _down(stored)
    return sparse_layers.upsample(feats, parent)[0]


def _with_batch(coords: Coords) -> np.ndarray:
    return np.pad(coords, ((0, 0), (1, 0)))


def _conv3(stored: Arrays) -> Tensor:
    coords, feats = _coords(stored), _given(stored, "feats")[None]
    module = sparse_layers.SparseConv3d(feats.shape[2], len(stored["in.conv3_weight"]))
    assert module.conv is not None
    _weighted(stored, module.conv, "conv3")
    return module(feats, torch.from_numpy(neighbours(coords, len(coords))))[0]  # type: ignore[no-any-return]


def _conv1(stored: Arrays) -> Tensor:
    feats = _given(stored, "feats")[None]
    module = sparse_layers.PointwiseConv3d(feats.shape[2], len(stored["in.conv1_weight"]))
    assert module.conv is not None
    _weighted(stored, module.conv, "conv1")
    return module(feats)[0]  # type: ignore[no-any-return]


def _group_norm(stored: Arrays, groups: str) -> Tensor:
    feats = _given(stored, "gn_feats")
    norm = _weighted(stored, sparse_layers.SparseGroupNorm(int(groups), feats.shape[1]), "gn")
    return norm(feats[None], torch.ones(len(feats)))[0]  # type: ignore[no-any-return]


def _subdivided_feats(stored: Arrays) -> Tensor:
    rows = len(stored["out.subdivide_feats8"])  # the set may be cut
    return sparse_layers.subdivide(_given(stored, "feats")[None])[0, :rows]


def _window_attention(stored: Arrays, size: str, shift: str) -> Tensor:
    coords, qkv = _coords(stored), _given(stored, "qkv")
    tables = windows(coords, len(coords), int(size), int(shift))
    rows = F.pad(qkv, (0, 0, 0, 0, 0, 0, 0, 1))[torch.from_numpy(tables.slots)]
    q, k, v = rows.unbind(2)
    out = networks.attend(q, k, v, window_mask(torch.from_numpy(tables.window)))
    return out.flatten(0, 1)[torch.from_numpy(tables.place)].reshape(qkv[:, 0].shape)


def _perturbation(stored: Arrays, count: str, voxel_size: str) -> np.ndarray:
    config: dict[str, Any] = {"num_gaussians": int(count), "voxel_size": float(voxel_size), "perturb_offset": True}
    config |= {"3d_filter_kernel_size": 0.0, "scaling_bias": 1.0, "opacity_bias": 0.5, "scaling_activation": "softplus"}
    rates = dict.fromkeys(("_xyz", "_features_dc", "_scaling", "_rotation", "_opacity"), 1.0)
    return perturbation(Representation.of({**config, "lr": rates}))


def _times(stored: Arrays, steps: str, rescale: str) -> np.ndarray:
    return np.asarray(Schedule(int(steps), 0.0, (0.0, 1.0), float(rescale)).times)


def first_seen(ids: np.ndarray) -> np.ndarray:
    """Labels, which are arbitrary, as the first voxel that has them."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    result: np.ndarray = first[inverse]
    return result


_NUMBER = r"(\d+(?:\.\d+)?)"
_OPERATIONS: dict[str, Callable[..., Tensor | np.ndarray]] = {
    r"timestep_(\d+)": lambda stored, width: networks.timestep_features(_given(stored, "t"), int(width)),
    r"ape_(\d+)": lambda stored, width: networks.position_features(_given(stored, "pos"), int(width)),
    r"rms": _rms,
    r"patchify(\d+)": _patches,
    r"unpatchify(\d+)_of_patchify": lambda stored, edge: _interleaved(_patches(stored, edge), edge),
    r"pixel_shuffle(\d+)": lambda stored, edge: _interleaved(_given(stored, "shuffle"), edge),
    r"channel_ln_small_variance": _channel_norm,
    r"token_ln_noaffine_eps1e6": _token_norm,
    r"down_coords": lambda stored: _with_batch(_down(stored)[0]),
    r"down_feats": _down_feats,
    r"down_parent": lambda stored: _down(stored)[2],
    r"up_feats": _up_feats,
    r"subdivide_coords": lambda stored: _with_batch(subdivided(_coords(stored))),
    r"subdivide_feats8": _subdivided_feats,
    r"conv3": _conv3,
    r"conv1": _conv1,
    r"groupnorm(\d+)": _group_norm,
    r"window_attn_(\d+)_(\d+)": _window_attention,
    r"window_id_(\d+)_(\d+)": lambda stored, size, shift: first_seen(labels(_coords(stored), int(size), int(shift))),
    rf"perturbation_(\d+)_{_NUMBER}": _perturbation,
    rf"t_seq_(\d+)_{_NUMBER}": _times,
}
"""Patterns of an output's name, with the numbers in it -> what makes it of the set's inputs and those numbers."""
