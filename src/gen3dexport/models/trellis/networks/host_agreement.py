"""What the host computes of golden sets: post-processing of decoders, FlexiCubes, and single operations."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gen3dexport.assets.gaussian_files import ply_rows
from gen3dexport.models.trellis.host import flexicubes as dual
from gen3dexport.models.trellis.host import mesh_features
from gen3dexport.models.trellis.host.gaussian_attributes import Representation, attributes, perturbation, raw_fields
from gen3dexport.models.trellis.host.radiance_field import Factors, radiance_field
from gen3dexport.models.trellis.host.sampler import Schedule
from gen3dexport.models.trellis.host.voxel_tables import Coords, coarsening, neighbours, subdivided
from gen3dexport.models.trellis.host.window_tables import labels, windows
from gen3dexport.models.trellis.networks import sparse_layers
from gen3dexport.models.trellis.networks import structure as networks
from gen3dexport.models.trellis.networks.window_attention import window_mask

Arrays = dict[str, np.ndarray]


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
    """The stored surface without its vertex numbers, which may legitimately differ.

    Normals are as long as twice the face's area: those of slivers have no certain direction.
    """
    corners = stored["out.vertices"][stored["out.faces"]]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return {
        "face_positions": corners,
        "face_attributes": stored["out.vertex_attrs"][stored["out.faces"]],
        "face_normals": stored["out.face_normals"] * np.linalg.norm(doubled, axis=1, keepdims=True),
    }


def ops(stored: Arrays) -> Arrays:
    """Every single operation of the set `ops`."""
    with torch.no_grad():
        found = _dense(stored) | _sparse(stored) | _attention(stored)
    results = {name: value.numpy() if isinstance(value, Tensor) else value for name, value in found.items()}
    config = {"num_gaussians": 32, "voxel_size": 1.5, "perturb_offset": True, "scaling_activation": "softplus"}
    config |= {"3d_filter_kernel_size": 0.0, "scaling_bias": 0.0, "opacity_bias": 0.0}
    rates = dict.fromkeys(("_xyz", "_features_dc", "_scaling", "_rotation", "_opacity"), 1.0)
    results["perturbation_32_1.5"] = perturbation(Representation.of({**config, "lr": rates}))
    for steps in (25, 12):
        results[f"t_seq_{steps}_3.0"] = np.asarray(Schedule(steps, 0.0, (0.0, 1.0), 3.0).times)
    return results


def _dense(stored: Arrays) -> dict[str, Tensor]:
    grid, small = torch.from_numpy(stored["in.grid"]), torch.from_numpy(stored["in.small"])
    tokens = networks.patch_tokens(grid, 2).mT
    patches = networks.unflatten(tokens, 2, tuple(size // 2 for size in grid.shape[2:]))
    shuffle = torch.from_numpy(stored["in.shuffle"])
    rms = networks.HeadRMSNorm(*stored["in.rms_gamma"].shape)
    rms.gamma.copy_(torch.from_numpy(stored["in.rms_gamma"]))
    channel = networks.ChannelNorm(small.shape[1], eps=1e-5)
    channel.weight.copy_(torch.from_numpy(stored["in.ln_w"]))
    channel.bias.copy_(torch.from_numpy(stored["in.ln_b"]))
    token = networks.TokenNorm(small.shape[1], eps=1e-6, elementwise_affine=False)
    positions = torch.from_numpy(stored["in.pos"])
    return {
        "timestep_256": networks.timestep_features(torch.from_numpy(stored["in.t"])),
        **{f"ape_{width}": networks.position_features(positions, width) for width in (64, 80, 96, 1024)},
        "rms": rms(torch.from_numpy(stored["in.rms_x"])),
        "patchify2": patches,
        "unpatchify2_of_patchify": networks.interleave(networks.unflatten(patches, 1, (-1, 2, 2, 2))),
        "pixel_shuffle2": networks.interleave(networks.unflatten(shuffle, 1, (-1, 2, 2, 2))),
        "channel_ln_small_variance": channel(small),
        "token_ln_noaffine_eps1e6": token(small.movedim(1, -1).flatten(0, -2)),
    }


def _sparse(stored: Arrays) -> dict[str, Tensor | np.ndarray]:
    coords = stored["in.coords"][:, 1:]
    count = len(coords)
    feats = torch.from_numpy(stored["in.feats"])[None]
    table = torch.from_numpy(neighbours(coords, count))
    cells = coarsening(coords, count, count)
    down = sparse_layers.downsample(feats, torch.from_numpy(cells.children), torch.from_numpy(cells.weight))
    size, width = stored["in.conv3_weight"].shape[0], feats.shape[2]
    conv3, conv1 = sparse_layers.SparseConv3d(width, size), sparse_layers.PointwiseConv3d(width, size)
    norm = sparse_layers.SparseGroupNorm(32, width)
    for module, name in ((conv3.conv, "conv3"), (conv1.conv, "conv1"), (norm, "gn")):
        assert module is not None
        module.weight.copy_(torch.from_numpy(stored[f"in.{name}_weight"]))
        module.bias.copy_(torch.from_numpy(stored[f"in.{name}_bias"]))
    return {
        "down_coords": np.pad(cells.coords, ((0, 0), (1, 0))),
        "down_feats": down[0, : len(cells.coords)],
        "down_parent": cells.parent,
        "up_feats": sparse_layers.upsample(down, torch.from_numpy(cells.parent))[0],
        "subdivide_coords": np.pad(subdivided(coords), ((0, 0), (1, 0))),
        "subdivide_feats8": sparse_layers.subdivide(feats)[0, : len(stored["out.subdivide_feats8"])],
        "conv3": conv3(feats, table)[0],
        "conv1": conv1(feats)[0],
        "groupnorm32": norm(torch.from_numpy(stored["in.gn_feats"])[None], torch.ones(count))[0],
    }


def _attention(stored: Arrays) -> dict[str, Tensor | np.ndarray]:
    coords = stored["in.coords"][:, 1:]
    qkv = torch.from_numpy(stored["in.qkv"])
    found: dict[str, Tensor | np.ndarray] = {}
    for shift in (0, 4):
        tables = windows(coords, len(coords), 8, shift)
        rows = F.pad(qkv, (0, 0, 0, 0, 0, 0, 0, 1))[torch.from_numpy(tables.slots)]
        q, k, v = rows.unbind(2)
        out = networks.attend(q, k, v, window_mask(torch.from_numpy(tables.window)))
        found[f"window_attn_8_{shift}"] = out.flatten(0, 1)[torch.from_numpy(tables.place)].reshape(qkv[:, 0].shape)
        found[f"window_id_8_{shift}"] = first_seen(labels(coords, 8, shift))
    return found


def first_seen(ids: np.ndarray) -> np.ndarray:
    """Labels, which are arbitrary, as the first voxel that has them."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    result: np.ndarray = first[inverse]
    return result
