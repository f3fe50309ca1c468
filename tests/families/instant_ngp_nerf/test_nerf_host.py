"""A radiance field on the host: cameras and their paths, occupancy, marching, and knobs that nothing reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nerf_tiny import checkpoint

from gen3dexport.documents.camera_path import read_camera_path
from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models import instant_ngp_nerf as family
from gen3dexport.models.instant_ngp_nerf.host import occupancy
from gen3dexport.models.instant_ngp_nerf.host.cameras import looking_in, path_of, rays
from gen3dexport.models.instant_ngp_nerf.host.marching import edges, march
from gen3dexport.models.instant_ngp_nerf.networks import renderer, sampling
from gen3dexport.models.instant_ngp_nerf.networks.field import contracted


def _settings(folder: Path, **knobs: Any) -> family.Settings:
    return family.read_settings(checkpoint(folder), family.Knobs(**knobs), False)


def test_an_orbit_looks_at_the_middle(tmp_path: Path) -> None:
    path = path_of(Request(), _settings(tmp_path, views=4, radius=2.0, elevation=0.0, resolution=5, rate=2.0))
    assert path.size == (5, 5) and path.times.tolist() == [0, 0.5, 1, 1.5]
    np.testing.assert_allclose(path.poses[:, :3, 3], [[2, 0, 0], [0, 2, 0], [-2, 0, 0], [0, -2, 0]], atol=1e-12)
    for pose in path.poses:
        origins, directions = rays(pose, 60, (5, 5))
        np.testing.assert_allclose(directions[12], -origins[12] / 2, atol=1e-6)
        assert directions[2, 2] > 0.2  # the top row looks up
        right = np.cross(directions[12], [0, 0, 1])
        assert directions[14] @ right > 0.2 > -0.2 > directions[10] @ right
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_a_field_of_view_goes_from_top_to_bottom() -> None:
    _, directions = rays(looking_in(0, 0, 1.0), 90, (100, 50))
    up = np.degrees(np.arctan2(directions[25, 2], -directions[25, 0]))
    assert up == pytest.approx(np.degrees(np.arctan(0.99)), abs=0.1)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("a chair"), "prompt: this model makes pictures along a camera path"),
        (Request(image=np.zeros((4, 4, 3), np.uint8)), "image: this model makes pictures along a camera path"),
        (Request(inputs={}), "poses is missing; a camera path has poses"),
        (Request(inputs={"poses": np.eye(4)[None]}), "fov is missing"),
        (Request(inputs={"pose": np.eye(4)[None]}), "'pose' is no input; did you mean 'poses'"),
        (Request(inputs={"poses": np.eye(4), "fov": [50]}), r"poses have shape \[4, 4\]; need \[N, 4, 4\]"),
        (Request(inputs={"poses": np.zeros((0, 4, 4)), "fov": []}), "one camera at least"),
        (Request(inputs={"poses": 2 * np.eye(4)[None], "fov": [50]}), "pose of camera 0 is no rotation with a place"),
        (Request(inputs={"poses": np.full((1, 4, 4), np.nan), "fov": [50]}), "poses holds NaN or infinity"),
        (Request(inputs={"poses": np.eye(4)[None], "fov": [50, 60]}), r"fov has shape \[2\]; needs \[1\]"),
        (Request(inputs={"poses": np.eye(4)[None], "fov": [180]}), "fov of camera 0 is not between 0 and 180"),
        (
            Request(inputs={"poses": np.stack([np.eye(4)] * 2), "fov": [9, 9], "times": [1, 1]}),
            "do not rise at camera 1",
        ),
        (Request(inputs={"poses": np.eye(4)[None], "fov": [9], "aspect": 0.0}), "pictures of 0 columns"),
        (Request(inputs={"poses": np.array(["x"]), "fov": [9]}), "poses holds <U1, and needs numbers"),
    ],
)
def test_bad_requests(request_: Request, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        family.begin(_settings(tmp_path), request_, tmp_path, np)


CAMERA = {"camera_to_world": np.eye(4).reshape(-1).tolist(), "fov": 50, "aspect": 2.0}


def _written(folder: Path, data: Any) -> Path:
    (path := folder / "path.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_camera_path_of_the_viewer(tmp_path: Path) -> None:
    nested = {"camera_to_world": np.eye(4)[:3].tolist(), "fov": 60}
    given = {"camera_path": [CAMERA, nested], "seconds": 4.0, "fps": 24, "render_width": 300, "render_height": 200}
    found = read_camera_path(_written(tmp_path, given))
    assert found["poses"].shape == (2, 4, 4) and found["fov"].tolist() == [50, 60]
    assert found["times"].tolist() == [0, 2] and found["aspect"] == 1.5
    path = path_of(Request(inputs=found), _settings(tmp_path / "weights", resolution=40))
    assert path.size == (40, 60)
    plain = read_camera_path(_written(tmp_path, {"camera_path": [CAMERA], "fps": 24}))
    assert plain["aspect"] == 2 and plain["times"].tolist() == [0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "not a camera path"),
        ({"poses": []}, "camera_path is missing or empty"),
        ({"camera_path": []}, "camera_path is missing or empty"),
        ({"camera_path": [CAMERA, 3]}, r"camera_path\[1\]: not a camera"),
        ({"camera_path": [{"fov": 50}]}, r"camera_path\[0\]: camera_to_world: needs 16 numbers"),
        ({"camera_path": [{**CAMERA, "camera_to_world": [1, 2]}]}, "needs 16 numbers"),
        ({"camera_path": [{**CAMERA, "camera_to_world": "x"}]}, "needs 16 numbers"),
        ({"camera_path": [{**CAMERA, "fov": None}]}, "fov: needs a number, and is None"),
        ({"camera_path": [CAMERA], "camera_type": "fisheye"}, "camera_type: 'fisheye'; pictures are made with"),
        ({"camera_path": [CAMERA], "seconds": 0}, "seconds: needs a number above 0"),
        ({"camera_path": [CAMERA], "render_width": 9}, "render_height: needs a number, and is None"),
    ],
)
def test_malformed_camera_paths(data: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_camera_path(_written(tmp_path, data))


def test_a_camera_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.json: not found; give the file of a camera path"):
        read_camera_path(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"render": "march", "rays": 9}, "knobs.rays: nothing reads it with render=march and occupancy=false"),
        ({"candidates": 9}, "knobs.candidates: nothing reads it with render=rays and occupancy=false"),
        ({"occupancy": True, "proposal_samples": (3, 4)}, "knobs.proposal_samples: nothing reads it with render=rays"),
        ({"proposal_samples": (3,)}, "knobs.proposal_samples: 1 numbers, and the model of .* has 2"),
    ],
)
def test_knobs_that_nothing_reads(knobs: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        _settings(tmp_path, **knobs)


def test_no_rays_are_refused() -> None:
    for knobs in ({"rays": 0}, {"chunk": 0}, {"samples": 0}, {"resolution": 0}, {"views": 0}):
        with pytest.raises(ValueError, match=next(iter(knobs))):
            family.Knobs(**knobs)


def test_the_contraction_and_its_inverse() -> None:
    draw = np.random.default_rng(0)
    positions = (draw.normal(size=(200, 3)) * np.exp(2 * draw.normal(size=(200, 1)))).astype(np.float32)
    places = occupancy.contracted(positions)
    np.testing.assert_allclose(places, contracted(torch.from_numpy(positions))[0], atol=1e-6)
    np.testing.assert_allclose(occupancy.spread(places), positions, rtol=2e-3, atol=1e-5)


def test_an_occupancy_grid_has_the_dense_cells_and_those_beside_them() -> None:
    found = occupancy.filled(lambda p: (np.linalg.norm(p, axis=1) < 0.5).astype(np.float32), 32, 0.5)
    inside = np.array([[0, 0, 0], [0.45, 0, 0], [0, -0.5, 0]], np.float32)
    outside = np.array([[0.8, 0, 0], [0, 3, 0], [100, 0, 0]], np.float32)
    assert occupancy.looked_up(found, inside).all() and not occupancy.looked_up(found, outside).any()
    grid = torch.from_numpy(found.astype(np.float32))
    again = renderer.looked_up(grid, torch.from_numpy(np.stack([inside, outside])))
    assert again.tolist() == [[1, 1, 1], [0, 0, 0]]


def _ball(points: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A thick ball whose colours are its points."""
    density = np.where(np.linalg.norm(points, axis=1) < 0.6, 30, 0).astype(np.float32)
    return density, (0.5 + 0.5 * np.clip(points, -1, 1)).astype(np.float32)


