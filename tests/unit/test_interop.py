"""Assets to and from other libraries' objects: axes, units, colours, logits, logarithms, quaternions, harmonics.

Tests of Open3D and gsplat run where these are installed (docs/interop.md says how); those of PyTorch3D and Kaolin hold
the documented names of their objects, for neither has a wheel here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from gen3dexport import assets
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.interop import bytes_of
from gen3dexport.assets.interop_kaolin import occupancy_of, octree_of
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.assets.voxels import Voxels
from gen3dexport.errors import MissingError, UsageError

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int64)
COLORS = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 7], [20, 30, 40]], np.uint8)
NORMALS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, -1]], np.float32)


def mesh(**changed: Any) -> Mesh:
    return Mesh(**{"vertices": CORNERS, "faces": FACES, "normals": NORMALS, "colors": COLORS, **changed})


def gaussians(degree: int = 1) -> Gaussians:
    rng = np.random.default_rng(0)
    return Gaussians(
        rng.standard_normal((20, 3)).astype(np.float32),
        rng.uniform(0.01, 0.5, (20, 3)).astype(np.float32),
        rng.standard_normal((20, 4)).astype(np.float32),
        rng.uniform(0.01, 0.99, 20).astype(np.float32),
        rng.standard_normal((20, (degree + 1) ** 2, 3)).astype(np.float32),
    )


def volume(found: Mesh) -> float:
    """Positive where faces are counter-clockwise seen from outside, in a right-handed frame."""
    a, b, c = (found.vertices[found.faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_a_mesh_goes_to_trimesh_and_back(up: Any) -> None:
    made = assets.to_trimesh(mesh(), up)
    assert isinstance(made, trimesh.Trimesh) and made.volume == pytest.approx(1.0)  # faces stay outward
    high = made.vertices[3]  # the corner that is 3 high
    assert np.allclose(high, {"z": [0, 0, 3], "y": [0, 3, 0], "-y": [0, -3, 0]}[up])
    found = assets.from_trimesh(made, up)
    assert np.allclose(found.vertices, CORNERS) and np.array_equal(found.faces, FACES)
    assert np.array_equal(found.colors, COLORS) and np.allclose(found.normals, NORMALS)
    assert volume(found) == pytest.approx(1.0)


def test_trimesh_keeps_units_in_metres() -> None:
    box = trimesh.creation.box()
    box.units = "millimeters"
    assert assets.from_trimesh(box).unit == pytest.approx(0.001)
    assert assets.from_trimesh(box).colors is None  # none were given
    assert assets.to_trimesh(mesh(unit=1.0)).units == "meters"
    assert assets.to_trimesh(mesh(unit=0.5)).metadata["metres_per_unit"] == 0.5
    assert assets.to_trimesh(mesh(colors=None)).visual.kind is None


def test_a_scene_of_trimesh_has_its_parts_in_place() -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.add_geometry(trimesh.creation.box())
    found = assets.from_trimesh(scene)
    assert len(found.faces) == 24 and found.vertices[:, 0].max() == pytest.approx(5.5)
    with pytest.raises(UsageError, match="no triangles"):
        assets.from_trimesh(trimesh.Scene())


def test_points_go_to_trimesh_and_back() -> None:
    made = assets.to_trimesh(Points(CORNERS, COLORS), "y")
    found = assets.from_trimesh(made, "y")
    assert np.allclose(found.positions, CORNERS) and np.array_equal(found.colors, COLORS)
    assert assets.from_trimesh(trimesh.PointCloud(CORNERS)).colors is None


def test_open3d_takes_meshes_and_points() -> None:
    o3d = pytest.importorskip("open3d")
    made = assets.to_open3d(mesh(), "y")
    assert isinstance(made, o3d.geometry.TriangleMesh) and made.is_watertight()
    assert made.get_volume() == pytest.approx(1.0)
    assert np.allclose(np.asarray(made.vertices)[3], [0, 3, 0])
    assert np.allclose(np.asarray(made.vertex_colors)[1], [0, 128 / 255, 0])
    for one in (made, o3d.t.geometry.TriangleMesh.from_legacy(made)):
        found = assets.from_open3d(one, "y")
        assert np.allclose(found.vertices, CORNERS, atol=1e-6) and np.array_equal(found.faces, FACES)
        assert np.array_equal(found.colors, COLORS) and np.allclose(found.normals, NORMALS, atol=1e-6)
    cloud = assets.from_open3d(assets.to_open3d(Points(CORNERS, COLORS)))
    assert np.allclose(cloud.positions, CORNERS) and np.array_equal(cloud.colors, COLORS)
    bright = assets.to_open3d(Points(CORNERS, COLORS), light="linear")
    assert np.asarray(bright.colors)[1, 1] == pytest.approx(0.21586, abs=1e-4)  # 128 of 255 in linear light
    assert np.array_equal(assets.from_open3d(bright, light="linear").colors, COLORS)
    with pytest.raises(UsageError, match="no triangles"):
        assets.from_open3d(o3d.geometry.TriangleMesh())
    with pytest.raises(UsageError, match=r"got builtins\.list"):
        assets.from_open3d([1])


@pytest.mark.parametrize("layout", ["gsplat", "splatfacto"])
@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_gaussians_go_to_parameters_and_back(layout: Any, up: Any) -> None:
    own = gaussians()
    made = assets.to_gsplat(own, up, layout)
    found = assets.from_gsplat({name: torch.nn.Parameter(torch.from_numpy(v)) for name, v in made.items()}, up)
    assert np.allclose(found.positions, own.positions, atol=1e-5) and np.allclose(found.scales, own.scales, rtol=1e-5)
    assert np.allclose(found.opacities, own.opacities, atol=1e-6) and np.allclose(found.sh, own.sh, atol=1e-5)
    assert np.allclose(found.covariances, own.covariances, atol=1e-5)


def test_parameters_of_gaussians_have_the_values_that_are_trained() -> None:
    own = Gaussians(
        np.array([[1, 2, 3]], np.float32),
        np.array([[math.e, 1, 1 / math.e]], np.float32),
        np.array([[2, 0, 0, 0]], np.float32),
        np.array([0.75], np.float32),
        np.array([[[1, 2, 3]]], np.float32),
    )
    made = assets.to_gsplat(own)
    assert np.allclose(made["scales"], [[1, 0, -1]], atol=1e-6) and np.allclose(made["opacities"], [math.log(3)])
    assert np.allclose(made["quats"], [[1, 0, 0, 0]]) and np.allclose(made["sh0"], [[[1, 2, 3]]])
    assert made["shN"].shape == (1, 0, 3)
    flat = assets.to_gsplat(own, layout="splatfacto")
    assert flat["opacities"].shape == (1, 1) and flat["features_dc"].shape == (1, 3)
    y_up = assets.to_gsplat(own, "y")
    assert np.allclose(y_up["means"], [[1, 3, -2]])
    solid = assets.to_gsplat(Gaussians(own.positions, 0 * own.scales, own.quaternions, np.ones(1, np.float32), own.sh))
    assert all(np.isfinite(values).all() for values in solid.values())
    stored = {f"_model.gauss_params.{name}": values for name, values in flat.items()} | {"_model.other": np.zeros(1)}
    assert np.allclose(assets.from_gsplat(stored).positions, own.positions)


def test_wrong_parameters_of_gaussians_are_told() -> None:
    made = assets.to_gsplat(gaussians())
    with pytest.raises(UsageError, match=r"no scales, sh0 \(gsplat\) or features_dc"):
        assets.from_gsplat({k: v for k, v in made.items() if k not in ("scales", "sh0")})
    with pytest.raises(UsageError, match=r"20 means, but .'opacities': 3."):
        assets.from_gsplat({**made, "opacities": np.zeros(3, np.float32)})
    with pytest.raises(UsageError, match="quats hold NaN"):
        assets.from_gsplat({**made, "quats": np.full((20, 4), np.nan, np.float32)})
    with pytest.raises(UsageError, match="6 harmonics"):
        assets.from_gsplat({**made, "shN": np.zeros((20, 5, 3), np.float32)})
    with pytest.raises(UsageError, match="needs a mapping"):
        assets.from_gsplat([1])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs Gaussians"):
        assets.to_gsplat(mesh())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there are z, y, -y"):
        assets.to_gsplat(gaussians(), "x")  # type: ignore[arg-type]


def test_gsplat_reads_the_parameters_as_these_gaussians() -> None:
    """Its own functions, on the CPU, give the covariances and colours that ours have."""
    pytest.importorskip("gsplat")
    from gsplat.cuda._torch_impl import _quat_scale_to_covar_preci, _spherical_harmonics

    from gen3dexport.assets.harmonics import basis

    own = gaussians(3)
    made = {name: torch.from_numpy(values) for name, values in assets.to_gsplat(own).items()}
    covariances, _ = _quat_scale_to_covar_preci(made["quats"], made["scales"].exp(), True, False, False)
    upper = covariances[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]].numpy()
    assert np.allclose(upper, own.covariances, atol=1e-5)
    directions = np.random.default_rng(1).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    coefficients = torch.cat([made["sh0"], made["shN"]], 1)
    theirs = _spherical_harmonics(3, torch.from_numpy(directions).float(), coefficients).numpy()
    ours = np.einsum("nk,nkc->nc", basis(directions, 3), own.sh)
    assert np.allclose(theirs, ours, atol=1e-4)
    assert np.allclose(torch.sigmoid(made["opacities"]).numpy(), own.opacities, atol=1e-6)


def test_gsplat_writes_the_same_ply() -> None:
    gsplat = pytest.importorskip("gsplat.exporter")
    from gen3dexport.assets.gaussian_files import PLY_PROPERTIES, ply_rows

    own = gaussians(0)
    made = {name: torch.from_numpy(values) for name, values in assets.to_gsplat(own).items()}
    order = ("means", "scales", "quats", "opacities", "sh0", "shN")
    text = gsplat.export_splats(*(made[name] for name in order), format="ply")
    head, _, body = text.partition(b"end_header\n")
    names = [line.split()[-1].decode() for line in head.splitlines() if line.startswith(b"property")]
    rows = np.frombuffer(body, "<f4").reshape(20, len(names))
    mine = ply_rows(Gaussians(own.positions, own.scales, own.rotations, own.opacities, own.sh), None)
    for name in (n for n in PLY_PROPERTIES if not n.startswith("n")):
        ours = mine[:, PLY_PROPERTIES.index(name)]
        assert np.allclose(rows[:, names.index(name)], ours, atol=1e-5), name


class Meshes(SimpleNamespace):
    """The documented methods of pytorch3d.structures.Meshes."""

    def verts_list(self) -> list[torch.Tensor]:
        return self.verts

    def faces_list(self) -> list[torch.Tensor]:
        return self.faces


def test_a_mesh_of_pytorch3d_is_y_up_with_colours() -> None:
    corners = [torch.from_numpy(CORNERS[:, [0, 2, 1]] * np.array([1, 1, -1], np.float32))] * 2  # the same, y up
    textures = SimpleNamespace(verts_features_list=lambda: [torch.from_numpy(COLORS / 255).float()] * 2)
    batch = Meshes(verts=corners, faces=[torch.from_numpy(FACES)] * 2, textures=textures)
    found = assets.from_pytorch3d(batch, 1)
    assert np.allclose(found.vertices, CORNERS) and np.array_equal(found.colors, COLORS)
    assert np.array_equal(found.faces, FACES) and volume(found) == pytest.approx(1.0)
    with pytest.raises(UsageError, match="a batch of 2; name one with index=0 to 1"):
        assets.from_pytorch3d(batch)
    with pytest.raises(UsageError, match="the batch has 2"):
        assets.from_pytorch3d(batch, 2)
    with pytest.raises(UsageError, match="needs TexturesVertex"):
        assets.from_pytorch3d(Meshes(verts=corners, faces=batch.faces, textures=SimpleNamespace()), 0)
    with pytest.raises(UsageError, match="Meshes or Pointclouds"):
        assets.from_pytorch3d(mesh())
    with pytest.raises(MissingError, match="no wheel"):
        assets.to_pytorch3d(mesh())


def test_an_octree_of_kaolin_is_the_voxels() -> None:
    one = np.zeros((2, 2, 2), bool)
    one[1, 0, 0] = one[0, 1, 1] = True
    assert octree_of(one).tolist() == [2**4 + 2**3]  # children 4x + 2y + z: 4 and 3
    rng = np.random.default_rng(0)
    for edge in (2, 4, 16):
        occupancy = rng.random(3 * (edge,)) < 0.2
        occupancy[0, 0, 0] = True
        assert np.array_equal(occupancy_of(octree_of(occupancy)), occupancy)
    deep = np.zeros((4, 4, 4), bool)
    deep[3, 0, 0] = deep[0, 0, 3] = True
    # Level 0: children 1 (z) and 4 (x). Level 1 in that order: in child 1 the cell z=1, in child 4 the cell x=1.
    assert octree_of(deep).tolist() == [2**1 + 2**4, 2**1, 2**4]
    spc = SimpleNamespace(octrees=torch.from_numpy(octree_of(deep)), lengths=torch.tensor([3], dtype=torch.int32))
    found = assets.from_kaolin(spc, up="z")
    assert isinstance(found, Voxels) and np.array_equal(found.occupancy, deep)
    upright = assets.from_kaolin(spc)  # y up: (x, y, z) -> (x, -z, y)
    assert {*map(tuple, np.argwhere(upright.occupancy))} == {(3, 3, 0), (0, 0, 0)}
    with pytest.raises(UsageError, match="no octree"):
        occupancy_of(np.array([3, 1], np.uint8))
    with pytest.raises(UsageError, match="6 voxels"):
        octree_of(np.ones((6, 6, 6), bool))
    with pytest.raises(MissingError, match="no wheel"):
        assets.to_kaolin(Voxels(deep))
    with pytest.raises(UsageError, match="a batch"):
        assets.from_kaolin(SimpleNamespace(vertices=torch.zeros(2, 4, 3), faces=torch.zeros(2, 3)))


def test_colours_are_bytes_that_displays_take() -> None:
    assert bytes_of(np.array([[0.0, 0.5, 1.0]])).tolist() == [[0, 128, 255]]
    assert bytes_of(torch.tensor([[0.0, 0.21586, 1.0, 0.3]]), "linear").tolist() == [[0, 128, 255]]
    assert bytes_of(COLORS) is not COLORS and np.array_equal(bytes_of(COLORS), COLORS)
    with pytest.raises(UsageError, match="from 0 to 255"):
        bytes_of(np.array([[0.0, 10.0, 255.0]]))
    with pytest.raises(UsageError, match="needs bytes"):
        bytes_of(np.array([[0, 10, 255]]))
    with pytest.raises(UsageError, match=r"shape \[3\]"):
        bytes_of(np.zeros(3))
