"""V-JEPA 2 as a family: its contract, whole assets against the networks, and the commands on a tiny checkpoint."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from PIL import Image
from v_jepa2_tiny import GOLDEN, checkpoint, film, recipe

from gen3dexport.assets.feature_film import FeatureFilm
from gen3dexport.models import Request, v_jepa2
from gen3dexport.models.v_jepa2.host.clip import clip_of, drifting
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class Named(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "v-jepa2"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("v_jepa2"))


class TestFilm(Named):
    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"frames": 8}


class TestBlind(Named):
    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"frames": 6, "size": 12, "known": 2, "blind": True}


def _made(folder: Path, **knobs: Any) -> tuple[FeatureFilm, v_jepa2.Settings, list[Eager]]:
    """The asset of a film of a drifting ball, the settings, and the programs that ran."""
    settings = v_jepa2.read_settings(checkpoint(folder), v_jepa2.Knobs(**{"frames": 8, **knobs}), False)
    state, programs = v_jepa2.begin(settings, Request(video=drifting(0, 8)), folder, xp), []
    for one in v_jepa2.components(settings):
        programs.append(Eager(one.load(folder)))
        state = one.advance(state, programs[-1], xp)
    return v_jepa2.make_assets(state, settings)["feature_film"], settings, programs


def test_features_are_on_the_grid_over_time(tmp_path: Path) -> None:
    made, settings, (encoder, predictor) = _made(tmp_path, known=1)
    assert made.features.shape == (4, 4, 4, 32) and made.predicted.shape == (3, 4, 4, 32)
    rows = encoder.calls[0][1]["features"][0]
    np.testing.assert_array_equal(made.features[2, 1, 3], rows[2 * 16 + 1 * 4 + 3])
    np.testing.assert_array_equal(predictor.calls[0][0]["features"][0], rows[:16])
    np.testing.assert_array_equal(made.predicted[2, 3, 0], predictor.calls[0][1]["predicted"][0][2 * 16 + 12])
    np.testing.assert_array_equal(made.repeated[0], made.features[0])
    assert made.times.tolist() == pytest.approx([0, 2 / 30, 4 / 30, 6 / 30])
    clip = clip_of(Request(video=drifting(0, 8)), settings)
    np.testing.assert_array_equal(encoder.calls[0][0]["film"][0], clip.frames)


def test_a_blind_prediction_knows_nothing_of_what_comes(tmp_path: Path) -> None:
    """What is known is encoded as a film that ends there; seen with the whole film, its features are others."""
    blind, settings, (_, context, predictor) = _made(tmp_path, blind=True)
    seen, _, _ = _made(tmp_path)
    np.testing.assert_array_equal(blind.features, seen.features)
    assert context.calls[0][0]["film"].shape == (1, 4, 3, 16, 16)
    np.testing.assert_array_equal(predictor.calls[0][0]["features"], context.calls[0][1]["features"])
    short = settings.model_copy(update={"frames": 4, "known": 0, "predictor": False, "blind": False})
    (encoder,) = v_jepa2.components(short)
    alone = encoder.load(tmp_path).module
    clip = torch.from_numpy(clip_of(Request(video=drifting(0, 8)), settings).frames[None, :4])
    with torch.no_grad():
        np.testing.assert_allclose(context.calls[0][1]["features"], alone(clip).numpy(), atol=1e-5)
    assert np.abs(blind.predicted - seen.predicted).max() > 0.01
    assert np.abs(blind.repeated - seen.repeated).max() > 0.01


def test_without_a_predictor_there_is_no_rollout(tmp_path: Path) -> None:
    made, _, programs = _made(tmp_path, predictor=False)
    assert len(programs) == 1 and made.predicted.shape == (0, 4, 4, 32) and made.repeated.shape == (0, 4, 4, 32)


def test_commands(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    code, out, err = cli("build", recipe(weights, tmp_path / "v-jepa2-tiny.yaml"), "-t", fast_target, "-o", bundle)
    assert code == 0, err
    assert "--video FILM -o asset.png" in " ".join(out.split())
    clip = film(tmp_path / "film", 12)
    files = [tmp_path / f"a{ending}" for ending in (".npz", ".png", ".gif", ".csv", ".json", ".html")]
    asked = ["run", bundle, "--video", clip, *(w for f in files for w in ("-o", f))]
    code, out, err = cli(*asked, "--json", "--set", "rate=6")
    assert code == 0, err
    result = json.loads(out)
    assert result["frames"] == 12 and {row["kind"] for row in result["assets"]} == {"feature_film"}
    assert result["assets"][0]["moments"] == 4 and result["assets"][0]["predicted_moments"] == 2
    told = result["facts"]["rollout"]
    assert len(told["moments"]) == 2 and told["mean"]["l1"] > 0 and json.loads(files[4].read_text()) == told
    with np.load(files[0]) as kept:
        assert kept["features"].shape == (4, 4, 4, 32) and kept["times"][1] == pytest.approx(3 / 6)
        expected = np.abs(kept["predicted"][0].astype(float) - kept["features"][2]).mean()
    assert told["moments"][0]["l1"] == pytest.approx(expected)
    with files[3].open() as stream:
        assert [row["moment"] for row in csv.DictReader(stream)] == ["2", "3", "mean"]
    with Image.open(files[2]) as image:
        assert image.n_frames == 4
    code, out, err = cli("run", bundle, "--video", clip, "-o", tmp_path / "b.npz", "--isolate")
    assert code == 0 and "rollout, mean of 2 predicted moments" in " ".join(out.split()), err
    for source, message in (
        (("--video", film(tmp_path / "one", 1)), "gives 1 frame, and this bundle takes a clip of 8"),
        (("--video", weights), "holds no pictures"),
        (("--image", clip / "0.png"), "gives 1 frame"),
        (("--prompt", "a chair"), "prompt: this model makes features of a film"),
    ):
        code, _, err = cli("run", bundle, *source, "-o", tmp_path / "c.npz")
        assert code == 2 and message in " ".join(err.split()) and not (tmp_path / "c.npz").exists(), err
    code, _, err = cli("run", bundle, "--video", clip, "-o", tmp_path / "c.glb")
    assert code == 2 and not (tmp_path / "c.glb").exists()


def test_a_truncated_video(tmp_path: Path, cli: Cli, fast_target: Path) -> None:
    av = pytest.importorskip("av")
    weights, bundle = checkpoint(tmp_path / "weights"), tmp_path / "bundle"
    path = recipe(weights, tmp_path / "v-jepa2-tiny.yaml", "{frames: 8, predictor: false}")
    code, _, err = cli("build", path, "-t", fast_target, "-o", bundle)
    assert code == 0, err
    whole = tmp_path / "film.mkv"
    with av.open(str(whole), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for k in range(20):
            pixels = np.random.default_rng(k).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    code, out, err = cli("run", bundle, "--video", whole, "-o", tmp_path / "a.npz", "--json")
    assert code == 0 and json.loads(out)["facts"] == {}, err
    code, _, err = cli("run", bundle, "--video", whole, "-o", tmp_path / "a.csv")
    assert code == 2 and "nothing was; build with a predictor" in " ".join(err.split())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 4])
    code, _, err = cli("run", bundle, "--video", cut, "-o", tmp_path / "b.npz")
    assert code == 2 and not (tmp_path / "b.npz").exists(), err
    cut.write_bytes(whole.read_bytes()[:40])
    code, _, err = cli("run", bundle, "--video", cut, "-o", tmp_path / "b.npz")
    assert code == 2 and "--video" in err and not (tmp_path / "b.npz").exists(), err


def test_a_folder_of_sets_is_told(cli: Cli) -> None:
    code, _, err = cli("parity", "v-jepa2", GOLDEN)
    assert code == 2 and "encoder_still" in err
    code, out, err = cli("parity", "v-jepa2", GOLDEN / "predictor_scattered", "--json")
    assert code == 0 and json.loads(out)["passed"], err
