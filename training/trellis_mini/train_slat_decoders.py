"""Train both decoders of the structured latent (after train_slat_encoder), each from analytic targets.

`python -m training.trellis_mini.train_slat_decoders`. The mesh decoder learns distances and colours at the corners of
its small cubes; its deformations and cube weights stay zero. The Gaussian decoder learns centres on the surface that
cover it, flat along it, opaque and of its colour. Latents get noise, for a flow's are not exact.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gen3dexport.assets.gaussians import SH_C0
from gen3dexport.models.trellis.host.voxel_tables import neighbours
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_decoders import SLatGaussianDecoder
from training.trellis_mini.cells import Cells, box_of_cells, cells_of, corner_points, sample_cells
from training.trellis_mini.checkpoint import load_release, save_release
from training.trellis_mini.color_dataset import COLOR_RELEASE, COLOR_RUNS
from training.trellis_mini.dataset import category_weights
from training.trellis_mini.fast_gather import refine, use_fast_gather
from training.trellis_mini.looks import Look
from training.trellis_mini.run import Run, adamw, read_options
from training.trellis_mini.shapes import all_shapes
from training.trellis_mini.surface_points import SurfacePoints, mended, surface_points
from training.trellis_mini.train_slat_encoder import LATENT, SLAT_ENCODER, WINDOW, encode, tables_of, training_look

MESH, GAUSSIANS = "slat_dec_mesh_mini", "slat_dec_gs_mini"
MESH_ARGS: dict[str, Any] = {
    "resolution": 32,
    "model_channels": 256,
    "latent_channels": LATENT,
    "num_blocks": 2,
    "num_heads": 4,
    "mlp_ratio": 2,
    "window_size": WINDOW,
    "representation_config": {"use_color": True},
}
GAUSSIAN_ARGS: dict[str, Any] = {
    "resolution": 32,
    "model_channels": 128,
    "latent_channels": LATENT,
    "num_blocks": 3,
    "num_heads": 4,
    "mlp_ratio": 2,
    "window_size": WINDOW,
    "representation_config": {
        "lr": {"_xyz": 1.0, "_features_dc": 1.0, "_opacity": 1.0, "_scaling": 1.0, "_rotation": 0.1},
        "perturb_offset": True,
        "voxel_size": 1.5,
        "num_gaussians": 8,
        "2d_filter_kernel_size": 0.1,
        "3d_filter_kernel_size": 0.0009,
        "scaling_bias": 0.0045,
        "opacity_bias": 0.9,
        "scaling_activation": "softplus",
    },
}
_SMALL = 1 / 128  # what `mesh_features` takes off every distance
_CORNERS = torch.from_numpy(corner_points())
_THIN = 0.045  # standard deviation of a Gaussian across the surface, in cells


def mesh_loss(features: Tensor, cells: Cells, look: Look) -> tuple[Tensor, Tensor]:
    """Errors of distances (in cells) and colours at corners, both weighted towards the surface."""
    rows = features.reshape(len(cells.coords), 64, 101)
    distance = torch.from_numpy(cells.distance)[:, _CORNERS]
    weight = torch.exp(-4 * distance.abs()) + 0.05
    shape = (weight * (rows[..., :8] - _SMALL - distance).abs()).sum() / weight.sum()
    colors = torch.from_numpy(cells.colors(look, np.arange(125)))[:, _CORNERS]
    answer = rows[..., 53:].unflatten(-1, (8, 6))[..., :3].sigmoid()  # type: ignore[no-untyped-call]
    near = torch.exp(-6 * distance.abs())
    return shape, (near * (answer - colors).abs().mean(-1)).sum() / near.sum()


def gaussian_loss(decoder: SLatGaussianDecoder, features: Tensor, points: SurfacePoints) -> dict[str, Tensor]:
    """Errors by what they are of: distance from the surface, gaps in it, colour, direction, size and opacity."""
    representation = decoder.representation
    count, parts, start = representation.num_gaussians, {}, 0
    for name, width in (("xyz", 3), ("dc", 3), ("scaling", 3), ("rotation", 4), ("opacity", 1)):
        parts[name] = features[:, start : start + count * width].reshape(-1, count, width)
        start += count * width
    there = torch.from_numpy(points.there)
    offset, normal, color = (torch.from_numpy(v) for v in (points.offset, points.normal, points.color))
    centre = torch.tanh(parts["xyz"] + decoder.get_buffer("offset_perturbation")) * (0.5 * representation.voxel_size)
    gap = torch.cdist(centre, offset)
    near = gap.argmin(2, keepdim=True).expand(-1, -1, 3)
    beside, facing, shown = (v.gather(1, near) for v in (offset, normal, color))
    height = ((centre - beside) * facing).sum(-1).abs() + 0.2 * gap.amin(2)
    w, x, y, z = (0.1 * parts["rotation"] + torch.tensor([1.0, 0, 0, 0])).unbind(-1)
    length = (w * w + x * x + y * y + z * z).clamp_min(1e-6)
    axis = torch.stack([2 * (x * z + w * y), 2 * (y * z - w * x), w * w - x * x - y * y + z * z], -1)
    turned = 1 - (axis * facing).sum(-1).abs() / length
    bias = representation.scaling_bias
    size = torch.log(torch.nn.functional.softplus(parts["scaling"] + bias + math.log(-math.expm1(-bias))) * 32)
    wide = 0.56 * (torch.from_numpy(points.area) / count).sqrt().clamp(0.06, 0.24)
    target = torch.stack([wide, wide, torch.full_like(wide, _THIN)], -1).log()[:, None]
    values = {
        "height": height.mean(1),
        "gaps": gap.amin(1).mean(1),
        "color": (0.5 + SH_C0 * parts["dc"] - shown).abs().mean((1, 2)),
        "turned": turned.mean(1),
        "size": (size - target).abs().mean((1, 2)),
        "opacity": (parts["opacity"] - 1.5).square().mean((1, 2)),  # sigmoid(1.5 + logit(0.9)) = 0.98
    }
    return {name: value[there].mean() for name, value in values.items()}


_WEIGHTS = {"height": 1.0, "gaps": 0.5, "color": 1.0, "turned": 0.2, "size": 0.1, "opacity": 0.02}


def initialise(mesh: SLatMeshDecoder, gaussians: SLatGaussianDecoder) -> None:
    """What is not supervised (deformation, cube weights, normals) is zero for ever."""
    with torch.no_grad():
        rows = torch.ones(101, dtype=torch.bool)
        rows[:8] = False
        rows[53:].view(8, 6)[:, :3] = False
        for parameter in mesh.out_layer.parameters():
            parameter[rows] = 0
        gaussians.out_layer.weight.mul_(0.3)
        gaussians.out_layer.bias.zero_()


def main() -> None:
    """Train; refresh the released EMA weights every `--release-every` steps."""
    options = read_options(
        __doc__, COLOR_RUNS, minutes=True, steps=4000, cells=450, lr=1.5e-3, noise=0.8, release_every=500
    )
    use_fast_gather()
    shapes, _ = all_shapes()
    chance = category_weights(shapes)
    encoder = load_release(SLAT_ENCODER, COLOR_RELEASE)
    mesh, gaussians = SLatMeshDecoder(**MESH_ARGS), SLatGaussianDecoder(**GAUSSIAN_ARGS)
    initialise(mesh, gaussians)
    models = nn.ModuleList([mesh, gaussians])
    run = Run("slat_decoders", options, models, adamw(models.parameters(), options.lr), 0.997, clip=[mesh, gaussians])
    copies = nn.ModuleList([SLatMeshDecoder(**MESH_ARGS), SLatGaussianDecoder(**GAUSSIAN_ARGS)]).eval()
    scale: Tensor | None = None
    while True:
        generator = run.begin(6)
        run.set_rate(100, 0.01, run.progress)
        shape = shapes[int(generator.choice(len(shapes), p=chance))]
        coords, look = cells_of(shape), training_look(Random(int(generator.integers(2**31))))
        latent = encode(encoder, sample_cells(shape, coords, False), [look])[0]
        whole = run.progress > 0.8 and generator.random() < 0.3
        box = box_of_cells(coords, generator, 2000 if whole else options.cells)
        cells, latent = mended(sample_cells(shape, coords[box])), latent[box]
        scale = latents_deviation(options.run) if scale is None else scale
        blur = options.noise * generator.random() * scale
        latent = latent + blur * torch.from_numpy(generator.standard_normal(tuple(latent.shape), np.float32))
        tables = tables_of([cells.coords])
        table = torch.from_numpy(neighbours(cells.coords, len(box)))
        with torch.autocast("cpu", torch.bfloat16):
            tokens = mesh.trunk(latent[None], *tables)
            features = refine(mesh, tokens, table, torch.ones(len(box))).float()[0]
            splats = gaussians(latent[None], *tables).float()[0]
        shape_loss, color_loss = mesh_loss(features, cells, look)
        parts = gaussian_loss(gaussians, splats, surface_points(cells, look, 24, generator))
        loss = shape_loss + color_loss + sum(_WEIGHTS[name] * value for name, value in parts.items())
        run.update([loss], mesh_shape=shape_loss, mesh_color=color_loss, **parts)
        run.note_means(50)
        if run.step % options.release_every == 0 or run.done:
            run.average.copy_to(copies)
            save_release(MESH, "SLatMeshDecoder", MESH_ARGS, copies[0], COLOR_RELEASE)
            save_release(GAUSSIANS, "SLatGaussianDecoder", GAUSSIAN_ARGS, copies[1], COLOR_RELEASE)
            run.save()
            run.report(cells=options.cells)
        if run.done:
            break


def latents_deviation(run: Path) -> Tensor:
    """Standard deviation [8] of the latent, which train_slat_flow wrote."""
    return torch.tensor(json.loads((run / "slat_scale.json").read_text())["std"])


if __name__ == "__main__":
    main()
