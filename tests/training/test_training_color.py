"""What the second stage of trellis-mini learns from, and that the weights trained on it are whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from gen3dexport.assets.metrics import sample_surface  # noqa: E402
from gen3dexport.models.trellis.host.mesh_features import mesh_of  # noqa: E402
from gen3dexport.models.trellis.host.structure_stage import crossed_cells, solid_cells  # noqa: E402
from gen3dexport.models.trellis.host.voxel_tables import subdivided  # noqa: E402
from training.trellis_mini import cells as cells_module  # noqa: E402
from training.trellis_mini import sdf  # noqa: E402
from training.trellis_mini.captions import caption  # noqa: E402
from training.trellis_mini.cells import cells_of, corner_points, sample_cells  # noqa: E402
from training.trellis_mini.color_dataset import COLOR_RELEASE, held_out_items, training_items  # noqa: E402
from training.trellis_mini.looks import (  # noqa: E402
    MATERIALS,
    PALETTE,
    Look,
    accent_noun,
    draw_look,
    is_unseen,
    nearest_accent,
    nearest_main,
    nearest_material,
    paint,
)
from training.trellis_mini.shapes import CATEGORIES, combinations, field, occupancy  # noqa: E402
from training.trellis_mini.surface_points import mended, surface_points  # noqa: E402

GRID = np.stack([sdf.X, sdf.Y, sdf.Z], -1).reshape(-1, 3)
SHAPES = [
    (category, combinations(category)[seed * 17 % len(combinations(category))])
    for seed, category in enumerate(CATEGORIES)
]


@pytest.mark.parametrize("shape", SHAPES, ids=[category for category, _ in SHAPES])
def test_distances_are_those_of_the_occupancy(shape: tuple[str, dict[str, str]]) -> None:
    for params in ({**shape[1], "facing": turn} for turn in ("front", "right", "back", "left")):
        distance, second = field(shape[0], params, GRID)
        np.testing.assert_array_equal((distance < 0).reshape(32, 32, 32), occupancy(shape[0], params))
    assert second[distance < 0].any() == (accent_noun(*shape) is not None)
    assert not second[distance < 0].all()


def test_captions_name_the_look() -> None:
    look = Look("red", "wooden", "black")
    chair = {"width": "wide", "seat": "low", "back": "high", "legs": "thin", "arms": "no", "facing": "left"}
    assert caption("chair", chair, look=look) == (
        "a wide red wooden chair with a low seat, a tall backrest, four thin black legs and no armrests, facing left"
    )
    bed = combinations("bed")[0]
    assert "an orange mattress" in caption("bed", bed, look=Look("red", "plain", "orange"))
    assert "black" not in caption("chair", chair, look=Look("red", "plain", "red"))


def test_training_never_sees_the_pairs_that_are_held_out() -> None:
    shapes = [(category, combinations(category)[0]) for category in CATEGORIES]
    for item in training_items(shapes):
        assert item.look.main == item.look.accent or not is_unseen(item.look.main, item.look.accent)
    rng = Random(0)
    assert all(is_unseen(look.main, look.accent) for look in (draw_look(rng, True) for _ in range(20)))
    assert 5 <= sum(is_unseen(a, b) for a in PALETTE for b in PALETTE if a != b) <= 30


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize("main", PALETTE)
def test_painted_points_tell_their_look(main: str, material: str) -> None:
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (400, 3)).astype(np.float32)
    colors = paint(Look(main, material, "pink"), points, np.zeros(400, bool))
    assert nearest_main(colors, points, material) == main
    if main not in ("white", "grey", "black"):
        assert nearest_material(colors, points, main) == material
    assert nearest_accent(paint(Look(main, material, "pink"), points, np.ones(400, bool))) == "pink"


def test_crossed_cells_lie_between_voxels() -> None:
    occupied = np.zeros((4, 4, 4), bool)
    occupied[1:3, 1:3, 1:3] = True
    found = {tuple(cell) for cell in crossed_cells(occupied).tolist()}
    expected = {(x, y, z) for x in (1, 2, 3) for y in (1, 2, 3) for z in (1, 2, 3)} - {(2, 2, 2)}
    assert found == expected
    solid = solid_cells({"logits": np.where(occupied, 1.0, -1.0)[None, None]}, 1)
    assert solid is not None and np.argwhere(solid).tolist() == [[2, 2, 2]]
    assert solid_cells({"voxels": np.zeros((1, 3))}, 1) is None


@pytest.mark.parametrize("name", ["chair", "bench", "house"])
def test_true_features_give_the_true_surface_and_no_inner_one(name: str) -> None:
    shape = next(shape for shape in SHAPES if shape[0] == name)
    coords = cells_of(shape)
    found = mended(sample_cells(shape, coords))
    features = np.zeros((len(coords), 64, 53), np.float32)
    features[..., :8] = found.distance[:, corner_points()] + np.float32(1 / 128)
    solid = solid_cells({"logits": np.where(occupancy(*shape), 1.0, -1.0)[None, None]}, 1)
    mesh = mesh_of(features.reshape(-1, 53), subdivided(subdivided(coords)), 128, 1, solid)
    points = sample_surface(mesh, 2000)[0] - 0.5 / 32
    distance, _ = field(*shape, 2 * points.astype(np.float32))
    assert np.abs(distance).mean() * 16 < 0.05 and np.percentile(np.abs(distance) * 16, 99.5) < 0.3
    hollow = mesh_of(features.reshape(-1, 53), subdivided(subdivided(coords)), 128)
    assert len(hollow.vertices) > 1.2 * len(mesh.vertices)  # without `solid` there is an inner surface


def test_assets_of_crossed_cells_are_where_the_shape_is() -> None:
    """The pipeline's own mesh and Gaussians, from true distances and from features of zero."""
    from gen3dexport.models.trellis.host.settings import read_settings
    from gen3dexport.models.trellis.host.slat_stage import make_asset

    settings = read_settings(COLOR_RELEASE)
    shape = next(shape for shape in SHAPES if shape[0] == "mug")
    coords = cells_of(shape)
    features = np.zeros((len(coords), 64, 101), np.float32)
    features[..., :8] = mended(sample_cells(shape, coords)).distance[:, corner_points()] + np.float32(1 / 128)
    state = {
        "coords": coords,
        "scale": np.array([1]),
        "logits": np.where(occupancy(*shape), 1.0, -1.0)[None, None],
        "slat_decoder_mesh": features.reshape(1, -1, 101),
        "slat_decoder_gs": np.zeros((1, len(coords), 14 * 8), np.float32),
    }
    mesh = make_asset("slat_decoder_mesh", state, settings)
    distance, _ = field(*shape, 2 * mesh.vertices)  # type: ignore[union-attr]
    assert np.abs(distance).mean() * 16 < 0.05 and np.abs(distance).max() * 16 < 0.5
    gaussians = make_asset("slat_decoder_gs", state, settings)
    distance, _ = field(*shape, 2 * gaussians.positions)  # type: ignore[union-attr]
    assert abs(np.median(distance)) * 16 < 0.1  # spread over cells that the surface crosses


