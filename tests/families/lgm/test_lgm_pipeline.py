"""LGM and L4GM as a family: their contract, whole assets, films in chunks, and the commands on tiny checkpoints."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from lgm_tiny import GOLDEN, checkpoint, pictures, recipe
from PIL import Image

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.sequence import AssetSequence
from gen3dexport.models import Request, lgm
from gen3dexport.models.lgm.host import pipeline
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "lgm"


class TestStill(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("lgm"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {}


class TestFilm(Named):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("l4gm"), "l4gm")

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"interpolate": True}


def _made(folder: Path, request: Request, **knobs: Any) -> tuple[dict[str, Any], dict[str, Any], list[Eager]]:
    """The assets of a request, the state that they are made of, and the programs that ran."""
    settings = lgm.read_settings(folder, lgm.Knobs(**knobs), False)
    state, programs = lgm.begin(settings, request, folder, xp), []
    for one in lgm.components(settings):
        programs.append(Eager(one.load(folder)))
        state = one.advance(state, programs[-1], xp)
    return lgm.make_assets(state, settings), state, programs


def test_views_make_gaussians(tmp_path: Path) -> None:
    assets, state, _ = _made(checkpoint(tmp_path), Request(image=pictures(4)))
    found = assets["gaussians"]
    assert isinstance(found, Gaussians)
    kept = state["gaussians"][0, :, 3] >= 0.005
    assert len(found.positions) == kept.sum() > 100
    assert np.abs(found.positions).max() <= 0.5 and found.colors.min() >= 0 and found.colors.max() <= 1
    fewer, *_ = _made(tmp_path, Request(image=pictures(4)), least_opacity=0.5)
    assert len(fewer["gaussians"].positions) == (state["gaussians"][0, :, 3] >= 0.5).sum() < kept.sum()


def test_a_film_is_made_in_chunks_that_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call begins with the last frame of the first, and takes its views from that frame's Gaussians."""
    drawn: list[np.ndarray] = []
    draw = pipeline._drawn

    def noted(rows: np.ndarray, settings: lgm.Settings) -> np.ndarray:
        drawn.append(draw(rows, settings))
        return drawn[-1]

    monkeypatch.setattr(pipeline, "_drawn", noted)
    film, views = pictures(4), pictures(3, 50)
    assets, state, (program,) = _made(checkpoint(tmp_path, "l4gm"), Request(image=views, video=iter(film), rate=10.0))
    first, second = (call[0]["images"].reshape(3, 4, 9, 16, 16) for call in program.calls)
    np.testing.assert_array_equal(first[2, 0], second[0, 0])  # frame 2
    np.testing.assert_array_equal(second[1], second[2])  # frame 3, and again in the place of frame 4
    np.testing.assert_array_equal(first[0, 1:], first[2, 1:])  # views of the first frame all the time
    assert len(drawn) == 1
    mean, deviation = (np.array(n, np.float32)[:, None, None] for n in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    np.testing.assert_allclose(second[0, 1:, :3], (drawn[0] - mean) / deviation, atol=1e-5)
    made = assets["sequence"]
    assert isinstance(made, AssetSequence) and made.times.tolist() == [0, 0.1, 0.2, 0.3]
    expected = np.concatenate([program.calls[0][1]["gaussians"], program.calls[1][1]["gaussians"][1:2]])
    np.testing.assert_array_equal(state["gaussians"], expected)
    assert len({len(item.positions) for item in made.items}) == 1
    whole, other, _ = _made(tmp_path, Request(image=[film[0], *views], video=film, rate=10.0))
    np.testing.assert_array_equal(other["gaussians"], state["gaussians"])  # all four views are taken, too
    assert whole["sequence"].times.tolist() == made.times.tolist()


def test_every_frame_s_views_are_used(tmp_path: Path) -> None:
    every = pictures(8)
    assets, _, (program,) = _made(checkpoint(tmp_path, "l4gm", num_frames=2), Request(image=every))
    (call,) = program.calls
    assert call[0]["images"].shape == (1, 8, 9, 16, 16)
    assert len(np.unique(call[0]["images"][0, :, :3].reshape(8, -1), axis=0)) == 8
    assert assets["sequence"].times.tolist() == [0, 1 / 15]


def test_frames_between(tmp_path: Path) -> None:
    request = Request(image=pictures(3, 50), video=pictures(3), rate=3.0)
    assets, state, (_, between) = _made(checkpoint(tmp_path, "l4gm"), request, interpolate=True)
    made = assets["sequence"]
    np.testing.assert_allclose(made.times, np.arange(7) / 9, atol=1e-9)
    assert len(between.calls) == 2 and between.calls[0][0]["images"].shape == (1, 16, 9, 16, 16)
    np.testing.assert_array_equal(state["between"][1], between.calls[1][1]["gaussians"][1:3])
    kept = np.concatenate([state["gaussians"], state["between"].reshape(4, -1, 14)])[..., 3].max(0) >= 0.005
    assert len(made.items[4].positions) == kept.sum()
    lone, *_ = _made(tmp_path, Request(image=pictures(3, 50), video=pictures(1)), interpolate=True)
    assert len(lone["sequence"].items) == 1


def test_views_are_drawn_where_the_network_s_cameras_stand(tmp_path: Path) -> None:
    """A red Gaussian to the right of the front camera is in the middle of the view from there, and nearest."""
    settings = lgm.read_settings(checkpoint(tmp_path, "l4gm"), lgm.Knobs(), False)
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"input_size": 64})})
    rows = np.zeros((2, 14), np.float32)
    rows[:, 3:11] = [0.99, 0.06, 0.06, 0.06, 1, 0, 0, 0]
    rows[0, :3], rows[0, 11:] = [0.5, 0, 0], [1, 0, 0]  # +x, where the view of azimuth 90 stands
    rows[1, :3], rows[1, 11:] = [0, 0.5, 0], [0, 0, 1]  # up
    found = pipeline._drawn(rows, settings)
    assert found.shape == (3, 3, 64, 64) and found[:, :, 0, 0].min() > 0.99
    right, back, left = found
    assert right[0, 32, 32] > 0.8 and right[1:, 32, 32].max() < 0.3
    red = [(view[0] - view[2]).clip(0).sum() for view in (right, left)]
    assert red[0] > 1.5 * red[1]  # nearer is larger
    rows_of_blue = np.nonzero((back[2] - back[0]) > 0.5)[0]
    assert rows_of_blue.mean() < 28  # above the middle
    columns_of_red = np.nonzero((back[0] - back[2]) > 0.5)[1]
    assert columns_of_red.mean() < 28  # seen from behind, right is left
    focal = 32 / np.tan(np.radians(49.1) / 2)
    assert columns_of_red.mean() + 0.5 == pytest.approx(32 - focal * 0.5 / 1.5, abs=1)


