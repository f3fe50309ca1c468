"""Textures of a mesh: what they are, their files, edits and scores; and what is baked into them."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gen3dexport.assets import files, kinds
from gen3dexport.assets.draw.render import render
from gen3dexport.assets.glb import TO_Y_UP
from gen3dexport.assets.mesh import Mesh, is_closed, whole_faces
from gen3dexport.assets.mesh_edits import largest_part, with_faces_at_most
from gen3dexport.assets.texture import Texture
from gen3dexport.errors import UsageError
from gen3dexport.models.sf3d.host.surface import surface
from gen3dexport.models.sf3d.host.textures import textured
from gen3dexport.models.texture_baking import in_bytes, painted, tangents, texels, unwrapped

Points = NDArray[np.float32]


def _directions(points: Points) -> dict[str, Points]:
    """A ball's colours by place, and normals that lean towards +z."""
    out = points / np.linalg.norm(points, axis=1, keepdims=True)
    lean = out + np.array([0, 0, 0.6])
    lean /= np.linalg.norm(lean, axis=1, keepdims=True)
    return {"features": (out / 2 + 0.5).astype(np.float32), "perturb_normal": lean.astype(np.float32)}


def _ball(p: Points) -> Points:
    return (10 * np.exp(-4 * (np.linalg.norm(p, axis=1) - 0.7))).astype(np.float32)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    pytest.importorskip("xatlas")
    found = surface(_ball, np.zeros_like, 12, 2, 10.0)
    return textured(found.vertices, found.faces, _directions, 256, {"roughness": 0.4, "metallic": 0.2}, 1 / 12)