def test_solid_cells_follow_a_coarsened_set() -> None:
    from gen3dexport.models.trellis.host.voxel_budget import Budget, fit

    occupied = np.linalg.norm(np.indices((32, 32, 32)) - 15.5, axis=0) < 11
    coords = crossed_cells(occupied)
    with pytest.warns(UserWarning, match="coarsened"):
        fitted = fit(coords, Budget.of(len(coords) - 1), 32, "coarsen")
    state = {"logits": np.where(occupied, 1.0, -1.0)[None, None]}
    solid = solid_cells(state, fitted.scale)
    assert solid is not None and fitted.scale == 2
    inside = {tuple(cell) for cell in np.argwhere(solid).tolist()} - {tuple(cell) for cell in fitted.coords.tolist()}
    filled = np.array(sorted(inside))
    assert len(filled) > 100 and np.abs(filled.mean(0) - 15.75).max() < 0.3
    assert np.linalg.norm(filled - 15.75, axis=1).max() < np.linalg.norm(fitted.coords - 15.75, axis=1).max()


def test_parts_that_touch_have_no_wall_between_them() -> None:
    shape = ("stairs", {"width": "wide", "slope": "low", "type": "solid", "steps": "three", "rail": "none"})
    coords = cells_of(shape)
    raw = sample_cells(shape, coords)
    fixed = mended(raw)
    inner = field(*shape, raw.points().reshape(-1, 3) + np.float32([0.1, 0.12, -0.1]))[0].reshape(raw.distance.shape)
    ties = (np.abs(raw.distance) < 1e-4) & (inner < -0.02)
    assert np.abs(fixed.distance - raw.distance)[raw.distance > 0].max() < 0.021
    assert (fixed.distance <= raw.distance).all() and ties.any()


