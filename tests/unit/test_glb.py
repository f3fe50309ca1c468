"""glTF files: what other programs find in ours, and what we read of theirs."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from gen3dexport.assets.colour import display_light, linear_light
from gen3dexport.assets.glb import TO_Y_UP, glb
from gen3dexport.assets.glb_reading import GlbProblem, read_triangles
from gen3dexport.assets.mesh import Mesh, is_closed
from gen3dexport.assets.mesh_files import read, write
from gen3dexport.errors import VerificationError

ALL_BYTES = np.arange(256, dtype=np.uint8)


def box(rgb: tuple[int, int, int] | None = (213, 170, 59)) -> Mesh:
    made = trimesh.creation.box((0.2, 0.3, 0.9))
    colors = None if rgb is None else np.full((8, 3), rgb, np.uint8)
    return Mesh(np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int64), None, colors)


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def values(path: Path, name: str) -> np.ndarray:
    """An attribute of the file's only primitive, which this project writes as floats."""
    document, binary = parts(path)
    accessor = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"][name]]
    assert accessor["componentType"] == 5126
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    return np.frombuffer(binary, "<f4", accessor["count"] * width, start).reshape(-1, width)


def test_colours_are_linear_light_and_come_back(tmp_path: Path) -> None:
    write(box(), tmp_path / "a.glb")
    np.testing.assert_allclose(values(tmp_path / "a.glb", "COLOR_0")[0], [0.6654, 0.4020, 0.0437], atol=5e-5)
    back = read(tmp_path / "a.glb").colors
    assert back is not None and (back == (213, 170, 59)).all()


def test_all_bytes_survive_linear_light() -> None:
    np.testing.assert_array_equal(np.rint(255 * display_light(linear_light(ALL_BYTES / 255))), ALL_BYTES)


@pytest.mark.parametrize("rgb", [(213, 170, 59), None])
def test_the_surface_is_matt_and_no_metal(rgb: tuple[int, int, int] | None, tmp_path: Path) -> None:
    write(box(rgb), tmp_path / "a.glb")
    document = parts(tmp_path / "a.glb")[0]
    material = document["materials"][document["meshes"][0]["primitives"][0]["material"]]
    assert material["pbrMetallicRoughness"] == {"metallicFactor": 0, "roughnessFactor": 0.9}


def test_only_open_surfaces_are_seen_from_behind(tmp_path: Path) -> None:
    closed, opened = box(), replace(box(), faces=box().faces[2:])
    assert is_closed(closed.faces) and not is_closed(opened.faces)
    assert not is_closed(np.concatenate([closed.faces, closed.faces]))  # every edge has four faces
    assert not is_closed(np.concatenate([closed.faces[:-1], closed.faces[-1:, ::-1]]))  # one is inside out
    for mesh, expected in ((closed, False), (opened, True)):
        write(mesh, tmp_path / "a.glb")
        assert parts(tmp_path / "a.glb")[0]["materials"][0]["doubleSided"] is expected


def test_an_obj_stands_as_a_glb_does(tmp_path: Path) -> None:
    write(box(), tmp_path / "a.obj")
    rows = [line.split()[1:4] for line in (tmp_path / "a.obj").read_text().splitlines() if line.startswith("v ")]
    np.testing.assert_allclose(np.ptp(np.array(rows, float), axis=0), [0.2, 0.9, 0.3], atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "a.obj").vertices, box().vertices, atol=1e-6)


