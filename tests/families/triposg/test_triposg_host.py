"""TripoSG on the host: pictures, configurations, requests, what a run may change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from triposg_tiny import KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.models import Request, triposg
from gen3dexport.models.image_preparation import cut_out
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.triposg.host import picture
from gen3dexport.models.triposg.host.model import Processor, read_model

RELEASED = Path(__file__).parents[3] / "weights" / "TripoSG"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return checkpoint(tmp_path)


def _spot(height: int, width: int, alpha: int = 255) -> NDArray[np.uint8]:
    """A spot of that size on a transparent ground of 40 x 60."""
    image = np.zeros((40, 60, 4), np.uint8)
    image[5 : 5 + height, 7 : 7 + width] = (200, 100, 50, alpha)
    return image


def test_the_subject_is_padded_to_a_square() -> None:
    square = picture.subject(_spot(30, 11))
    assert square.shape == (36, 36, 4)  # a tenth of the longer side at both ends
    rows, columns = np.nonzero(square[..., 3])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 32, 12, 22)


def test_transparency_shows_white() -> None:
    given = np.array([[[255, 0, 10, 0], [255, 0, 10, 255], [255, 0, 100, 100]]], np.uint8)
    assert picture.on_white(given).tolist() == [[[255, 255, 255], [255, 0, 10], [255, 155, 194]]]


@pytest.mark.parametrize(
    ("clear", "opaque", "mask"),
    [(0.5, 0.5, True), (0.02, 0.98, True), (0.0, 1.0, False), (0.005, 0.995, False), (1, 0, False)],
)
def test_an_alpha_channel_is_a_mask_where_it_has_both_ends(clear: float, opaque: float, mask: bool) -> None:
    alpha = np.full(1000, 128, np.uint8)
    alpha[: round(1000 * clear)] = 3
    alpha[len(alpha) - round(1000 * opaque) :] = 250
    assert picture.is_mask(alpha.reshape(20, 50)) == mask


def test_a_channel_that_masks_nothing_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its background is removed as if the picture had none."""
    modes = []

    def removed(image: Image.Image) -> Image.Image:
        modes.append(image.mode)
        return Image.fromarray(_spot(20, 20))

    monkeypatch.setattr(picture, "cut_out", removed)
    almost = np.full((50, 50, 4), 255, np.uint8)
    almost[0, 0, 3] = 0
    picture.pixels(almost, Processor())
    picture.pixels(_spot(20, 20), Processor())
    assert modes == ["RGB", "RGBA"]
    assert cut_out(Image.fromarray(_spot(20, 20))).mode == "RGBA"


def test_large_pictures_are_made_smaller() -> None:
    image = Image.fromarray(np.zeros((1500, 4000, 3), np.uint8))
    assert picture.limited(image).size == (2000, 750)
    small = Image.fromarray(np.zeros((15, 40, 3), np.uint8))
    assert picture.limited(small) is small


def test_pixels_are_those_of_the_library_s_processor() -> None:
    """On the squares that the steps before make: bicubic to 256, the middle 224, normalised."""
    from transformers import BitImageProcessor

    square = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    library = BitImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    expected = np.asarray(library(Image.fromarray(square), return_tensors="np")["pixel_values"])
    found = picture.normalised(square, Processor())
    assert found.shape == expected.shape == (1, 3, 224, 224)
    # The library's resizing (torchvision's where it is installed) may round a level the other way.
    assert np.abs(found - expected).max() < 2.1 / 255 / 0.224 and np.abs(found - expected).mean() < 0.2 / 255 / 0.224


def test_pixels_of_a_file(tmp_path: Path) -> None:
    Image.fromarray(_spot(30, 30)).save(tmp_path / "a.png")
    found = picture.pixels(tmp_path / "a.png", Processor())
    assert found.shape == (1, 3, 224, 224) and found.dtype == np.float32
    mean, std = (np.array(v) for v in (Processor().image_mean, Processor().image_std))
    np.testing.assert_allclose(found[0, :, 112, 112] * std + mean, np.array([200, 100, 50]) / 255, atol=1e-3)
    np.testing.assert_allclose(found[0, :, 2, 2] * std + mean, 1, atol=1e-2)


BAD_REQUESTS = [
    (Request(), "image: missing"),
    (Request("a chair"), "prompt: this model makes an asset of a picture alone"),
    (Request("a chair", image=_spot(9, 9)), "prompt: this model makes an asset of a picture alone"),
    (Request(features=np.zeros((5, 3))), "features: this model takes a picture"),
    (Request(image="/nowhere.png"), "/nowhere.png: not a readable image"),
    (Request(image=np.zeros((4, 4))), "needs uint8"),
]