def test_surface_points_are_on_the_surface() -> None:
    for shape in SHAPES[:6]:
        found = mended(sample_cells(shape, cells_of(shape)))
        points = surface_points(found, Look("red", "plain", "blue"), 6, np.random.default_rng(0))
        middle = found.points(np.array([62]))
        at = (middle + points.offset * np.float32(cells_module.CELL))[points.there]
        distance, _ = field(*shape, at.reshape(-1, 3))
        assert np.abs(distance).mean() / cells_module.CELL < 0.06
        ahead, _ = field(*shape, (at + 0.02 * points.normal[points.there]).reshape(-1, 3))
        assert (ahead > distance).mean() > 0.95
        np.testing.assert_allclose(np.linalg.norm(points.normal[points.there], axis=-1), 1, atol=1e-3)


def test_boxes_of_cells_are_boxes() -> None:
    coords = cells_of(SHAPES[0])
    rows = cells_module.box_of_cells(coords, np.random.default_rng(1), 300)
    assert 0 < len(rows) <= 300
    low, high = coords[rows].min(0), coords[rows].max(0)
    assert ((coords >= low) & (coords <= high)).all(1).sum() == len(rows)
    assert len(cells_module.box_of_cells(coords, np.random.default_rng(1), 10**6)) == len(coords)


def test_fast_layers_are_the_packages() -> None:
    """Outputs and gradients, in a child process: the training replaces methods of the package."""
    import subprocess

    code = """
import numpy as np, torch
from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
from gen3dexport.models.trellis.host.slat_inputs import FLOW_TABLES, MESH_TABLES, WINDOW_TABLES
from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs
from gen3dexport.models.trellis.host.voxel_budget import Budget, cells
from training.trellis_mini import fast_gather
torch.manual_seed(0)
grid = np.argwhere(np.ones((5, 5, 5), bool)).astype(np.int32)
coords = grid[np.random.default_rng(0).random(len(grid)) < 0.4]
count = len(coords)
flow = SLatFlow(8, 8, 64, 16, 8, 1, 2, io_block_channels=(32,))
mesh = SLatMeshDecoder(8, 256, 8, 2, {"use_color": True}, num_heads=4, mlp_ratio=1, window_size=4)
def tables(found, names):
    return [torch.from_numpy(found[name]) for name in names]
flow_in = tables(flow_tables(coords, Budget(count, cells(coords))), FLOW_TABLES)
mesh_in = mesh_inputs(coords, count, 4)
x, t, cond, z = torch.randn(2, count, 8), torch.tensor([3.0, 700.0]), torch.randn(2, 5, 16), torch.randn(1, count, 8)
def run(fast):
    flow.zero_grad(); mesh.zero_grad()
    v = flow(x, t, cond, *flow_in)
    if fast:
        tokens = mesh.trunk(z, *tables(mesh_in, WINDOW_TABLES))
        y = fast_gather.refine(mesh, tokens, *tables(mesh_in, ("neighbours", "real")))
    else:
        y = mesh(z, *tables(mesh_in, MESH_TABLES))
    (v.square().sum() + y.square().mean()).backward()
    return [v, y, *(p.grad for m in (flow, mesh) for p in m.parameters())]
before = [tensor.detach().clone() for tensor in run(False)]
fast_gather.use_fast_gather()
for one, other in zip(before, run(True), strict=True):
    torch.testing.assert_close(other.detach(), one, rtol=2e-4, atol=2e-5 * max(1.0, one.abs().max().item()))
print("same")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "same", done.stderr


def test_the_trained_weights_are_whole() -> None:
    from gen3dexport.models.trellis.host.settings import read_settings
    from gen3dexport.models.trellis.networks import loading

    settings = read_settings(COLOR_RELEASE)
    assert settings.slat is not None and settings.slat.cells == "crossed" and settings.slat.resolution == 32
    assert list(settings.checkpoints) == [
        *("text_encoder", "flow", "decoder", "slat_flow", "slat_decoder_gs", "slat_decoder_mesh"),
    ]
    for name, checkpoint in settings.checkpoints.items():
        if name != "text_encoder":
            module = loading.load_checkpoint(COLOR_RELEASE / checkpoint)
            assert all(torch.isfinite(p).all() for p in module.parameters())
    assert sum(path.stat().st_size for path in COLOR_RELEASE.rglob("*") if path.is_file()) <= 40_000_000


def test_held_out_items_are_those_on_disk() -> None:
    stored = json.loads((COLOR_RELEASE / "heldout.json").read_text())["items"]
    assert [item["caption"] for item in stored] == [item.caption for item in held_out_items()]
    assert sum(item["unseen_pair"] for item in stored) == 50
