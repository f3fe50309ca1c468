"""V-JEPA 2's networks: golden parity, the released layouts, turning written out, files of others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from v_jepa2_tiny import GOLDEN, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.models import v_jepa2
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.v_jepa2.host.model import read_model
from gen3dexport.models.v_jepa2.networks.loading import load_component
from gen3dexport.models.v_jepa2.networks.network import Predictor
from gen3dexport.models.v_jepa2.networks.positions import pairs_apart, tables, turn
from gen3dexport.models.v_jepa2.networks.released import Released
from gen3dexport.validation.parity import compare

WEIGHTS = Path(__file__).parents[3] / "weights"
RELEASED = Path(__file__).with_name("released_keys.json")
"""Names and shapes of the released tensors, from transformers' VJEPA2Model at the released sizes (H and g: sizes from
general knowledge)."""
PREDICTED = {"last_hidden_state", "predicted", "target"}
SETS = ("encoder", "encoder_still", "encoder_tubelet3", "predictor_full", "predictor_later", "predictor_scattered")
OUTPUTS = {name: PREDICTED if name.startswith("predictor") else {"last_hidden_state"} for name in SETS}
OUTPUTS["frames"] = {"pixel_values_videos"}


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("v-jepa2", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(OUTPUTS)


def _copied(name: str, folder: Path) -> Path:
    for path in (GOLDEN / name).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("encoder", "encoder.layer.1.attention.query.bias"),
        ("encoder_tubelet3", "encoder.embeddings.patch_embeddings.proj.weight"),
        ("predictor_later", "predictor.layer.0.mlp.fc1.bias"),
        ("predictor_scattered", "predictor.embeddings.mask_tokens"),
    ],
)
def test_a_wrong_weight_fails_parity(name: str, changed: str, tmp_path: Path) -> None:
    _copied(name, tmp_path)
    state = load_file(tmp_path / "weights.safetensors")
    state[changed] *= 1.1  # a constant added to a whole row would be taken off by the norms
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("v_jepa2", tmp_path, None, "fp32", None)["passed"]


def test_sets_may_use_the_library_s_names(tmp_path: Path) -> None:
    """`predictor_output.last_hidden_state`; without masks every patch is known and asked for."""
    _copied("predictor_full", tmp_path)
    tensors = load_file(tmp_path / "io.safetensors")
    tensors["out.predictor_output.last_hidden_state"] = tensors.pop("out.predicted")
    tensors["out.predictor_output.target_hidden_state"] = tensors.pop("out.target")
    del tensors["in.context_mask"], tensors["in.target_mask"]
    save_file(tensors, tmp_path / "io.safetensors")
    result = compare("v-jepa2", tmp_path, None, "fp32", None)
    assert result["passed"] and len(result["outputs"]) == 3, result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("in.pixel_values_videos"), "has no film"),
        (lambda t: t.update({"in.context_mask": t["in.context_mask"] + 64}), "in.context_mask is not .* 0 to 63"),
        (lambda t: t.update({"in.pixel_values_videos": t["in.pixel_values_videos"][:, :, 0].clone()}), r"need \[B, T"),
    ],
)
def test_damaged_sets(change: Callable[[dict[str, Tensor]], object], message: str, tmp_path: Path) -> None:
    _copied("predictor_later", tmp_path)
    tensors = load_file(tmp_path / "io.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "io.safetensors")
    with pytest.raises(UsageError, match=message):
        compare("v-jepa2", tmp_path, None, "fp32", None)


@pytest.mark.parametrize("variant", ["V-JEPA2-L", "V-JEPA2-H", "V-JEPA2-g"])
def test_released_keys(variant: str) -> None:
    """Every tensor of the released files, and no other, at the shipped configurations."""
    with torch.device("meta"):
        state = Released(read_model(WEIGHTS / variant)).state_dict()
    known = json.loads(RELEASED.read_text())[variant]
    shapes: dict[str, list[int]] = dict(known["others"])
    for part in ("encoder", "predictor"):
        for k in range(known["layers"][part]):
            shapes |= {f"{part}.layer.{k}.{name}": shape for name, shape in known[part].items()}
    assert {name: list(value.shape) for name, value in state.items()} == shapes
    assert sum(v.numel() for v in state.values()) == known["elements"]


@pytest.mark.parametrize("width", [4, 6, 16, 20, 64, 80])
def test_turning_written_out(width: int) -> None:
    """A released channel's partner is its neighbour, and turns by another angle."""
    grid, each = 3, 2 * (width // 3 // 2)
    ids = torch.tensor([[0, 1, 5, 9, 17, 26]])
    x = torch.randn(1, 2, 6, width, generator=torch.Generator().manual_seed(0))
    expected = x.clone()
    for n, place in enumerate(ids[0].tolist()):
        for axis, at in enumerate((place // 9, place % 9 // 3, place % 3)):
            for j in range(each):
                own, partner = axis * each + j, axis * each + j + (1 if j % 2 == 0 else -1)
                angle = at / 10000 ** ((j % (each // 2)) / (each / 2))
                sign = -1 if j % 2 == 0 else 1
                turned = x[..., n, own] * math.cos(angle) + sign * x[..., n, partner] * math.sin(angle)
                expected[..., n, own] = turned
    order = pairs_apart(width)
    assert sorted(order.tolist()) == list(range(width))
    cosines, sines = (table[:, None] for table in tables(ids, grid, width))
    torch.testing.assert_close(turn(x[..., order], cosines, sines), expected[..., order], rtol=1e-5, atol=1e-5)


def test_the_order_of_what_is_known_and_asked_for_says_nothing(tmp_path: Path) -> None:
    settings = v_jepa2.read_settings(checkpoint(tmp_path), v_jepa2.Knobs(frames=8), False)
    state = load_file(tmp_path / "model.safetensors")
    draw = torch.Generator().manual_seed(1)
    known, asked = (torch.randperm(64, generator=draw)[None, :n] for n in (20, 30))
    features = torch.randn(1, 20, 32, generator=draw)
    turned = torch.randperm(20, generator=draw), torch.randperm(30, generator=draw)

    def predicted(known: Tensor, asked: Tensor, features: Tensor) -> Tensor:
        made = Released(settings.model)
        made.load_state_dict(state)
        with torch.no_grad():
            found: Tensor = Predictor(made.predictor, settings.model, known, asked).eval()(features)
        return found

    first = predicted(known, asked, features)
    second = predicted(known[:, turned[0]], asked[:, turned[1]], features[:, turned[0]])
    torch.testing.assert_close(second, first[:, turned[1]], rtol=1e-4, atol=1e-5)
    assert (first[:, :-1] - first[:, 1:]).abs().max() > 0.01


def _damaged(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    checkpoint(folder)
    state = change(load_file(folder / "model.safetensors"))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    return folder


def _classifier(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"vjepa2.{name}": value for name, value in state.items()} | {"classifier.weight": torch.zeros(3, 32)}


def _original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "module.backbone.blocks.0.attn.qkv.weight": torch.zeros(96, 32),
        "module.backbone.norm.bias": torch.zeros(32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_classifier, "1 tensors of a classifier, first classifier.weight.* VJEPA2Model"),
        (_original, "the names of the original code .*, first module.backbone.blocks.0.attn.qkv.weight.* transformers"),
        (lambda s: {k: v for k, v in s.items() if k.startswith("encoder.")}, "and no predictor.*knobs.predictor=false"),
        (lambda s: {k: v for k, v in s.items() if k != "encoder.layernorm.bias"}, "missing encoder.layernorm.bias"),
        (lambda s: {**s, "encoder.layer.2.norm1.bias": torch.zeros(32)}, "unexpected encoder.layer.2.norm1.bias"),
        (lambda s: {f"model.{k}": v for k, v in s.items()}, "strip_prefix: model."),
        (
            lambda s: {**s, "encoder.embeddings.patch_embeddings.proj.weight": torch.zeros(1280, 3, 2, 4, 4)},
            "a checkpoint of V-JEPA 2 H, and the configuration is of a model 32 wide",
        ),
    ],
)
def test_files_of_others(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str, tmp_path: Path
) -> None:
    folder = _damaged(tmp_path, change)
    settings = v_jepa2.read_settings(folder, v_jepa2.Knobs(frames=8), False)
    for name in ("encoder", "predictor"):  # whichever is asked for, the whole file is looked at
        with pytest.raises(UsageError, match=message):
            load_component(name, settings, folder / "model", "stored", AS_STORED)


def test_an_encoder_alone_is_enough_without_a_predictor(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path / "whole")
    alone = _damaged(tmp_path / "alone", lambda s: {k: v for k, v in s.items() if k.startswith("encoder.")})
    made = []
    for folder in (whole, alone):
        settings = v_jepa2.read_settings(folder, v_jepa2.Knobs(frames=8, predictor=False), False)
        assert [one.name for one in v_jepa2.components(settings)] == ["encoder"]
        made.append(load_component("encoder", settings, folder / "model", "stored", AS_STORED))
    film = torch.randn(1, 8, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(made[0].module(film), made[1].module(film))


def test_a_pickle_and_a_prefix(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({f"net.{name}": value for name, value in state.items()}, folder / "model.bin")
    settings = v_jepa2.read_settings(folder, v_jepa2.Knobs(frames=8), False)
    with pytest.raises(UsageError, match="--allow-pickle"):
        load_component("encoder", settings, folder / "model", "stored", AS_STORED)
    made = load_component("encoder", settings, folder / "model", "stored", Reading(True, "net."))
    assert made.outputs == ("features",)