def test_normals_in_files_are_never_zero(tmp_path: Path) -> None:
    lone = Mesh(np.concatenate([box().vertices, np.ones((1, 3), np.float32)]), box().faces)
    given = replace(lone, normals=np.zeros((9, 3), np.float32))
    for mesh in (lone, given):
        write(mesh, tmp_path / "a.glb")
        lengths = np.linalg.norm(values(tmp_path / "a.glb", "NORMAL"), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_trimesh_reads_our_shape(tmp_path: Path) -> None:
    write(box(), tmp_path / "a.glb")
    loaded = trimesh.load_mesh(tmp_path / "a.glb", process=False)
    np.testing.assert_allclose(loaded.vertices @ TO_Y_UP, box().vertices, atol=1e-6)
    assert loaded.is_watertight and loaded.volume == pytest.approx(0.2 * 0.3 * 0.9, rel=1e-5)


def theirs(
    points: np.ndarray,
    colors: np.ndarray | None = None,
    node: dict[str, Any] | None = None,
    normalized: bool = False,
    used: tuple[str, ...] = (),
) -> bytes:
    """A file of another tool: attributes of any component type, a node that places them."""
    attributes = {"POSITION": points} | ({} if colors is None else {"COLOR_0": colors})
    faces = np.arange(len(points) // 3 * 3, dtype=np.uint16)
    data = glb(attributes, faces, {}, {"nodes": [{"mesh": 0, **(node or {})}], "extensionsRequired": list(used)})
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    for name, index in document["meshes"][0]["primitives"][0]["attributes"].items():
        whole = document["accessors"][index]["componentType"] != 5126
        document["accessors"][index]["normalized"] = whole and (normalized or name == "COLOR_0")
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


TRIANGLE = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.25, -0.5]], np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.uint16])
@pytest.mark.parametrize("width", [3, 4])
def test_colours_of_every_type_are_read(kind: type, width: int, tmp_path: Path) -> None:
    full = 1 if kind is np.float32 else np.iinfo(kind).max
    linear = np.zeros((3, width), kind)
    linear[:, :3] = (
        np.rint(linear_light(np.array([213, 170, 59]) / 255) * full) if full > 1 else (0.6654, 0.402, 0.0437)
    )
    if kind is np.uint8 and width == 3:
        linear = np.concatenate([linear, np.zeros((3, 1), kind)], 1)  # rows of 3 bytes would need padding
    (tmp_path / "a.glb").write_bytes(theirs(TRIANGLE, linear))
    found = read(tmp_path / "a.glb").colors
    assert found is not None
    assert np.abs(found.astype(int) - (213, 170, 59)).max() <= (4 if kind is np.uint8 else 1)


def test_quantised_positions_are_read(tmp_path: Path) -> None:
    """As gltfpack writes them: 16-bit whole numbers, a node that scales them back."""
    for normalized, steps, scale in ((True, 32767, 1.0), (False, 4096, 1 / 4096)):
        whole = np.rint(TRIANGLE * steps).astype(np.int16)
        data = theirs(whole, None, {"scale": [scale] * 3}, normalized, ("KHR_mesh_quantization",))
        found = read_triangles(data)
        np.testing.assert_allclose(found.vertices, TRIANGLE, atol=1e-4)
        assert found.faces.tolist() == [[0, 1, 2]]


def test_nodes_place_meshes(tmp_path: Path) -> None:
    half = np.sqrt(0.5)
    turned = read_triangles(theirs(TRIANGLE, None, {"rotation": [half, 0, 0, half], "translation": [1, 2, 3]}))
    np.testing.assert_allclose(turned.vertices, TRIANGLE @ [[1, 0, 0], [0, 0, 1], [0, -1, 0]] + [1, 2, 3], atol=1e-6)
    mirrored = read_triangles(theirs(TRIANGLE, None, {"scale": [-1, 1, 1]}))
    assert mirrored.faces.tolist() == [[2, 1, 0]]
    matrix = np.diag([2.0, 2, 2, 1])
    matrix[3, :3] = (5, 6, 7)  # column by column
    placed = read_triangles(theirs(TRIANGLE, None, {"matrix": matrix.reshape(-1).tolist()}))
    np.testing.assert_allclose(placed.vertices, 2 * TRIANGLE + [5, 6, 7], atol=1e-6)


