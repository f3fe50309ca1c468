"""Which asset goes into which file; .splat, .npz and .html files; pictures of every kind; the field's ray marcher."""

from __future__ import annotations

import base64
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen3dexport.assets import kinds
from gen3dexport.assets.draw.field_render import march, render_field
from gen3dexport.assets.files import check_output, choose, counts, turntable, write
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, from_occupancy_logits
from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.disk import check_place, write_output
from gen3dexport.errors import UsageError
from gen3dexport.pages import viewer

ALL = ("mesh", "gaussians", "radiance_field")


def gaussians(count: int = 50) -> Gaussians:
    rng = np.random.default_rng(0)
    return Gaussians(
        rng.uniform(-0.4, 0.4, (count, 3)).astype(np.float32),
        rng.uniform(0.01, 0.05, (count, 3)).astype(np.float32),
        rng.standard_normal((count, 4)).astype(np.float32),
        rng.uniform(0.1, 0.9, count).astype(np.float32),
        rng.uniform(-1, 1, (count, 1, 3)).astype(np.float32),
    )


def shell(resolution: int = 16, density: float = 60.0) -> RadianceField:
    """A thin ball whose colour is its position."""
    cells = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centres = (cells + 0.5) / resolution
    radius = np.linalg.norm(centres - 0.5, axis=1)
    kept = centres[(radius < 0.45) & (radius > 0.3)].astype(np.float32)
    colors = ((kept - 0.5) / 0.28209479177387814)[:, None, None] * np.ones((1, 2, 1, 1))
    return RadianceField(
        kept,
        resolution.bit_length() - 1,
        np.ones((len(kept), 2, 3, 4), np.float32),
        np.full((len(kept), 2), density / 2, np.float32),
        colors.astype(np.float32),
    )


def ball() -> Mesh:
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1)
    return from_occupancy_logits(5.5 - np.linalg.norm(grid - 7.5, axis=-1))


@pytest.mark.parametrize(
    ("name", "made", "wanted", "found"),
    [
        ("a.glb", ALL, "", "mesh"),
        ("a.PLY", ALL, "", "gaussians"),
        ("a.ply", ALL, "mesh", "mesh"),
        ("a.ply", ("mesh",), "", "mesh"),
        ("a.glb", ALL, "gaussians", "gaussians"),
        ("a.usdc", ALL, "", "gaussians"),
        ("a.usda", ALL, "mesh", "mesh"),
        ("a.splat", ALL, "", "gaussians"),
        ("a.html", ("mesh",), "", "mesh"),
        ("a.npz", ALL, "", "radiance_field"),
    ],
)
def test_the_ending_says_what_goes_in(name: str, made: tuple[str, ...], wanted: str, found: str) -> None:
    assert choose(Path(name), made, wanted, viewer.FILES) == found


@pytest.mark.parametrize(
    ("name", "made", "wanted", "message"),
    [
        ("a.fbx", ALL, "", r"known endings are .*\.glb.*\.splat"),
        ("a.obj", ALL, "gaussians", r"a \.obj holds mesh; name a \.ply, \.splat"),
        ("a.splat", ("mesh",), "", r"holds gaussians; name a \.glb"),
        ("a.npz", ("mesh",), "radiance_field", "makes mesh, no radiance_field"),
        ("a.glb", ALL, "cloud", "kind 'cloud': unknown; there are .*gaussians, .*mesh"),
    ],
)
def test_what_cannot_go_in_is_refused(name: str, made: tuple[str, ...], wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose(Path(name), made, wanted)


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "deeper" / "a.glb")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.glb").mkdir()
    for name, message in (("a.fbx", "known endings"), ("file/a.glb", "is a file"), ("folder.glb", "is a folder")):
        with pytest.raises(UsageError, match=message):
            check_output(tmp_path / name)
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "folder.glb").chmod(0o500)
        with pytest.raises(UsageError, match="no permission"):
            check_output(tmp_path / "folder.glb" / "a.glb")