@pytest.mark.parametrize(("request_", "message"), BAD_REQUESTS)
def test_bad_requests(request_: Request, message: str, weights: Path) -> None:
    settings = triposg.read_settings(weights, triposg.Knobs(), False)
    with pytest.raises(UsageError, match=message):
        triposg.begin(settings, request_, weights, np)


def test_nothing_opaque_is_told() -> None:
    with pytest.raises(UsageError, match="nothing in it is opaque"):
        picture.subject(np.zeros((4, 4, 4), np.uint8))


def _changed(folder: Path, file: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / file
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


TRANSFORMER, VAE = "transformer/config.json", "vae/config.json"
ENCODER, SCHEDULER = "image_encoder_dinov2/config.json", "scheduler/scheduler_config.json"
PROCESSOR = "feature_extractor_dinov2/preprocessor_config.json"


@pytest.mark.parametrize(
    ("file", "field", "value", "message"),
    [
        (
            "model_index.json",
            "_class_name",
            "Hunyuan3DDiTPipeline",
            "_class_name is 'Hunyuan3DDiTPipeline', and TripoSG",
        ),
        (TRANSFORMER, "width", 50, "width=50 is no multiple of 4"),
        (TRANSFORMER, "in_channels", 9, "must be equal, and are 9 and 8"),
        (TRANSFORMER, "cross_attention_dim", 40, "must be equal, and are 40 and 20"),
        (TRANSFORMER, "cross_attention_2_dim", 8, "cross_attention_2_dim"),
        (VAE, "embedding_type", "triplane", "embedding_type"),
        (VAE, "embed_frequency", 0, "embed_frequency"),
        (ENCODER, "use_swiglu_ffn", True, "use_swiglu_ffn is True, and False in every TripoSG"),
        (ENCODER, "model_type", "dinov3_vit", "model_type is 'dinov3_vit'"),
        (ENCODER, "image_size", 71, "image_size=71 is no multiple of 14"),
        (SCHEDULER, "shift", -1, "shift"),
        (SCHEDULER, "use_dynamic_shifting", True, "use_dynamic_shifting"),
        (PROCESSOR, "crop_size", {"height": 224, "width": 200}, "needs one length of all edges"),
        (PROCESSOR, "crop_size", {"height": 70, "width": 70}, "crop_size=70 is more than size=64"),
        (PROCESSOR, "image_std", [0, 1, 1], "image_std"),
    ],
)
def test_bad_configurations(file: str, field: str, value: Any, message: str, weights: Path) -> None:
    _changed(weights, file, lambda config: config.update({field: value}))
    with pytest.raises(UsageError, match=message):
        read_model(weights)


@pytest.mark.parametrize("file", ["model_index.json", TRANSFORMER, VAE, ENCODER, SCHEDULER, PROCESSOR])
def test_a_file_that_is_missing_is_named(file: str, weights: Path) -> None:
    (weights / file).unlink()
    with pytest.raises(UsageError, match=rf"{file}: not found"):
        read_model(weights)


def test_the_processor_says_how_many_tokens_there_are(weights: Path) -> None:
    assert read_model(RELEASED).image_tokens == 257
    _changed(
        weights, PROCESSOR, lambda config: config.update({"do_center_crop": False, "size": {"height": 70, "width": 70}})
    )
    assert (read_model(weights).processor.crop_size, read_model(weights).image_tokens) == (70, 26)


def test_the_scheduler_s_shift_is_the_default(weights: Path) -> None:
    _changed(weights, SCHEDULER, lambda config: config.update({"shift": 3.0}))
    assert triposg.read_settings(weights, triposg.Knobs(), False).shift == 3.0
    assert triposg.read_settings(weights, triposg.Knobs(shift=2.0), False).shift == 2.0


def test_run_fields() -> None:
    settings = triposg.Settings(model=read_model(RELEASED))
    assert with_run_fields(settings, {"resolution": "128", "coarse": "4"}).resolution == 128
    with pytest.raises(UsageError, match="resolution=1"):
        with_run_fields(settings, {"resolution": "1"})
    with pytest.raises(UsageError, match="steps: this pipeline has no such field"):
        with_run_fields(settings, {"steps": "10"})  # programs of the whole loop have them built in


def test_released_defaults() -> None:
    made = triposg.Settings(model=read_model(RELEASED))
    assert (made.tokens, made.steps, made.guidance_scale, made.shift) == (2048, 50, 7.0, 1.0)
    assert made.schedule.weights == (7.0,) * 50 and made.schedule.times[::25] == (1.0, 0.5, 0.0)
    assert triposg.Knobs(**KNOBS).chunk == 512
