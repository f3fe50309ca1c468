"""V-JEPA 2 on the host: knobs, frames of a film, a rollout's scores, requests and configurations that are refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from v_jepa2_tiny import checkpoint

from gen3dexport.assets.feature_film import FeatureFilm
from gen3dexport.assets.rollout import rollout, rollout_csv
from gen3dexport.errors import UsageError
from gen3dexport.models import Request, v_jepa2
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.v_jepa2.host.clip import clip_of, cut
from gen3dexport.models.v_jepa2.host.model import parse_model


def _settings(folder: Path, **knobs: Any) -> v_jepa2.Settings:
    return v_jepa2.read_settings(checkpoint(folder), v_jepa2.Knobs(**{"frames": 8, **knobs}), False)


def grey(levels: list[int], size: tuple[int, int] = (32, 32)) -> list[np.ndarray]:
    """A picture of one grey for each level."""
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def levels(clip: np.ndarray) -> list[int]:
    """The greys of a clip's frames."""
    return [round(255 * float(frame[0, 0, 0] * 0.229 + 0.485)) for frame in clip]


def test_knobs_default_to_what_the_recipe_says(tmp_path: Path) -> None:
    made = v_jepa2.read_settings(checkpoint(tmp_path), v_jepa2.Knobs(), False)
    assert (made.frames, made.moments, made.known, made.model.crop_size) == (16, 8, 4, 16)
    larger = _settings(tmp_path, size=24, known=3)
    assert (larger.model.grid, larger.known) == (6, 3)
    assert [one.name for one in v_jepa2.components(made)] == ["encoder", "predictor"]
    blind = [one.name for one in v_jepa2.components(_settings(tmp_path, blind=True))]
    assert blind == ["encoder", "context_encoder", "predictor"]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"size": 18}, "knobs.size: 18 is no multiple of the 4 pixels of a patch; take e.g. 16"),
        ({"frames": 7}, "frames 7 is no multiple of the 2 frames"),
        ({"known": 4}, "known 4 of 4 moments leaves nothing to predict.* from 1 to 3"),
        ({"frames": 2}, "known 0 of 1 moments"),
        ({"predictor": False, "known": 2}, "knobs.known: "),
        ({"predictor": False, "blind": True}, "blind is of the predictor's input"),
    ],
)
def test_knobs_that_do_not_fit(knobs: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        _settings(tmp_path, **knobs)


@pytest.mark.parametrize("knobs", [{"frames": 0}, {"rate": 0.0}, {"stride": -1}, {"fps": 3}])
def test_knobs_that_are_none(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        v_jepa2.Knobs(**knobs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "vjepa2_1"}, "V-JEPA 2.1 turns channels otherwise"),
        ({"use_rope_interleave": True}, "sets use_rope_interleave, so it is of V-JEPA 2.1"),
        ({"model_type": "videomae"}, "model_type is 'videomae'"),
        ({"architectures": ["VJEPA2ForVideoClassification"]}, "a classifier of films; take the model"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu', and only 'gelu'"),
        ({"num_attention_heads": 3}, "no multiple of 3 heads"),
        ({"crop_size": 18}, "crop_size 18 is no multiple"),
        ({"backbone_config": {}}, "of Depth Anything V2; use the family"),
        ({"hidden_size": "wide"}, "not a V-JEPA 2 configuration: hidden_size"),
    ],
)
def test_configurations_of_others(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    known = json.loads((checkpoint(tmp_path) / "config.json").read_text())
    assert parse_model(known, "here").hidden_size == 32
    with pytest.raises(UsageError, match=message):
        parse_model({**known, **change}, "here")
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match=r"not found; take the one .* weights/V-JEPA2-L"):
        v_jepa2.read_settings(tmp_path, v_jepa2.Knobs(), True)


def test_a_clip_is_spread_over_the_film(tmp_path: Path) -> None:
    settings = _settings(tmp_path, frames=4, rate=10.0)
    clip = clip_of(Request(video=iter(grey([*range(0, 200, 20)]))), settings)  # 10 frames
    assert levels(clip.frames) == [0, 60, 120, 180] and clip.frames.shape == (4, 3, 16, 16)
    np.testing.assert_allclose(clip.times, [0, 0.3, 0.6, 0.9])
    faster = clip_of(Request(video=grey([*range(0, 200, 20)]), rate=20.0), settings)
    np.testing.assert_allclose(faster.times, clip.times / 2)
    strided = with_run_fields(settings, {"stride": "2"})
    assert levels(clip_of(Request(video=grey([*range(0, 200, 20)])), strided).frames) == [0, 40, 80, 120]
    state = v_jepa2.begin(settings, Request(image=grey([10, 20, 30, 40])), tmp_path, np)  # pictures in order are a film
    assert state["film"].shape == (1, 4, 3, 16, 16) and state["times"].tolist() == [0, 0.2]


