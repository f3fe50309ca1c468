"""Files of sequences: an OpenUSD prim over time, PLY files with times, moving pictures, a page; what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen3dexport.assets import files, kinds, usd_over_time
from gen3dexport.assets.asset import Asset
from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.draw.turning import moving_pictures
from gen3dexport.assets.edits import Edits
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.points import Points
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.errors import UsageError
from gen3dexport.pages.viewer import viewer_html

TIMES = np.array([2.0, 2.1, 2.3, 2.4])  # one step is twice as long


def _gaussians(k: int) -> Gaussians:
    rng = np.random.default_rng(0)
    moved = rng.uniform(-0.3, 0.3, (20, 3)) + np.array([0.02 * k, 0, 0])
    rest = (
        rng.uniform(0.01, 0.05, (20, 3)),
        rng.standard_normal((20, 4)),
        rng.uniform(0.3, 1, 20),
        rng.random((20, 1, 3)),
    )
    return Gaussians(*(values.astype(np.float32) for values in (moved, *rest)))


def _mesh(k: int) -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1 + k]], np.float32) / 4
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    return Mesh(corners, faces if k < 2 else faces[:3], colors=np.full((4, 3), 60 * k, np.uint8))


def _points(k: int) -> Points:
    return Points(np.full((5, 3), 0.1 * k, np.float32), None if k < 0 else np.full((5, 3), 50, np.uint8))


def _depth(k: int) -> DepthMap:
    return DepthMap(np.full((4, 5), 1.0 + k, np.float32))


def _sequence(make: Any, times: Any = TIMES) -> AssetSequence:
    items: tuple[Asset, ...] = tuple(make(k) for k in range(len(times)))
    return AssetSequence(items, np.asarray(times, np.float64))


def _stage(sequence: AssetSequence, path: Path) -> Any:
    usd = pytest.importorskip("pxr.Usd")
    files.write(sequence, path)
    return usd.Stage.Open(str(path))


@pytest.mark.parametrize("suffix", [".usda", ".usdc"])
def test_gaussians_over_time_read_back(suffix: str, tmp_path: Path) -> None:
    sequence = _sequence(_gaussians)
    stage = _stage(sequence, tmp_path / f"a{suffix}")
    assert stage.GetTimeCodesPerSecond() == stage.GetFramesPerSecond() == pytest.approx(10, rel=1e-6)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 4)
    prim = stage.GetDefaultPrim()
    positions = prim.GetAttribute("positions")
    assert positions.GetTimeSamples() == [0, 1, 3, 4]
    for code, item in zip(positions.GetTimeSamples(), sequence.items, strict=True):
        assert isinstance(item, Gaussians)
        np.testing.assert_array_equal(np.asarray(positions.Get(code)), item.positions)
        assert np.asarray(prim.GetAttribute("extent").Get(code))[1, 0] > item.positions[:, 0].max()
    np.testing.assert_array_equal(np.asarray(positions.Get()), sequence.items[0].positions)  # type: ignore[attr-defined]
    for still in ("scales", "orientations", "opacities", "radiance:sphericalHarmonicsCoefficients"):
        assert prim.GetAttribute(still).GetNumTimeSamples() == 0 and len(prim.GetAttribute(still).Get()) == 20


def test_a_mesh_may_change_its_faces(tmp_path: Path) -> None:
    stage = _stage(_sequence(_mesh), tmp_path / "a.usda")
    prim = stage.GetDefaultPrim()  # which lives as long as its stage
    counts = [len(prim.GetAttribute("faceVertexCounts").Get(code)) for code in (0, 1, 3, 4)]
    assert counts == [4, 4, 3, 3] and prim.GetAttribute("primvars:displayColor").GetNumTimeSamples() == 4


@pytest.mark.parametrize("make", [_gaussians, _mesh, _points])
def test_stages_pass_the_validators_of_usd(make: Any, tmp_path: Path) -> None:
    stage = _stage(_sequence(make), tmp_path / "a.usda")
    from pxr import UsdValidation

    found = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(found).Validate(stage)
    assert [error.GetMessage() for error in errors] == []


def test_one_moment_is_no_rate(tmp_path: Path) -> None:
    assert usd_over_time.time_codes(_sequence(_points, [5.0])) == (1.0, [0.0])
    rate, codes = usd_over_time.time_codes(_sequence(_points, np.arange(16) / 15))
    assert rate == pytest.approx(15, rel=1e-5) and codes == list(range(16))


def test_points_without_colours(tmp_path: Path) -> None:
    sequence = AssetSequence((_points(-1), _points(-2)), TIMES[:2])
    stage = _stage(sequence, tmp_path / "a.usda")
    prim = stage.GetDefaultPrim()
    assert prim.GetAttribute("points").GetNumTimeSamples() == 2
    assert not prim.GetAttribute("primvars:displayColor").HasAuthoredValue()


def test_maps_are_no_stage(tmp_path: Path) -> None:
    pytest.importorskip("pxr")
    with pytest.raises(
        UsageError, match=r"a \.usdc holds a sequence of gaussians, mesh, points, and this one of depth"
    ):
        files.write(_sequence(_depth), tmp_path / "a.usdc")
    assert not [*tmp_path.iterdir()]


def test_a_zip_has_each_item_s_file_and_its_time(tmp_path: Path) -> None:
    for make, ending in ((_gaussians, ".ply"), (_depth, ".npz")):
        sequence = _sequence(make)
        files.write(sequence, tmp_path / "a.zip")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            times = json.loads(archive.read("times.json"))
            assert list(times.items()) == [(f"moment.{k + 1:04d}{ending}", time) for k, time in enumerate(TIMES)]
            for name, item in zip(times, sequence.items, strict=True):
                assert archive.read(name) == kinds.of(item).FILES[ending](item, "")


def test_what_turns_goes_around_in_whole_runs() -> None:
    pictures, seconds = moving_pictures(_sequence(_gaussians, np.arange(5) / 10), lambda item: _never(), 16)
    assert len(pictures) == 50 and seconds.sum() == pytest.approx(5)
    assert np.abs(pictures[0].astype(int) - pictures[25]).max() > 10  # the same moment from behind
    flat, waits = moving_pictures(_sequence(_depth), kinds.of("depth_map").picture)
    assert len(flat) == 4 and waits.tolist() == pytest.approx([0.1, 0.2, 0.1, 0.1])


def _never() -> Any:
    raise AssertionError("what turns is not drawn flat")


def test_moving_pictures_have_their_times(tmp_path: Path) -> None:
    sequence = _sequence(_depth)
    files.write(sequence, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        waits = []
        for k in range(image.n_frames):
            image.seek(k)
            waits.append(image.info["duration"])
    assert sum(waits) == 500  # equal pictures may be one
    av = pytest.importorskip("av")
    files.write(sequence, tmp_path / "a.mp4")
    with av.open(io.BytesIO((tmp_path / "a.mp4").read_bytes())) as film:
        stream = film.streams.video[0]
        starts = [float(frame.pts * stream.time_base) for frame in film.decode(stream)]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
    assert starts == pytest.approx([0, 0.1, 0.3, 0.4], abs=1e-3)


@pytest.mark.parametrize("make", [_gaussians, _mesh, _depth])
def test_a_page_has_a_slider(make: Any) -> None:
    page = viewer_html(_sequence(make), "film")
    assert 'type="range" min="0" max="3"' in page and 'data-times="[2.0, 2.1, 2.3, 2.4]"' in page
    assert not any(word in page.split("<body>")[1].split("<script>")[0] for word in ("http://", "https://"))
    if make is _gaussians:
        (rows,) = (part.split('"')[0] for part in page.split('data-rows="')[1:])
        assert len(rows.split(" ")) == 4
    if make is _mesh:
        assert page.count('"type":"mesh3d"') == 4 and page.count('"visible":true') >= 1
    lone = viewer_html(_sequence(make, [0.0]), "film")
    assert 'type="range"' not in lone


def test_edits_are_of_every_item(tmp_path: Path) -> None:
    sequence = _sequence(_gaussians)
    edits = Edits(size=2.0, sh_degree=1)
    format_ = kinds.of("sequence").FILES[".zip"]
    changed = edits.applied(sequence, edits.factor(sequence), format_)
    assert kinds.of("sequence").extent(changed) == pytest.approx(2, rel=1e-5)  # type: ignore[attr-defined]
    ratios = [b.positions / a.positions for a, b in zip(sequence.items, changed.items, strict=True)]
    assert np.ptp(np.concatenate(ratios)) < 1e-4 and {item.sh.shape[1] for item in changed.items} == {4}
    with pytest.raises(UsageError, match="--sh-degree: this is a sequence of depth_map"):
        replace(edits, size=None).shaped(_sequence(_depth))
    with pytest.raises(UsageError, match="--size: this is a sequence of depth_map"):
        Edits(size=2.0).factor(_sequence(_depth))