def _document(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack_from("<I", content, 12)[0]
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def test_colours_are_baked_where_they_belong(mesh: Mesh) -> None:
    texture = mesh.texture
    assert texture is not None
    centres = mesh.vertices[mesh.faces].mean(1)
    expected = _directions(centres)["features"]
    off = np.abs(texture.color_at(texture.uv[mesh.faces].mean(1)) / 255 - expected)
    assert off.max() < 0.08 and off.mean() < 0.02


def test_normal_maps_give_the_fields_normals_back(mesh: Mesh) -> None:
    """As a renderer reads them: tangent, sign * normal x tangent and normal, green up in the picture."""
    texture = mesh.texture
    assert texture is not None and texture.normal is not None and texture.tangents is not None
    middle = texture.uv[mesh.faces].mean(1)
    size = len(texture.normal)
    stored = texture.normal[(middle[:, 1] * size).astype(int), (middle[:, 0] * size).astype(int)] / 127.5 - 1
    n, t = (values[mesh.faces].mean(1) for values in (mesh.normals, texture.tangents))
    b = t[:, 3:] * np.cross(n, t[:, :3])
    shown = stored[:, :1] * t[:, :3] + stored[:, 1:2] * b + stored[:, 2:] * n
    shown /= np.linalg.norm(shown, axis=1, keepdims=True)
    cosine = (shown * _directions(mesh.vertices[mesh.faces].mean(1))["perturb_normal"]).sum(1)
    assert np.quantile(cosine, 0.05) > 0.97 and cosine.mean() > 0.99
    # The bitangent points to where v falls, which is up in the picture.
    corners, uv = mesh.vertices[mesh.faces], texture.uv[mesh.faces]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    du, dv = uv[:, 1:, 0] - uv[:, :1, 0], uv[:, 1:, 1] - uv[:, :1, 1]
    area = du[:, :1] * dv[:, 1:] - du[:, 1:] * dv[:, :1]
    up = -(two * du[:, :1] - one * du[:, 1:]) / area
    assert ((up * b).sum(1) > 0).mean() > 0.99
    assert set(np.unique(texture.tangents[:, 3])) <= {-1.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(texture.tangents[:, :3], axis=1), 1, atol=1e-5)


def test_a_mirrored_chart_turns_the_bitangent() -> None:
    pytest.importorskip("xatlas")
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    normals = np.tile(np.array([[0, 0, 1]], np.float32), (3, 1))
    made = unwrapped(points, np.array([[0, 1, 2]]), 64)
    places = points[made.source]
    seen = replace(made, uv=np.stack([places[:, 0], 1 - places[:, 1]], 1))  # as it is seen from above
    mirrored = replace(made, uv=np.stack([1 - places[:, 0], 1 - places[:, 1]], 1))
    np.testing.assert_allclose(tangents(places, normals, seen), [[1, 0, 0, 1]] * 3, atol=1e-6)
    np.testing.assert_allclose(tangents(places, normals, mirrored), [[-1, 0, 0, -1]] * 3, atol=1e-6)


def test_glb_has_the_material(mesh: Mesh, tmp_path: Path) -> None:
    files.write(mesh, tmp_path / "a.glb")
    document, binary = _document((tmp_path / "a.glb").read_bytes())
    (material,), (primitive,) = document["materials"], document["meshes"][0]["primitives"]
    surface_ = material["pbrMetallicRoughness"]
    assert (surface_["metallicFactor"], surface_["roughnessFactor"]) == (1.0, 1.0)
    assert not material["doubleSided"]  # it is closed, seams or not
    assert {*primitive["attributes"]} == {"POSITION", "NORMAL", "TANGENT", "TEXCOORD_0"}
    wanted = {"base": surface_["baseColorTexture"], "mr": surface_["metallicRoughnessTexture"]}
    wanted["normal"] = material["normalTexture"]
    from io import BytesIO

    from PIL import Image

    shown = {}
    for name, place in wanted.items():
        image = document["images"][document["textures"][place["index"]]["source"]]
        view = document["bufferViews"][image["bufferView"]]
        assert "target" not in view
        start = view["byteOffset"]
        shown[name] = np.asarray(Image.open(BytesIO(binary[start : start + view["byteLength"]])))
    assert mesh.texture is not None
    np.testing.assert_array_equal(shown["base"], mesh.texture.base_color)
    np.testing.assert_array_equal(shown["normal"], mesh.texture.normal)
    np.testing.assert_array_equal(shown["mr"][0, 0], [255, 102, 51])  # roughness 0.4 in green, metalness 0.2 in blue
    accessor = document["accessors"][primitive["attributes"]["TANGENT"]]
    view = document["bufferViews"][accessor["bufferView"]]
    stored = np.frombuffer(binary, "<f4", accessor["count"] * 4, view["byteOffset"]).reshape(-1, 4)
    np.testing.assert_allclose(stored[:, :3], mesh.texture.tangents[:, :3] @ TO_Y_UP.T, atol=1e-6)
    np.testing.assert_array_equal(stored[:, 3], mesh.texture.tangents[:, 3])


def test_other_files_have_the_colours(mesh: Mesh, tmp_path: Path) -> None:
    files.write(mesh, tmp_path / "a.ply")
    from gen3dexport.assets import read

    found = read(tmp_path / "a.ply")
    assert found.colors is not None and mesh.texture is not None
    np.testing.assert_array_equal(found.colors, mesh.texture.color_at(mesh.texture.uv))


def test_arrays_are_lossless_and_pictures_show_the_texture(mesh: Mesh) -> None:
    again = kinds.from_arrays(kinds.to_arrays({"mesh": mesh}))["mesh"]
    for name, values in kinds.of("mesh").arrays(mesh).items():
        np.testing.assert_array_equal(values, kinds.of("mesh").arrays(again)[name])
    assert again.texture.roughness == 1.0
    plain = render(replace(mesh, texture=None, colors=None), size=96)
    assert np.abs(render(mesh, size=96).astype(int) - plain).mean() > 3


def test_scores_see_the_texture(mesh: Mesh) -> None:
    module = kinds.of("mesh")

    def psnr(one: Mesh, other: Mesh) -> float:
        return {score.name: score.value for score in module.scores(one, other)}["texture_psnr"]

    assert mesh.texture is not None
    assert psnr(mesh, mesh) == np.inf
    darker = replace(mesh, texture=replace(mesh.texture, base_color=mesh.texture.base_color // 2))
    assert 5 < psnr(darker, mesh) < 20
    assert psnr(replace(mesh, texture=None), mesh) == -np.inf
    assert "texture_psnr" not in {score.name for score in module.scores(mesh, replace(mesh, texture=None))}
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    assert psnr(empty, mesh) == -np.inf


def test_edits_know_seams(mesh: Mesh) -> None:
    assert not is_closed(mesh.faces) and is_closed(whole_faces(mesh))
    other = replace(mesh.scaled(0.3), vertices=(mesh.scaled(0.3).vertices + 0.45).astype(np.float32))
    assert mesh.texture is not None and mesh.texture.tangents is not None
    twice = Texture(
        np.concatenate([mesh.texture.uv] * 2), mesh.texture.base_color, mesh.texture.normal,
        tangents=np.concatenate([mesh.texture.tangents] * 2),
    )  # fmt: skip
    both = Mesh(
        np.concatenate([mesh.vertices, other.vertices]),
        np.concatenate([mesh.faces, mesh.faces + len(mesh.vertices)]),
        texture=twice,
    )
    kept = largest_part(both)
    assert len(kept.faces) == len(mesh.faces)
    assert kept.texture is not None and len(kept.texture.uv) == len(kept.vertices)
    with pytest.raises(UsageError, match="--set max_faces=50"):
        with_faces_at_most(mesh, 50)
    assert with_faces_at_most(mesh, 10**6) is mesh


def test_colours_spread_beyond_charts_only_so_far() -> None:
    pytest.importorskip("xatlas")
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    made = unwrapped(points, np.array([[0, 1, 2]]), 64)
    covered = texels(replace(made, uv=np.array([[0.3, 0.3], [0.6, 0.3], [0.3, 0.6]], np.float32)), 64)
    values = np.ones((int(covered.covered.sum()), 3), np.float32)
    picture = painted(covered, values, 2, np.zeros(3, np.float32))
    rows, columns = np.nonzero(picture[..., 0])
    inner_rows, inner_columns = np.nonzero(covered.covered)
    assert rows.min() == inner_rows.min() - 2 and columns.max() == inner_columns.max() + 2
    bytes_ = in_bytes(np.full((64, 64, 1), 0.5, np.float32))
    assert set(np.unique(bytes_)) == {127, 128} and in_bytes(np.ones((2, 2, 3), np.float32)).max() == 255


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uv": np.zeros((3, 3), np.float32)}, "uv have shape"),
        ({"base_color": np.zeros((4, 4, 3), np.float32)}, "base_color is float32"),
        ({"normal": np.zeros((4, 4, 3), np.uint8)}, "needs the tangents"),
    ],
)
def test_wrong_textures(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"uv": np.zeros((3, 2), np.float32), "base_color": np.zeros((4, 4, 3), np.uint8)}
    with pytest.raises(ValueError, match=message):
        Texture(**{**given, **change})


def test_a_mesh_needs_a_place_for_every_vertex() -> None:
    texture = Texture(np.zeros((2, 2), np.float32), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="uv have shape"):
        Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), texture=texture)