def test_a_long_film_is_not_held(tmp_path: Path) -> None:
    settings = _settings(tmp_path, frames=4, rate=1.0)
    taken = []

    def film(count: int) -> Iterator[np.ndarray]:
        for k in range(count):
            taken.append(k)
            yield np.full((8, 8, 3), k * 255 // count, np.uint8)

    clip = clip_of(Request(video=film(1000)), settings)
    assert len(taken) == 1000
    np.testing.assert_allclose(clip.times, [0, 333, 666, 999], atol=1000 / 32)
    strided = with_run_fields(settings, {"stride": "5"})
    taken.clear()
    assert clip_of(Request(video=film(1000)), strided).times.tolist() == [0, 5, 10, 15]
    assert len(taken) == 16  # no more is read


def test_a_still_is_a_film_of_one_step(tmp_path: Path) -> None:
    settings = _settings(tmp_path, frames=2, predictor=False)
    clip = clip_of(Request(video=grey([90])), settings)
    assert levels(clip.frames) == [90, 90] and (np.diff(clip.times) > 0).all()


def test_a_frame_is_its_middle(tmp_path: Path) -> None:
    """The shorter side is 256/224 of the network's edge: 18 of 16 pixels."""
    wide = np.zeros((18, 54, 4), np.uint8)
    wide[..., 3] = 255
    wide[:, 19:35, 0] = np.arange(16) * 10 + 5
    found = cut(wide, 16)
    assert found.shape == (16, 16, 3)
    np.testing.assert_array_equal(found[4, :, 0], np.arange(16) * 10 + 5)
    clear = np.zeros((18, 18, 4), np.uint8)
    assert (cut(clear, 16) == 128).all()
    np.testing.assert_allclose(
        normalised(np.full((1, 1, 3), 255, np.uint8))[0, :, 0, 0], [2.2489, 2.4286, 2.64], atol=1e-3
    )


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(), "video: missing; this model makes features of a film"),
        (Request("a chair"), "prompt: this model makes features of a film"),
        (Request(features=np.zeros((1, 1)), video=grey([1] * 8)), "features: this model takes a film"),
        (Request(video=grey([1] * 8), image=grey([1])), "image: this model takes a film and nothing else"),
        (Request(video=[]), "video: holds no frame"),
        (
            Request(video=grey([1])),
            "gives 1 frame, and this bundle takes a clip of 8; .* knobs.frames=2 knobs.predictor=false",
        ),
        (Request(video=grey([1] * 7)), "gives 7 frames, and this bundle takes a clip of 8; .* knobs.frames=6"),
        (Request(video=[np.zeros((4, 4), np.uint8)] * 8), "image: needs uint8"),
        (Request(video=["/nowhere.png"] * 8), "/nowhere.png: not a readable image"),
    ],
)
def test_requests_that_are_refused(request_: Request, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        v_jepa2.begin(_settings(tmp_path), request_, tmp_path, np)


def test_what_a_run_may_change(tmp_path: Path) -> None:
    changed = with_run_fields(_settings(tmp_path), {"rate": "60", "stride": "3"})
    assert (changed.rate, changed.stride) == (60, 3)
    with pytest.raises(UsageError, match="known"):
        with_run_fields(_settings(tmp_path), {"known": "1"})


def test_a_rollout_of_known_values() -> None:
    features = np.zeros((3, 1, 2, 4), np.float32)
    features[0] = [1, 0, 0, 0]
    features[1] = [0, 1, 0, 0]
    features[2] = [0, 0, 2, 0]
    predicted = np.zeros((2, 1, 2, 4), np.float32)
    predicted[0] = [0, 1, 0, 0]  # right
    predicted[1] = [0, 0, 1, 0]  # half as long
    found = rollout(FeatureFilm(features, np.array([0, 0.5, 1]), predicted, features[:1]))
    assert found is not None and found["known_moments"] == 1
    first, second = found["moments"]
    assert (first["moment"], first["seconds"], second["seconds"]) == (1, 0.5, 1.0)
    assert (first["l1"], first["cosine"], first["l1_normed"]) == (0, pytest.approx(1), 0)
    assert (first["repeat_l1"], first["repeat_cosine"]) == (0.5, 0)
    assert (second["l1"], second["cosine"]) == (0.25, pytest.approx(1))
    assert second["l1_normed"] < 1e-5 < second["repeat_l1_normed"]
    assert found["mean"]["repeat_l1"] == pytest.approx((0.5 + 0.75) / 2)
    assert found["summary"].startswith(
        "rollout, mean of 2 predicted moments after 1 known ones: l1 0.125 (a repeat: 0.62"
    )
    rows = list(csv.DictReader(io.StringIO(rollout_csv(found))))
    assert [row["moment"] for row in rows] == ["1", "2", "mean"] and float(rows[1]["l1"]) == 0.25
    none = FeatureFilm(features, np.arange(3.0), features[:0], features[:0])
    assert rollout(none) is None


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2, 4), (3,), (0, 2, 4), (0, 2, 4)), r"need \[T, H, W, C\]"),
        (((3, 1, 2, 4), (2,), (0, 1, 2, 4), (0, 1, 2, 4)), "rising times"),
        (((3, 1, 2, 4), (3,), (3, 1, 2, 4), (1, 1, 2, 4)), "predicted has shape"),
        (((3, 1, 2, 4), (3,), (1, 1, 2, 4), (0, 1, 2, 4)), "repeated has shape"),
    ],
)
def test_films_that_do_not_fit_together(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    features, times, predicted, repeated = shapes
    arrays = (np.zeros(shape, np.float32) for shape in (features, predicted, repeated))
    one, made, last = arrays
    with pytest.raises(ValueError, match=message):
        FeatureFilm(one, np.arange(times[0], dtype=float), made, last)
