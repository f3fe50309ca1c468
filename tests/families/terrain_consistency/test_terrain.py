"""Terrain as a family: golden parity, the published file, heights and tiles on the host, the commands."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from terrain_tiny import GOLDEN, MODEL, STATE, checkpoint, published, recipe, write_onnx

from gen3dexport.errors import UsageError
from gen3dexport.models import Request
from gen3dexport.models import terrain_consistency as terrain
from gen3dexport.models.terrain_consistency.host.conditioning import label, scalings, waves
from gen3dexport.models.terrain_consistency.host.heights import HIGHEST, heights, sigma_of, values_of
from gen3dexport.models.terrain_consistency.host.model import Model, released_shapes
from gen3dexport.models.terrain_consistency.host.released import FILE, read_released
from gen3dexport.models.terrain_consistency.host.settings import RELEASED
from gen3dexport.models.terrain_consistency.host.tiles import in_tiles, starts
from gen3dexport.models.terrain_consistency.networks.loading import load_component
from gen3dexport.models.terrain_consistency.networks.norm import GroupNorm
from gen3dexport.observe import Eager
from gen3dexport.plan import read_recipe
from gen3dexport.testing import FamilyContract
from gen3dexport.validation.parity import compare

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("terrain"))


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "terrain_consistency"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("terrain"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {}


def test_golden_parity() -> None:
    result = compare("real-weights", GOLDEN / "terrain_tiny", None, "fp32", None)
    assert result["passed"] and result["family"] == "terrain_consistency"
    assert {row["output"] for row in result["outputs"]} == {"denoised", "emb", "encoder", "middle", "F"}
    assert max(row["relative"] for row in result["outputs"]) < 2e-5


def test_a_wrong_weight_fails_parity(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "terrain_tiny", tmp_path, dirs_exist_ok=True)
    state = dict(STATE)
    state["network.output_blocks.5.0.out_layers.0.bias"] = state["network.output_blocks.5.0.out_layers.0.bias"] + 0.05
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("real-weights", tmp_path, None, "fp32", None)["passed"]


def test_the_published_network_agrees() -> None:
    published()
    result = compare("real-weights", GOLDEN / "terrain", None, "fp32", None)
    assert result["passed"], result
    names = {row["output"] for row in result["outputs"]}
    assert {"d10.height", "d50.denoised", "d100.height", "variation.denoised"} <= names


def test_the_file_is_read_by_its_graph(weights: Path) -> None:
    found = read_released(weights)
    assert (found.size, found.groups, found.head_channels) == (MODEL.size, MODEL.groups, MODEL.head_channels)
    assert found.tensors.keys() == STATE.keys()
    assert all(np.array_equal(found.tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("network.out.2.bias"), "missing network.out.2.bias"),
        (lambda s: s.update({"network.extra": np.ones(3, np.float32)}), "unexpected network.extra"),
        (lambda s: s.update({"network.out.2.bias": np.ones(3, np.float32)}), r"network.out.2.bias has shape \[3\]"),
        (lambda s: s.update({"network.out.2.bias": np.full(1, np.nan, np.float32)}), "NaN"),
        (lambda s: s.pop("network.time_embed.0.weight"), "network.time_embed.0.weight is missing or misshapen"),
    ],
)
def test_other_files_are_refused(change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path) -> None:
    state = dict(STATE)
    change(state)
    write_onnx(state, tmp_path)
    with pytest.raises(UsageError, match=message):
        load_component(terrain.read_settings(tmp_path, terrain.Knobs(), False), tmp_path, "stored")


def test_published_shapes() -> None:
    """Every tensor of the published file, and no other, at its sizes."""
    expected = json.loads(Path(__file__).with_name("released_keys.json").read_text())
    model = Model(
        size=128, channels=(32, 32, 64, 96, 128), res_blocks=4, attention=(False, False, True, True, True), groups=32,
        head_channels=32, embedding=128, frequencies=16,
    )  # fmt: skip
    shapes = released_shapes(model)
    assert {name: list(shape) for name, shape in shapes.items()} == expected
    assert sum(math.prod(shape) for shape in shapes.values()) == 10_456_545


def test_the_recipe_is_of_the_published_file() -> None:
    assert read_recipe("terrain-consistency").weights == RELEASED


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (24, 8), (32, 4)])
def test_group_norm_is_torchs(channels: int, groups: int) -> None:
    draw = torch.Generator().manual_seed(0)
    norm = GroupNorm(channels, groups)
    norm.weight.data, norm.bias.data = (torch.randn(channels, generator=draw) for _ in range(2))
    x = 30 + 5 * torch.randn(2, channels, 6, 6, generator=draw)
    expected = torch.nn.functional.group_norm(x, groups, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-4)
    scale, shift = (torch.randn(2, channels, generator=draw) for _ in range(2))
    more = expected * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(norm(x, scale, shift), more, rtol=1e-4, atol=1e-4)


def test_what_the_network_is_told() -> None:
    assert label(1).item() == 0 and label(100).item() == 1 and label(50.5).item() == 0.5
    taken, given, skipped = scalings(0.002)[0]
    assert given == 0 and skipped == 1 and taken == pytest.approx(1 / math.sqrt(0.25 + 4e-6))
    assert scalings(80.0)[0] == pytest.approx(
        [1 / 80.0016, 0.5 * 79.998 / 80.0016, 0.25 / (79.998**2 + 0.25)], rel=1e-4
    )
    found = waves(2.0, 4)[0]
    angles = 250 * math.log(2) * np.array([1, 0.1, 0.01, 0.001])
    np.testing.assert_allclose(found, [*np.cos(angles), *np.sin(angles)], atol=1e-4)


def test_heights_and_values_are_each_others_inverse() -> None:
    metres = np.linspace(0, HIGHEST, 60, dtype=np.float32).reshape(6, 10)
    values = values_of(metres)
    assert values.min() == -1 and values.max() == pytest.approx(1)
    np.testing.assert_allclose(heights(values), metres, atol=1e-4)
    assert heights(values + 0).min() == 0 and heights(np.full((4, 4), 0.3, np.float32)).max() == 0
    assert sigma_of(0) == pytest.approx(0.002) and sigma_of(1) == pytest.approx(80)


def test_tiles_cover_a_map_and_fade() -> None:
    assert starts(128, 128, 32) == [0] and starts(224, 128, 32) == [0, 96] and starts(256, 128, 32) == [0, 96, 128]
    canvas = np.random.default_rng(0).standard_normal((40, 29)).astype(np.float32)
    np.testing.assert_allclose(in_tiles(lambda tile: tile, canvas, 16, 4), canvas, atol=1e-6)
    calls: list[Any] = []

    def ramp(tile: Any) -> Any:
        calls.append(tile)
        return np.full((16, 16), float(len(calls)), np.float32)

    found = in_tiles(ramp, np.zeros((16, 28), np.float32), 16, 4)
    assert len(calls) == 2 and (found[:, :12] == 1).all() and (found[:, 16:] == 2).all()
    assert (np.diff(found[8, 11:17]) >= 0).all() and 1 < found[8, 14] < 2


def _field(weights: Path, request: Request, **knobs: Any) -> np.ndarray:
    settings = terrain.read_settings(weights, terrain.Knobs(**knobs), False)
    state = terrain.begin(settings, request, weights, xp)
    (declared,) = terrain.components(settings)
    state = declared.advance(state, Eager(declared.load(weights)), xp)
    return terrain.make_assets(state, settings)["height_field"].heights


def test_seed_difficulty_and_size_change_the_field(weights: Path) -> None:
    first = _field(weights, Request(seed=1), difficulty=20, cell=2.0)
    assert first.shape == (16, 16) and first.min() == 0
    assert np.array_equal(first, _field(weights, Request("20", 1), cell=2.0))
    assert not np.array_equal(first, _field(weights, Request("90", 1), cell=2.0))
    assert not np.array_equal(first, _field(weights, Request("20", 2), cell=2.0))
    np.testing.assert_allclose(_field(weights, Request("20", 1), cell=1.0), 2 * first, rtol=1e-5)
    assert _field(weights, Request(seed=1), cells=40, overlap=4).shape == (40, 40)


def test_heights_are_varied(weights: Path) -> None:
    """Hardly at the least strength: the network is not trained, and its own part has the least factor there."""
    metres = np.random.default_rng(0).uniform(0, 5, (16, 16)).astype(np.float32)
    found = _field(weights, Request(features=metres), strength=0.0, cell=1.0) * 15
    np.testing.assert_allclose(found, metres - metres.min(), atol=0.3)
    other = _field(weights, Request(features=metres), strength=1.0, cell=1.0) * 15
    assert np.abs(other - (metres - metres.min())).max() > 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("hills"), "a difficulty from 1 to 100"),
        (Request("0"), "a difficulty from 1 to 100"),
        (Request("nan"), "a difficulty from 1 to 100"),
        (Request(image=np.zeros((4, 4, 3), np.uint8)), "image: this model makes terrain of noise"),
        (Request(features=np.zeros((4, 4), np.float32)), r"need finite heights in metres \[16, 16\], not \[4, 4\]"),
        (Request(features=np.full((16, 16), np.inf, np.float32)), "need finite heights"),
    ],
)
def test_requests_that_it_cannot_take(weights: Path, request_: Request, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        terrain.begin(terrain.read_settings(weights, terrain.Knobs(), False), request_, weights, xp)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [({"cells": 8}, "fewer than the network's 16"), ({"overlap": 16}, "no fewer than a tile's 16")],
)
def test_knobs_that_do_not_fit(weights: Path, knobs: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        terrain.read_settings(weights, terrain.Knobs(**knobs), False)


def test_what_is_no_onnx_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match="cannot be read as ONNX"):
        read_released(tmp_path)


def test_noise_is_that_of_the_golden_sets() -> None:
    tensors = load_file(GOLDEN / "terrain" / "io.safetensors")
    noise = np.random.default_rng(int(tensors["in.d50.seed"])).standard_normal((1, 1, 128, 128), np.float32)
    assert np.array_equal(noise, tensors["in.d50.noise"])
    np.testing.assert_allclose(heights(tensors["out.d50.denoised"][0]), tensors["out.d50.height"], atol=1e-5)


def test_the_commands(weights: Path, cli: Cli, fast_target: Path, tmp_path: Path) -> None:
    bundle, made = tmp_path / "bundle", recipe(weights, tmp_path / "terrain.yaml")
    code, out, error = cli("build", made, "--target", fast_target, "-o", bundle)
    assert code == 0, (out, error)
    files = [tmp_path / name for name in ("hill.glb", "hill.png", "hill.npz")]
    outputs = [argument for path in files for argument in ("-o", path)]
    code, out, error = cli("run", bundle, "-p", "80", "--seed", "3", *outputs)
    assert code == 0, error
    heights_ = np.load(files[2])["heights"]
    with Image.open(files[1]) as grey:
        low, high = heights_.min(), heights_.max()
        np.testing.assert_allclose(np.asarray(grey) / 65535 * (high - low) + low, heights_, atol=1e-4 * (high - low))
        assert grey.text["high"] == f"{high:.9g}"
    code, out, error = cli("run", bundle, "-o", files[2], "--set", "cells=32")
    assert code == 0 and np.load(files[2])["heights"].shape == (32, 32)
    code, out, error = cli("run", bundle, "-o", files[2], "--set", "cells=7")
    assert code == 2 and "fewer than the network's 16" in error
