"""Depth Anything V2 as a family: its contract, whole assets, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from depth_tiny import GOLDEN, checkpoint, recipe
from PIL import Image

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.assets.mesh_files import read
from gen3dexport.models import Request
from gen3dexport.models import depth_anything_v2 as family
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "depth_anything_v2"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("depth"), "metric")

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": [42, 56], "field_of_view": 60.0, "grid": 32, "cut": 10.0}


def _made(folder: Path, kind: str, image: Any, **knobs: Any) -> tuple[dict[str, Any], np.ndarray]:
    """The assets of a photograph, and the network's map."""
    settings = family.read_settings(checkpoint(folder, kind), family.Knobs(**knobs), False)
    state = family.begin(settings, Request(image=image), folder, xp)
    (one,) = family.components(settings)
    state = one.advance(state, Eager(one.load(folder)), xp)
    return family.make_assets(state, settings), state["depth"]


def _photograph(height: int = 60, width: int = 100) -> np.ndarray:
    return np.asarray(Image.fromarray(sample_image(1)[..., :3]).resize((width, height)))


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_maps_have_the_photograph_s_size(kind: str, tmp_path: Path) -> None:
    assets, network = _made(tmp_path, kind, _photograph(), size=[42, 70])
    found = assets["depth_map"]
    assert isinstance(found, DepthMap) and [*assets] == ["depth_map"]
    assert found.depth.shape == (60, 100) and found.field_of_view is None
    assert (found.metric, found.inverse) == (kind == "metric", kind == "relative")
    assert network.shape == (1, 42, 70)
    for corner in ((0, 0), (-1, -1), (0, -1)):
        assert found.depth[corner] == network[0][corner]
    assert network[0].min() <= found.depth.min() and found.depth.max() <= network[0].max()


def test_bars_are_cut_off(tmp_path: Path) -> None:
    """A square photograph in a wide picture: its map is that of the middle."""
    assets, network = _made(tmp_path, "metric", _photograph(50, 50), size=[42, 98])
    inner = network[0][:, 28:70]
    assert assets["depth_map"].depth[0, 0] == inner[0, 0] and assets["depth_map"].depth[-1, -1] == inner[-1, -1]


def test_points_and_mesh_are_in_the_photograph_s_colours(tmp_path: Path) -> None:
    photo = _photograph()
    assets, _ = _made(tmp_path, "metric", photo, size=[42, 70], field_of_view=60, grid=50, cut=10)
    points, mesh = assets["points"], assets["mesh"]
    assert len(points.positions) == 30 * 50 and len(mesh.faces) == 2 * 29 * 49
    small = np.asarray(Image.fromarray(photo).resize((50, 30), Image.Resampling.BOX)).reshape(-1, 3)
    np.testing.assert_array_equal(points.colors, small)
    np.testing.assert_array_equal(mesh.colors, small)
    assert points.unit == mesh.unit is not None
    depth = -points.positions[:, 0] * points.unit
    assert depth.min() > 0 and depth.max() < 20.01
    cut, _ = _made(tmp_path, "metric", photo, size=[42, 70], field_of_view=60, grid=50, cut=0.1)
    assert 0 < len(cut["mesh"].faces) < len(mesh.faces)


def test_untrained_networks_make_a_map_that_is_not_nothing(tmp_path: Path) -> None:
    """So that a build for sizing compares something."""
    settings = family.read_settings(checkpoint(tmp_path), family.Knobs(), True)
    state = family.begin(settings, Request(image=_photograph(70, 70)), tmp_path, xp)
    (one,) = family.components(settings)
    depth = one.advance(state, Eager(one.load(tmp_path, "random")), xp)["depth"]
    assert (depth > 0).all() and depth.std() > 0


def test_what_is_transparent_has_no_points(tmp_path: Path) -> None:
    photo = np.dstack([_photograph(), np.full((60, 100), 255, np.uint8)])
    photo[:, :40, 3] = 0
    assets, _ = _made(tmp_path, "metric", photo, size=[42, 70], field_of_view=60, grid=50, cut=10)
    assert len(assets["points"].positions) == 30 * 30
    assert assets["depth_map"].depth.shape == (60, 100)