def edited(change: Callable[[dict[str, Any]], None], colors: Any = None) -> bytes:
    data = theirs(TRIANGLE, colors)
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def primitive(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["meshes"][0]["primitives"][0]
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(extensionsRequired=["KHR_draco_mesh_compression"]), "needs KHR_draco_mesh_compression"),
        (lambda d: primitive(d).update(mode=5), "points, lines or strips"),
        (lambda d: primitive(d).update(targets=[{}]), "morphed"),
        (lambda d: d["accessors"][0].update(sparse={}), "sparse"),
        (lambda d: d["accessors"][0].update(count=1000), "cut short"),
        (lambda d: d["accessors"][0].update(componentType=5), "is damaged"),
        (lambda d: d["buffers"][0].update(uri="a.bin"), "other files"),
        (lambda d: d["nodes"][0].update(children=[0]), "reached twice"),
        (lambda d: d["nodes"].extend([{"mesh": 0}]) or d["nodes"][0].update(children=[1, 1]), "reached twice"),
        (lambda d: d["accessors"][0].update(count=0), "not there"),
        (lambda d: d["accessors"][0].update(bufferView=-1), "is damaged"),
        (lambda d: d["bufferViews"][0].update(byteStride=0), "cut short"),
        (lambda d: d["nodes"][0].update(matrix=[1] * 15), "is damaged"),
        (lambda d: d["nodes"][0].update(rotation=[0, 0, 1]), "is damaged"),
        (lambda d: d["nodes"][0].update(translation=[1, 2]), "is damaged"),
        (lambda d: d["nodes"][0].update(matrix=[float("nan")] * 16), "no place that 32 bits"),
        (lambda d: d["nodes"][0].update(scale=[1e39, 1, 1]), "no place that 32 bits"),
        (
            lambda d: (
                d.update(materials=[{"pbrMetallicRoughness": {"baseColorFactor": [float("nan"), 0, 0, 1]}}]),
                primitive(d).update(material=0),
            ),
            "no finite numbers",
        ),
        (lambda d: primitive(d)["attributes"].update(POSITION=-1), "is damaged"),
        (lambda d: primitive(d).update(material=0), "is damaged"),
        (lambda d: d.update(scenes="x"), "is damaged"),
        (lambda d: d.update(scenes=[None]), "is damaged"),
        (lambda d: d["accessors"][0].update(count=2), "not there"),
        (lambda d: d.update(meshes=[]), "is damaged"),
        (lambda d: d["scenes"][0].update(nodes=[]), "no mesh"),
    ],
)
def test_what_is_not_read_is_refused(change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(GlbProblem, match=message):
        read_triangles(edited(change))
    (tmp_path / "a.glb").write_bytes(edited(change))
    with pytest.raises(VerificationError, match="write it again"):
        read(tmp_path / "a.glb")


def test_a_material_colours_what_it_covers() -> None:
    """glTF multiplies: a vertex's colour, or white, by the factor of its material."""
    linear = np.array([[0.8, 0.4, 0.2]] * 3, np.float32)

    def seen(colors: Any, surface: dict[str, Any]) -> Any:
        def change(document: dict[str, Any]) -> None:
            document["materials"] = [{"pbrMetallicRoughness": surface}]
            primitive(document)["material"] = 0

        return read_triangles(edited(change, colors)).colors

    np.testing.assert_allclose(seen(linear, {"baseColorFactor": [0.5, 1, 0.25, 1]})[0], [0.4, 0.4, 0.05], atol=1e-6)
    np.testing.assert_allclose(seen(None, {"baseColorFactor": [1, 0, 0, 1]}), [[1, 0, 0]] * 3)
    np.testing.assert_allclose(seen(linear, {}), linear)
    assert seen(None, {}) is None and seen(None, {"baseColorFactor": [1, 1, 1, 0.5]}) is None
    assert seen(linear, {"baseColorTexture": {"index": 0}}) is None  # colours of the places between vertices


def test_every_cut_is_refused() -> None:
    data = theirs(TRIANGLE)
    for length in range(0, len(data), 7):
        with pytest.raises(GlbProblem):
            read_triangles(data[:length])