@pytest.mark.parametrize("background", ["white", "black", "last_sample"])
def test_marching_is_the_network_s_sum(background: str) -> None:
    """The host collects what `collected` does, but for the light at which rays end; empty cells change nothing."""
    origins, directions = rays(looking_in(30, 20, 2.5), 40, (24, 24))
    t = edges(96, 0.5, 6.0)
    u = torch.linspace(0, 1, 97)
    np.testing.assert_allclose(t, sampling.distances(u, 0.5, 6.0), rtol=1e-5)
    found = march(_ball, origins, directions, t, background)
    points = renderer.along(*(torch.from_numpy(r) for r in (origins, directions)), torch.from_numpy(t)[None])
    density, colors = (torch.from_numpy(v) for v in _ball(points.reshape(-1, 3).numpy(), directions))
    whole = torch.from_numpy(t)[None].expand(len(origins), -1)
    weights, _ = sampling.weights_of(density.reshape(-1, 96), whole)
    color, depth, seen, _ = sampling.collected(weights, colors.reshape(-1, 96, 3), whole, background)
    np.testing.assert_allclose(found.colors, color, atol=3e-3)
    np.testing.assert_allclose(found.accumulation, seen[:, 0], atol=3e-3)
    hit = found.accumulation > 0.9
    assert 0.1 < hit.mean() < 0.9
    np.testing.assert_allclose(found.depth[hit], depth[hit][:, 0], atol=1e-5)
    grid = occupancy.filled(lambda p: _ball(p, p)[0], 48, 1.0)
    skipped = march(_ball, origins, directions, t, background, grid)
    np.testing.assert_allclose(skipped.colors, found.colors, atol=1e-6)
    assert skipped.asked < 0.4 * found.asked
