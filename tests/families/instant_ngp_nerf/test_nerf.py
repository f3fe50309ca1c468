"""A radiance field's networks: golden parity, the same sums written out at other sizes, the released layout."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nerf_tiny import CONFIG, GOLDEN, checkpoint, hashed, rendered
from safetensors.torch import load_file, save_file

from gen3dexport.errors import UsageError
from gen3dexport.models.instant_ngp_nerf.host.model import parse_model, read_model
from gen3dexport.models.instant_ngp_nerf.networks.field import Nerf
from gen3dexport.models.instant_ngp_nerf.networks.harmonics import harmonics
from gen3dexport.models.instant_ngp_nerf.networks.hash_encoding import HashEncoding
from gen3dexport.models.instant_ngp_nerf.networks.loading import PREFIXES, read_released
from gen3dexport.models.instant_ngp_nerf.networks.renderer import Renderer
from gen3dexport.validation.parity import compare

OUTPUTS = {
    "hash_encoding": {"features", "scalings", "hash_floor"},
    "sh_encoding": {"sh_raw", "sh_field"},
    "nerfacto": {
        *("rgb", "depth", "accumulation", "expected_depth", "bins0_starts", "weights0", "weights1", "starts", "ends"),
        *("positions", "density", "rgb_samples", "weights"),
    },
}


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("instant-ngp-nerf", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(OUTPUTS)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("hash_encoding", "hash_table"),
        ("nerfacto", "field.mlp_base.model.1.layers.1.bias"),
        ("nerfacto", "field.embedding_appearance.embedding.weight"),
        ("nerfacto", "proposal_networks.0.mlp_base.1.layers.0.weight"),
    ],
)
def test_a_wrong_weight_fails_parity(kind: str, changed: str, tmp_path: Path) -> None:
    for path in (GOLDEN / kind).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state[changed] += 0.03
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("instant-ngp-nerf", tmp_path, None, "fp32", None)["passed"]


def test_released_keys() -> None:
    """Every tensor of the torch implementation, and no other, at the shipped configuration."""
    released = json.loads((Path(__file__).parent / "released_keys.json").read_text())["keys"]
    with torch.device("meta"):
        state = Nerf(read_model(Path(__file__).parents[3] / "weights" / "nerfacto")).state_dict()
    own = {name: {"shape": list(v.shape), "dtype": str(v.dtype).removeprefix("torch.")} for name, v in state.items()}
    assert own == released


@pytest.mark.parametrize(
    ("levels", "coarsest", "finest", "bits", "features"),
    [(1, 5, 5, 3, 1), (3, 7, 100, 9, 4), (16, 16, 2048, 19, 2), (2, 300, 30000, 22, 2), (5, 16, 4095, 20, 1)],
)
def test_rows_are_those_of_long_integers(levels: int, coarsest: int, finest: int, bits: int, features: int) -> None:
    torch.manual_seed(0)
    made = HashEncoding(levels, coarsest, finest, bits, features)
    made.hash_table = torch.nn.Parameter(torch.randn(made.hash_table.shape))
    places = np.random.default_rng(1).random((12, 3)).astype(np.float32)
    places[:3] = [[0, 0, 0], [1, 1, 1], [0.5, 1, 0.25]]
    with torch.no_grad():
        found = made(torch.from_numpy(places))
    expected = hashed(places, made.hash_table.detach().numpy(), made.get_buffer("scalings").numpy(), bits)
    assert found.shape == (12, levels * features) == (12, made.width)
    np.testing.assert_allclose(found, expected, atol=2e-3 if finest > 9999 else 2e-4)


OTHERS: list[dict[str, Any]] = [
    {"use_average_appearance_embedding": False},
    {
        "field": {
            **CONFIG["field"],
            "num_levels": 3,
            "log2_hashmap_size": 9,
            "features_per_level": 4,
            "hidden_dim": 11,
            "max_res": 33,
            "hidden_dim_color": 9,
            "geo_feat_dim": 5,
            "appearance_embedding_dim": 0,
            "num_layers_color": 4,
        },
        "proposal_net_args_list": [
            {"hidden_dim": 5, "log2_hashmap_size": 5, "num_levels": 2, "max_res": 20, "base_res": 4, "num_layers": 3}
        ],
        "num_proposal_samples_per_ray": [31],
        "num_nerf_samples_per_ray": 17,
        "near_plane": 0.2,
        "far_plane": 50.0,
    },
    {"proposal_net_args_list": [], "num_proposal_samples_per_ray": [], "num_nerf_samples_per_ray": 40},
]


@pytest.mark.parametrize("changed", OTHERS)
def test_rays_written_out(changed: dict[str, Any]) -> None:
    """Sizes come from the configuration: whole rays at others, against sums in float64."""
    config = {**copy.deepcopy(CONFIG), **changed}
    torch.manual_seed(2)
    nerf = Nerf(parse_model(config, "here")).eval().requires_grad_(False)
    for name, value in nerf.named_parameters():
        value.copy_(torch.randn(value.shape) * (0.5 if "hash" in name else 0.4))
    state = {name: value.numpy().astype(np.float64) for name, value in nerf.state_dict().items()}
    draw = np.random.default_rng(3)
    origins, directions = draw.normal(0, 0.5, (5, 3)), draw.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    grids = [*(network.encoding for network in nerf.proposal_networks), nerf.field.mlp_base.model[0]]
    scalings = [grid.get_buffer("scalings").numpy().astype(np.float64) for grid in grids]
    expected = rendered(config, state, scalings, origins, directions)
    found = Renderer(nerf)(*(torch.from_numpy(rays).float() for rays in (origins, directions)))
    for name, value in zip(("rgb", "depth", "accumulation"), found, strict=False):
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=2e-4, err_msg=name)


def test_too_many_bands_are_refused() -> None:
    with pytest.raises(UsageError, match="5 bands: there are 1 to 4"):
        harmonics(torch.zeros(1, 3), 5)


def _state() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "nerfacto" / "weights.safetensors")


@pytest.mark.parametrize("prefix", ["", *PREFIXES])
def test_checkpoints_of_training_runs(prefix: str) -> None:
    """Prefixes come off; corrections of cameras and metrics are left."""
    state = {prefix + name: value for name, value in _state().items()}
    for name in ("camera_optimizer.pose_adjustment", "lpips.net.lin0.weight", "device_indicator_param"):
        state[prefix + name] = torch.zeros(3)
    state["datamanager.train_camera_optimizer.pose_adjustment"] = torch.zeros(3)
    made = read_released(parse_model(CONFIG, "here"), state, "here")
    torch.testing.assert_close(made.state_dict(), _state())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_images": 4}, "was trained on 3 pictures, and the configuration's num_images is 4; write"),
        ({"field": {**CONFIG["field"], "max_res": 64}}, "field.max_res is 48, and the configuration says 64"),
        ({"field": {**CONFIG["field"], "hidden_dim": 8}}, r"layers.0.bias has shape \[16\], needs \[8\]"),
    ],
)
def test_files_of_others_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_released(parse_model({**CONFIG, **changed}, "here"), _state(), "here")


def test_files_of_tiny_cuda_nn_are_refused() -> None:
    state = {name: value for name, value in _state().items() if "mlp" not in name}
    state["field.mlp_base.tcnn_encoding.params"] = torch.zeros(9)
    with pytest.raises(
        UsageError, match=r"tcnn_encoding.params is a flat buffer of tiny-cuda-nn.*implementation torch"
    ):
        read_released(parse_model(CONFIG, "here"), {f"_model.{k}": v for k, v in state.items()}, "here")


def test_a_table_under_two_names_must_be_one() -> None:
    state = _state()
    state["proposal_networks.1.encoding.hash_table"] += 1
    with pytest.raises(UsageError, match=r"proposal_networks.1: .* are one tensor under two names, and differ"):
        read_released(parse_model(CONFIG, "here"), state, "here")
    with pytest.raises(UsageError, match=r"unexpected field.stray"):
        read_released(parse_model(CONFIG, "here"), {**_state(), "field.stray": torch.zeros(1)}, "here")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_proposal_samples_per_ray": [4]}, "has 1 numbers for 2 proposal networks"),
        ({"near_plane": 2000.0}, "near_plane 2000.0 is not less than far_plane"),
        ({"background_color": "random"}, "background_color"),
        ({"field": {**CONFIG["field"], "base_res": 99}}, "max_res 48 is less than base_res 99"),
        ({"backbone_config": {}}, "of Depth Anything V2; use the family depth_anything_v2"),
    ],
)
def test_wrong_configurations(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_model(checkpoint(tmp_path, **changed))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="copy the one of weights/nerfacto"):
        read_model(tmp_path)