def test_outputs_go_through_links_pipes_and_devices(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target.bin", tmp_path / "link.glb", tmp_path / "pipe.glb"
    link.symlink_to(target)
    check_place(link)
    write_output(link, b"asset")
    assert link.is_symlink() and target.read_bytes() == b"asset"
    os.mkfifo(pipe)
    check_place(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"x" * 200_000)
    reader.join()
    assert read == [b"x" * 200_000] and pipe.is_fifo()
    full = Path("/dev/full")
    if full.is_char_device():
        linked = tmp_path / "full.glb"
        linked.symlink_to(full)
        check_place(linked)
        with pytest.raises(UsageError, match="the disk is full"):
            write_output(linked, b"asset")
        assert full.is_char_device() and linked.is_symlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket.glb"))
        with pytest.raises(UsageError, match="is no file"):
            check_place(tmp_path / "socket.glb")
    assert {p.name for p in tmp_path.iterdir()} >= {"target.bin", "link.glb", "pipe.glb"}


def test_splat_rows_are_as_viewers_read_them(tmp_path: Path) -> None:
    made = gaussians()
    write(made, tmp_path / "a.splat")
    data = (tmp_path / "a.splat").read_bytes()
    assert len(data) == 32 * 50
    floats = np.frombuffer(data, "<f4").reshape(50, 8)[:, :6]
    codes = np.frombuffer(data, "u1").reshape(50, 32)[:, 24:]
    weight = made.scales.prod(1) * made.opacities
    order = np.argsort(-weight)
    x, y, z = made.positions[order].T
    np.testing.assert_allclose(floats[:, :3], np.stack([x, -z, y], 1), atol=1e-6)
    np.testing.assert_allclose(floats[:, 3:], made.scales[order], rtol=1e-5)
    np.testing.assert_array_equal(codes[:, 3], np.round(255 * made.opacities[order]).astype(int))
    np.testing.assert_allclose(codes[:, :3], 255 * np.clip(made.colors[order], 0, 1), atol=0.51)
    turns = (codes[:, 4:].astype(float) - 128) / 128
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=0.02)


def test_pages_hold_the_asset(tmp_path: Path) -> None:
    write(gaussians(), tmp_path / "g.html", 'a <b> & "c"', viewer.FILES)
    page = (tmp_path / "g.html").read_text()
    rows = re.search(r'data-rows="([^"]+)"', page)
    assert rows is not None and len(base64.b64decode(rows[1])) == 32 * 50
    assert "function splatViewer" in page and "a &lt;b&gt; &amp;" in page and "a <b>" not in page
    write(ball(), tmp_path / "m.html", "a ball", viewer.FILES)
    page = (tmp_path / "m.html").read_text()
    assert '"type":"mesh3d"' in page and "function splatViewer" not in page


def test_a_field_is_kept_whole(tmp_path: Path) -> None:
    field = shell()
    write(field, tmp_path / "a.npz")
    kept = np.load(tmp_path / "a.npz")
    assert int(kept["depth"]) == 4
    for name in ("positions", "trivec", "density", "sh"):
        np.testing.assert_array_equal(kept[name], getattr(field, name))


@pytest.mark.parametrize(("make", "found"), [(ball, "faces"), (gaussians, "gaussians"), (shell, "voxels")])
def test_every_kind_has_pictures_and_counts(make: Any, found: str) -> None:
    asset = make()
    assert counts(asset)[found] > 0
    sheet = turntable(asset)
    assert sheet.shape[1] == 2 * sheet.shape[0] and sheet.std() > 5


@pytest.mark.parametrize("steps", [1, 3])
def test_empty_space_is_skipped_without_changing_the_picture(steps: int) -> None:
    field = shell()
    one, other = march(field, 35, 22, 48, steps, skip=True), march(field, 35, 22, 48, steps, skip=False)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert one[2] == other[2] > 0


def test_absorption_follows_the_law_of_beer_and_lambert() -> None:
    """A full cube of density d that a ray crosses along an axis, over a length of 1, lets exp(-d) pass."""
    cells = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    density = np.full((512, 1), np.log(np.expm1(1.7)), np.float32)  # softplus gives 1.7
    trivec = np.ones((512, 1, 3, 4), np.float32)
    field = RadianceField(
        ((cells + 0.5) / 8).astype(np.float32), 3, trivec, density, np.zeros((512, 1, 1, 3), np.float32)
    )
    light = march(field, 0, 0, 33, steps=16)[1][16, 16]
    assert light == pytest.approx(np.exp(-1.7), rel=0.02)
    assert march(field, 0, 0, 33)[1][0, 0] == 1.0


def test_pictures_of_fields_show_their_colours_and_background() -> None:
    picture = render_field(shell(32, 200.0), azimuth=0, elevation=0, size=64)
    assert (picture[0, 0] == 255).all()
    # Seen from +x: red is high, green grows to the right, blue upwards.
    assert picture[32, 32, 0] > 220 and picture[32, 44, 1] > picture[32, 20, 1] + 40
    assert picture[20, 32, 2] > picture[44, 32, 2] + 40


def test_gaussians_as_arrays() -> None:
    made = gaussians()
    found = kinds.from_arrays(kinds.to_arrays({"gaussians": made}))["gaussians"]
    assert kinds.from_arrays({"logits": np.zeros(1)}) == {}
    np.testing.assert_array_equal(found.quaternions, made.quaternions)
