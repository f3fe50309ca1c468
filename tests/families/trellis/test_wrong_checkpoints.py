"""Checkpoints whose configuration is wrong: every field of `pipeline.json` and of a network's file, walked.

A wrong value is told with its file before any weight is read, or makes a network that can be: nothing else is raised.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY_RECIPE

from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.models.tokens import tokenize
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.host.encoders import read_encoder
from gen3dexport.models.trellis.host.gaussian_attributes import Representation
from gen3dexport.models.trellis.host.radiance_field import Factors
from gen3dexport.models.trellis.networks.loading import network
from gen3dexport.plan import make_plan, read_recipe, read_target

ROLES = ("sparse_structure_flow_model", "sparse_structure_decoder")
"""What these name is another file; where that one is not there, the error is of it."""
WRONG: tuple[Any, ...] = (-8, 0, 1.5, 2**40, "word", [], [-1], {}, None, True)


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values inside JSON data, lists of numbers as one."""
    for key, inner in value.items():
        yield (*above, key)
        if isinstance(inner, dict):
            yield from _paths(inner, (*above, key))


def _changed(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(data)
    node = made
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return made


@pytest.fixture
def recipe(tiny_weights: Path, tmp_path: Path) -> Path:
    """A recipe of a private checkpoint folder, `weights` beside it."""
    shutil.copytree(tiny_weights, tmp_path / "weights")
    path = tmp_path / "recipe.yaml"
    path.write_text(TINY_RECIPE.format(weights=tmp_path / "weights"))
    return path


def _planned(recipe: Path) -> None:
    """The plan of a recipe, and every network's shapes."""
    target = read_target("eager")
    plan = make_plan(read_recipe(str(recipe), target), target)
    for declared in plan.declared.values():
        declared.load(plan.weights, "shapes")


def _problems(recipe: Path, file: Path, values: tuple[Any, ...]) -> tuple[dict[str, str], int]:
    """What is told badly of wrong values in a file, and how many of them are refused."""
    data, told, refused = json.loads(file.read_text()), {}, 0
    for path in _paths(data):
        for value in values:
            file.write_text(json.dumps(_changed(data, path, value)))
            try:
                _planned(recipe)
            except UsageError as error:
                refused += 1
                if str(file) not in str(error) and str(path[-1]) not in ROLES:
                    told[f"{path}={value}"] = f"names no file: {error}"
            except Exception as error:
                told[f"{path}={value}"] = f"{type(error).__name__}: {error}"
    file.write_text(json.dumps(data))
    return told, refused


def test_every_field_of_pipeline_json_and_a_network(recipe: Path) -> None:
    weights = recipe.parent / "weights"
    for file in (weights / "pipeline.json", weights / "ckpts" / "ss_flow_tiny.json"):
        told, refused = _problems(recipe, file, WRONG)
        assert not told
        assert refused > 50


@pytest.mark.parametrize(
    ("file", "path", "value", "message"),
    [
        ("pipeline.json", ("args", "sparse_structure_sampler", "params", "steps"), -1, "steps: .*1"),
        (
            "pipeline.json",
            ("args", "sparse_structure_sampler", "params", "cfg_strength"),
            float("inf"),
            "finite number",
        ),
        ("pipeline.json", ("args", "sparse_structure_sampler", "params", "cfg_interval"), [1, 0], "0 <= low <= high"),
        ("pipeline.json", ("name",), "a\0b", "name: has the control character"),
        ("ckpts/ss_flow_tiny.json", ("name",), 5, "a text `name`"),
        ("ckpts/ss_flow_tiny.json", ("args", "model_channels"), -64, "model_channels=-64: needs numbers above 0"),
        ("ckpts/ss_dec_tiny.json", ("args", "channels"), [32, -16, 8], "channels=.*: needs numbers above 0"),
        ("ckpts/ss_flow_tiny.json", ("args", "num_heads"), 7, "model_channels=64 is no multiple of num_heads=7"),
    ],
)
def test_one_wrong_value(recipe: Path, file: str, path: tuple[Any, ...], value: Any, message: str) -> None:
    place = recipe.parent / "weights" / file
    place.write_text(json.dumps(_changed(json.loads(place.read_text()), path, value)))
    with pytest.raises(UsageError, match=message) as error:
        _planned(recipe)
    assert str(place) in str(error.value)


@pytest.mark.parametrize("file", ["pipeline.json", "ckpts/ss_flow_tiny.json"])
def test_files_that_are_no_utf_8(recipe: Path, file: str) -> None:
    place = recipe.parent / "weights" / file
    place.write_bytes(place.read_text().encode("utf-16"))
    with pytest.raises(UsageError, match=rf"{place}: not UTF-8 text"):
        _planned(recipe)


_DINO = {"model_type": "dinov2_with_registers", "hidden_size": 48, "num_attention_heads": 2, "patch_size": 14}


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "wide"},
        {"hidden_size": 49},
        {"hidden_size": True},
        {"num_attention_heads": 0},
        {"patch_size": 0},
        {"patch_size": 1.5},
        {"num_hidden_layers": -1},
        {"layer_norm_eps": "small"},
        {"hidden_act": ""},
        {"qkv_bias": 1},
    ],
    ids=str,
)
def test_configurations_of_encoders(change: dict[str, Any], tmp_path: Path) -> None:
    name, path = "dinov2_vitl14_reg", tmp_path / "encoders" / "dinov2_vitl14_reg" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(_DINO))
    assert read_encoder(tmp_path, name, None, False) is not None
    path.write_text(json.dumps(_DINO | change))
    with pytest.raises(UsageError, match=f"{path}: .*{next(iter(change))}="):
        read_encoder(tmp_path, name, None, False)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(UsageError, match=f"{path}: not found"):
        read_encoder(tmp_path, name, None, False)