def test_commands(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    """plan, build, run and parity of the tiny checkpoint."""
    weights = checkpoint(tmp_path / "weights")
    path, bundle, photo = recipe(weights, tmp_path / "depth-tiny.yaml"), tmp_path / "bundle", tmp_path / "photo.jpg"
    code, out, err = cli("plan", path, "-t", fast_target, "--json")
    assert code == 0, err
    assert [row["name"] for row in json.loads(out)["components"]] == ["depth"]
    code, out, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    assert f"next: gen3dexport run {bundle} --image FILE -o asset.png" in " ".join(out.split())
    Image.fromarray(_photograph()).save(photo)
    code, out, err = cli("run", bundle, "--image", photo, "-o", tmp_path / "a.png", "-o", tmp_path / "a.npz", "--json")
    assert code == 0, err
    assert [row["kind"] for row in json.loads(out)["assets"]] == ["depth_map", "depth_map"]
    with np.load(tmp_path / "a.npz") as kept, Image.open(tmp_path / "a.png") as picture:
        depth, shown = kept["depth"], np.asarray(picture)
        low, high = (float(picture.info[name]) for name in ("low", "high"))
    assert shown.dtype == np.uint16 and shown.shape == depth.shape == (60, 100)
    np.testing.assert_allclose(low + (shown - 1.0) / 65534 * (high - low), depth, atol=(high - low) / 1e5)
    code, _, err = cli("run", bundle, "--image", photo, "-o", tmp_path / "a.glb")
    assert code == 2 and "a .glb holds" in err
    code, _, err = cli("run", bundle, "--image", photo, "--set", "field_of_view=60", "-o", tmp_path / "a.glb")
    assert code == 0, err
    assert read(tmp_path / "a.glb").colors is not None
    _films(bundle, tmp_path, cli)
    code, out, err = cli("parity", "depth-anything-v2", GOLDEN / "preprocess", "--json")
    assert code == 0 and json.loads(out)["passed"], err


def _films(bundle: Path, folder: Path, cli: Cli) -> None:
    """Every frame makes the files that its picture alone would; a frame that cannot be read is named."""
    (plates := folder / "plates").mkdir()
    for number in (1001, 1002):
        Image.fromarray(_photograph(40 + number % 10, 60)).save(plates / f"plate.{number}.png")
    out_file = folder / "out.npz"
    code, out, err = cli("run", bundle, "--video", plates, "-o", out_file, "-o", folder / "out.png", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["frames"], found["first"][0], found["last"][0]) == (
        2, str(folder / "out.1001.npz"), str(folder / "out.1002.npz"),
    )  # fmt: skip
    assert found["frames_per_second"] == pytest.approx(2 / found["seconds"])
    assert sorted(p.name for p in folder.glob("out*")) == [f"out.{n}.{e}" for n in (1001, 1002) for e in ("npz", "png")]
    code, _, err = cli("run", bundle, "--image", plates / "plate.1002.png", "-o", out_file)
    assert code == 0, err
    with np.load(out_file) as alone, np.load(folder / "out.1002.npz") as frame:
        np.testing.assert_array_equal(alone["depth"], frame["depth"])
    (plates / "plate.1003.png").write_bytes((plates / "plate.1002.png").read_bytes()[:90])
    code, _, err = cli("run", bundle, "--video", plates, "-o", folder / "cut.npz")
    assert code == 2 and "plate.1003.png" in err and "frames made before it: 2" in err
    assert sorted(p.name for p in folder.glob("cut*")) == ["cut.1001.npz", "cut.1002.npz"]
    code, _, err = cli("run", bundle, "--video", plates, "-o", plates / "plate.png")
    assert code == 2 and "is a picture of the film" in err
    code, _, err = cli("run", bundle, "--video", plates, "--image", plates / "plate.1001.png", "-o", out_file)
    assert code == 2 and "leave --image or --video out" in err