def _views(folder: Path, count: int, seed: int = 0) -> Path:
    folder.mkdir()
    for k, picture in enumerate(pictures(count, seed)):
        Image.fromarray(picture).save(folder / f"{k}.png")
    return folder


def test_commands_for_an_object(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    code, out, err = cli("build", recipe(weights, tmp_path / "lgm-tiny.yaml"), "-t", fast_target, "-o", bundle)
    assert code == 0, err
    assert "--image FOLDER -o asset.glb" in " ".join(out.split())
    views = _views(tmp_path / "views", 4)
    files = [tmp_path / f"a{ending}" for ending in (".ply", ".glb", ".html")]
    code, out, err = cli("run", bundle, "--image", views, *(w for f in files for w in ("-o", f)), "--json")
    assert code == 0, err
    assert {row["kind"] for row in json.loads(out)["assets"]} == {"gaussians"} and all(f.is_file() for f in files)
    code, _, err = cli("run", bundle, "--image", views / "0.png", "-o", tmp_path / "b.ply")
    assert code == 2 and "1 pictures, and this model takes 4 views" in err and not (tmp_path / "b.ply").exists()
    code, _, err = cli("run", bundle, "--image", views, "--video", views, "-o", tmp_path / "b.ply")
    assert code == 2 and "--image: this bundle makes an asset of every frame by itself" in err
    code, out, err = cli("parity", "lgm", GOLDEN / "plucker", "--json")
    assert code == 0 and json.loads(out)["passed"], err


def test_commands_for_a_film(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    weights, bundle = checkpoint(tmp_path / "weights", "l4gm"), tmp_path / "bundle"
    path = recipe(weights, tmp_path / "l4gm-tiny.yaml", "{interpolate: true}", "sequence")
    code, out, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    assert "--video FILM --image FOLDER -o asset.zip" in " ".join(out.split())
    film, views = _views(tmp_path / "film", 4), _views(tmp_path / "views", 3, 50)
    files = [tmp_path / f"a{ending}" for ending in (".zip", ".html")]
    asked = ["run", bundle, "--video", film, "--image", views, *(w for f in files for w in ("-o", f))]
    code, out, err = cli(*asked, "--json", "--render", "--set", "rate=10", "--size", "2")
    assert code == 0, err
    result = json.loads(out)
    assert result["frames"] == 4 and {row["kind"] for row in result["assets"]} == {"sequence"}
    assert result["assets"][0]["items"] == 10 and (tmp_path / "a.png").is_file()
    with zipfile.ZipFile(files[0]) as archive:
        assert len(archive.namelist()) == 11 and archive.read("moment.0001.ply").startswith(b"ply\n")
        assert list(json.loads(archive.read("times.json")).values())[-1] == pytest.approx(0.3)
    code, _, err = cli("run", bundle, "--video", film, "-o", tmp_path / "b.zip")
    assert code == 2 and "the 3 others of its first frame" in err and not (tmp_path / "b.zip").exists()
    code, again, err = cli(*asked[:6], "-o", tmp_path / "c.npz", "--isolate", "--json")
    assert code == 0, err
    assert json.loads(again)["assets"][0]["items"] == 10
    code, _, err = cli("run", bundle, "--image", views, "-o", tmp_path / "b.zip")
    assert code == 2 and "3 pictures, and this model takes 4 views of every frame" in err
