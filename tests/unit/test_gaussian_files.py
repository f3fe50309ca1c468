"""Files of 3D Gaussians, decoded here by their formats' descriptions; benchmarks/outside_readers has other programs."""

from __future__ import annotations

import gzip
import json
import struct
import warnings
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen3dexport.assets import files
from gen3dexport.assets.gaussian_files import VIEWER_FRAME, ply_rows
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.glb import TO_Y_UP
from gen3dexport.assets.harmonics import basis, degree_of, turned
from gen3dexport.errors import UsageError

COUNT = 40


def some(degree: int = 1) -> Gaussians:
    rng = np.random.default_rng(0)
    return Gaussians(
        rng.uniform(-0.45, 0.45, (COUNT, 3)).astype(np.float32),
        rng.uniform(0.005, 0.06, (COUNT, 3)).astype(np.float32),
        rng.standard_normal((COUNT, 4)).astype(np.float32),
        rng.uniform(0.02, 0.98, COUNT).astype(np.float32),
        rng.uniform(-0.9, 0.9, (COUNT, (degree + 1) ** 2, 3)).astype(np.float32),
    )


def rotation(seed: int = 0) -> np.ndarray:
    axes, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    axes *= np.sign(np.diag(upper))
    return axes * np.sign(np.linalg.det(axes))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics_turn_with_their_frame(degree: int) -> None:
    """The colour seen from a turned direction is that of the direction before."""
    frame = rotation(degree)
    directions = np.random.default_rng(9).standard_normal((50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sh = some(degree).sh
    before = np.einsum("dk,nkc->ndc", basis(directions, degree), sh)
    after = np.einsum("dk,nkc->ndc", basis(directions @ frame.T, degree), turned(sh, frame))
    np.testing.assert_allclose(after, before, atol=1e-5)
    np.testing.assert_allclose(turned(turned(sh, frame), frame.T), sh, atol=1e-5)


def test_harmonics_are_orthonormal() -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((200_000, 3))
    values = basis(directions / np.linalg.norm(directions, axis=1, keepdims=True), 3)
    np.testing.assert_allclose(4 * np.pi * values.T @ values / len(values), np.eye(16), atol=0.02)
    with pytest.raises(ValueError, match="5 harmonics"):
        degree_of(5)


def test_turned_gaussians_have_turned_covariances() -> None:
    frame, made = rotation(), some()
    there = made.turned(frame)

    def full(g: Gaussians) -> np.ndarray:
        return g.covariances[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)

    np.testing.assert_allclose(full(there), frame @ full(made) @ frame.T, atol=1e-6)
    np.testing.assert_allclose(there.positions, made.positions @ frame.T, atol=1e-6)


def test_opacities_and_scales_of_0_and_1_are_finite_numbers(tmp_path: Path) -> None:
    made = some(0)
    opacities = np.array([0, 1, 1 - 2**-24, 0.1] * (COUNT // 4), np.float32)
    scales = np.where(np.arange(3 * COUNT).reshape(COUNT, 3) % 5 == 0, 0, made.scales).astype(np.float32)
    made = replace(made, opacities=opacities, scales=scales)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ending in (".ply", ".splat", ".spz", ".glb"):
            files.write(made, tmp_path / f"a{ending}")
        rows = ply_rows(made)
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[:4, 9], [-20, 20, 16.6355, -2.1972], atol=1e-3)
    assert rows[:, 10:13].min() == -20


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_ply_holds_all_harmonics_channel_by_channel(degree: int, tmp_path: Path) -> None:
    made = some(degree)
    files.write(made, tmp_path / "a.ply")
    head, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n", 1)
    names = [line.split()[2] for line in head.decode().splitlines() if line.startswith("property")]
    rest = 3 * ((degree + 1) ** 2 - 1)
    assert names[6:9] == ["f_dc_0", "f_dc_1", "f_dc_2"] and names[9 + rest] == "opacity"
    assert names[9 : 9 + rest] == [f"f_rest_{k}" for k in range(rest)]
    rows = np.frombuffer(body, "<f4").reshape(COUNT, len(names))
    own = np.delete(rows, np.s_[9 : 9 + rest], axis=1)
    np.testing.assert_array_equal(own, ply_rows(made))
    expected = turned(made.sh, VIEWER_FRAME)[:, 1:]
    for channel in range(3):
        some_rest = rows[:, 9 + channel * rest // 3 : 9 + (channel + 1) * rest // 3]
        np.testing.assert_allclose(some_rest, expected[:, :, channel], atol=1e-6)


def test_degrees_are_filled_with_zeros_or_cut() -> None:
    made = some(1)
    filled = made.with_degree(3)
    assert filled.sh.shape == (COUNT, 16, 3) and not filled.sh[:, 4:].any()
    np.testing.assert_array_equal(filled.sh[:, :4], made.sh)
    np.testing.assert_array_equal(filled.with_degree(0).sh, made.sh[:, :1])


def splat_glb(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    document, binary = json.loads(data[20 : 20 + size]), data[28 + size :]
    found = {}
    for name, index in document["meshes"][0]["primitives"][0]["attributes"].items():
        accessor = document["accessors"][index]
        assert accessor["componentType"] == 5126 and accessor["count"] == COUNT
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
        found[name] = np.frombuffer(binary, "<f4", COUNT * width, start).reshape(COUNT, width)
    return document, found


@pytest.mark.parametrize("degree", [0, 3])
def test_a_glb_of_gaussians_follows_the_extension(degree: int, tmp_path: Path) -> None:
    made = some(degree)
    files.write(made, tmp_path / "a.glb")
    document, found = splat_glb(tmp_path / "a.glb")
    primitive = document["meshes"][0]["primitives"][0]
    assert document["extensionsUsed"] == ["KHR_gaussian_splatting"] and primitive["mode"] == 0
    assert primitive["extensions"] == {
        "KHR_gaussian_splatting": {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    }
    there = made.turned(TO_Y_UP)
    own = {name.partition(":")[2]: values for name, values in found.items() if ":" in name}
    np.testing.assert_array_equal(found["POSITION"], there.positions)
    np.testing.assert_array_equal(own["ROTATION"], there.rotations[:, [1, 2, 3, 0]])
    np.testing.assert_array_equal(own["SCALE"], made.scales)  # as they are, no logarithm
    np.testing.assert_array_equal(own["OPACITY"][:, 0], made.opacities)
    assert len(own) == 3 + (degree + 1) ** 2
    for k in range(degree + 1):
        for n in range(2 * k + 1):
            np.testing.assert_array_equal(own[f"SH_DEGREE_{k}_COEF_{n}"], there.sh[:, k * k + n])


def decoded_spz(data: bytes) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """By the format's description: quaternions without their largest part, scales as 8 bits of their logarithms."""
    raw = gzip.decompress(data)
    magic, version, count, degree, fraction, flags, reserved = struct.unpack_from("<IIIBBBB", raw)
    at, found = 16, {}
    sizes = {"positions": 9, "alphas": 1, "colors": 3, "scales": 3, "rotations": 4, "sh": 3 * ((degree + 1) ** 2 - 1)}
    for name, size in sizes.items():
        found[name] = np.frombuffer(raw, np.uint8, count * size, at).reshape(count, size)
        at += count * size
    assert at == len(raw)
    bytes_ = found["positions"].reshape(count, 3, 3).astype(np.int64)
    whole = bytes_[..., 0] | bytes_[..., 1] << 8 | bytes_[..., 2] << 16
    positions = np.where(whole >= 1 << 23, whole - (1 << 24), whole) / 2**fraction
    rotations = []
    for code in found["rotations"].copy().view("<u4")[:, 0].tolist():
        largest, q = code >> 30, [0.0] * 4
        for place in (3, 2, 1, 0):
            if place != largest:
                q[place] = (code & 511) / 511 / np.sqrt(2) * (-1 if code & 512 else 1)
                code >>= 10
        q[largest] = np.sqrt(1 - sum(v * v for v in q))
        rotations.append([q[3], *q[:3]])
    values = {
        "positions": positions,
        "opacities": found["alphas"][:, 0] / 255,
        "scales": np.exp(found["scales"] / 16 - 10),
        "rotations": np.array(rotations),
        "dc": (found["colors"] / 255 - 0.5) / 0.15,
        "rest": (found["sh"].astype(float) - 128).reshape(count, -1, 3) / 128,
    }
    return (magic, version, count, degree, flags, reserved), values


@pytest.mark.parametrize("count", [0, COUNT])
def test_an_spz_takes_no_gaussians_and_none_too_far(count: int, tmp_path: Path) -> None:
    made = some(2)
    few = replace(made, **{f.name: getattr(made, f.name)[:count] for f in fields(made)})
    files.write(few, tmp_path / "a.spz")
    assert struct.unpack_from("<I", gzip.decompress((tmp_path / "a.spz").read_bytes()), 8) == (count,)
    far = replace(made, positions=made.positions * np.float32(1e9))
    with pytest.raises(UsageError, match=r"\.spz takes places within 8,388,607"):
        files.write(far, tmp_path / "b.spz")
    assert not (tmp_path / "b.spz").exists()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_an_spz_means_the_same_within_its_steps(degree: int, tmp_path: Path) -> None:
    made = some(degree)
    files.write(made, tmp_path / "a.spz")
    head, found = decoded_spz((tmp_path / "a.spz").read_bytes())
    assert head == (0x5053474E, 3, COUNT, degree, 0, 0)
    there = made.turned(TO_Y_UP)
    np.testing.assert_allclose(found["positions"], there.positions, atol=2**-17)
    np.testing.assert_allclose(found["opacities"], made.opacities, atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(np.log(found["scales"]), np.log(made.scales), atol=1 / 32 + 1e-5)
    assert np.abs((found["rotations"] * there.rotations).sum(1)).min() > 1 - 1e-5
    np.testing.assert_allclose(found["dc"], made.sh[:, 0], atol=0.5 / 255 / 0.15 + 1e-6)
    if degree:
        held = np.clip(there.sh[:, 1:], -1, 127 / 128)
        np.testing.assert_allclose(found["rest"][:, :3], held[:, :3], atol=4.5 / 128)
        np.testing.assert_allclose(found["rest"], held, atol=8.5 / 128)


def test_large_scenes_fit_into_an_spz(tmp_path: Path) -> None:
    for size in (1.0, 100.0, 1000.0, 30_000.0):
        made = replace(some(0), positions=(some(0).positions * size).astype(np.float32))
        files.write(made, tmp_path / "a.spz")
        found = decoded_spz((tmp_path / "a.spz").read_bytes())[1]["positions"]
        np.testing.assert_allclose(found, made.turned(TO_Y_UP).positions, atol=max(2**-17, size * 2**-22))


@pytest.mark.parametrize("ending", [".ply", ".splat", ".spz", ".glb"])
def test_same_gaussians_same_bytes(ending: str, tmp_path: Path) -> None:
    for name in "ab":
        files.write(some(), tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