GAUSSIANS = NETWORKS["slat_dec_gs_tiny"][1]["representation_config"]


@pytest.mark.parametrize(
    "change",
    [
        {"num_gaussians": "many"},
        {"num_gaussians": 0},
        {"num_gaussians": True},
        {"voxel_size": -1},
        {"voxel_size": 0.5},
        {"opacity_bias": 1},
        {"scaling_bias": None},
        {"scaling_activation": "relu"},
        {"lr": 5},
        {"lr": {**GAUSSIANS["lr"], "_xyz": "fast"}},
    ],
    ids=str,
)
def test_representations_of_gaussians(change: dict[str, Any]) -> None:
    assert Representation.of(GAUSSIANS).num_gaussians == 32
    with pytest.raises(UsageError, match="representation_config: "):
        Representation.of({**GAUSSIANS, **change})


@pytest.mark.parametrize("change", [{"rank": 0}, {"rank": "16"}, {"dim": None}, {"dim": 1.5}], ids=str)
def test_representations_of_radiance_fields(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="representation_config: "):
        Factors.of({"rank": 16, "dim": 8, **change})


@pytest.mark.parametrize(
    "change", [{"num_heads": "two"}, {"qk_rms_norm": 5}, {"mlp_ratio": True}, {"resolution": [8]}], ids=str
)
def test_arguments_of_networks_have_their_types(change: dict[str, Any]) -> None:
    name, args = NETWORKS["ss_flow_tiny"]
    key, value = next(iter(change.items()))
    with pytest.raises(UsageError, match=rf"{name}: {key}=.*; copy the file again"):
        network(name, {**args, key: value})


@pytest.mark.parametrize("content", [b"", b"{}", b"tokenizer", b"[" * 1000, '{"a": 1}'.encode("utf-16"), None])
def test_a_tokenizer_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VerificationError, match=f"{path}: no tokenizer can be made of it .*; copy it again"):
        tokenize("a chair", 16, path)
