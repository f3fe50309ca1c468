"""LGM's and L4GM's networks: golden parity, the released layouts, attention written out, files of others."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lgm_tiny import GOLDEN, checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.lgm.host.model import parse_model, read_model
from gen3dexport.models.lgm.networks.loading import load_component
from gen3dexport.models.lgm.networks.network import Lgm
from gen3dexport.models.lgm.networks.unet import Attention, GroupNorm
from gen3dexport.validation.parity import compare

WEIGHTS = Path(__file__).parents[3] / "weights"
OUTPUTS = {
    "lgm": {
        *("gaussians", "conv_in", "down0", "down1_net0", "down1_attn0", "down1", "down2"),
        *("mid_block", "up0", "up1", "unet", "conv"),
    },
    "l4gm": {"gaussians", "down1_net0", "down1_attn0", "down1_t_attn0", "mid_block", "unet", "conv"},
    "plucker": {"poses", "rays", "view", "view_proj", "cam_pos"},
    "ply": {"columns", "loaded"},
}
RELEASED = {
    "LGM-big": (376, 415042848, "eb4869fedd595729f43f63f1f25571de7c398b84f81f4446aa1719f672f89ea9"),
    "LGM-small": (344, 412958240, "e35052e44c566bd90f0adb8f940f151be1a7ca7badb14deb925432a4e292a288"),
    "LGM-tiny": (244, 59743360, "4a0853a058d358c3dd7709bc4a8a078a1a67c6eba89d295281b98dfb80827420"),
    "L4GM-big": (456, 466464544, "0b7a17419f23c50dc919693930014fdefc381ed93009bf1b9abf7496210c9463"),
}


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("lgm", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(OUTPUTS)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("lgm", "unet.down_blocks.1.attns.1.norm.bias"),
        ("l4gm", "unet.up_blocks.0.t_attns.2.attn.proj.bias"),
        ("l4gm", "unet.mid_block.t_attns.0.attn.qkv.weight"),
    ],
)
def test_a_wrong_weight_fails_parity(kind: str, changed: str, tmp_path: Path) -> None:
    for path in (GOLDEN / kind).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state[changed] += 0.03
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("lgm", tmp_path, None, "fp32", None)["passed"]


@pytest.mark.parametrize("variant", sorted(RELEASED))
def test_released_keys(variant: str) -> None:
    """Every tensor of the released files, and no other, at the shipped configurations."""
    with torch.device("meta"):
        state = Lgm(read_model(WEIGHTS / variant)).state_dict()
    lines = sorted(f"{name} {list(value.shape)}" for name, value in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(state), sum(v.numel() for v in state.values()), digest) == RELEASED[variant]


@pytest.mark.parametrize("over", [False, True])
def test_attention_written_out(over: bool) -> None:
    """Queries of every cell over the cells of its group alone: one frame's views, or one view's frames."""
    views, frames, width, edge = 2, 3, 32, 2
    torch.manual_seed(0)
    attention = Attention(width, views, frames, over).eval()
    torch.nn.init.normal_(attention.norm.weight)
    x = torch.randn(frames * views, width, edge, edge)
    normal = torch.nn.functional.group_norm(x, 32, attention.norm.weight, attention.norm.bias, 1e-5)
    expected = torch.zeros_like(x)
    groups = (
        [[frame * views + view for frame in range(frames)] for view in range(views)]
        if over
        else [[frame * views + view for view in range(views)] for frame in range(frames)]
    )
    with torch.no_grad():
        for group in groups:
            cells = torch.cat([normal[place].flatten(1).T for place in group])  # map after map, row after row
            q, k, v = (part.reshape(len(cells), 16, 2) for part in attention.attn.qkv(cells).chunk(3, -1))
            weights = (torch.einsum("nhd,mhd->hnm", q, k) / math.sqrt(2)).softmax(-1)
            made = attention.attn.proj(torch.einsum("hnm,mhd->nhd", weights, v).reshape(len(cells), width))
            for place, part in zip(group, made.split(edge * edge), strict=True):
                expected[place] = part.T.reshape(width, edge, edge)
        torch.testing.assert_close(attention(x), (x + expected) * math.sqrt(0.5), rtol=1e-4, atol=1e-5)


def test_a_group_norm_is_torch_s() -> None:
    norm = GroupNorm(64)
    for values in norm.parameters():
        torch.nn.init.normal_(values)
    x = torch.randn(3, 64, 5, 7)
    expected = torch.nn.functional.group_norm(x, 32, norm.weight, norm.bias, 1e-5)
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)


def test_one_frame_is_still_attended_over_time() -> None:
    """With temporal attention and a single frame, the result is not that of a model without it."""
    config = json.loads((GOLDEN / "l4gm" / "config.json").read_text()) | {"num_frames": 1}
    state = load_file(GOLDEN / "l4gm" / "weights.safetensors")
    images = torch.randn(2, 4, 9, 16, 16)
    with torch.no_grad():
        made = _network(config, state)(images)
        plain = {k: v for k, v in state.items() if ".t_attns." not in k}
        other = _network(config | {"use_temp_attn": False}, plain)(images)
    assert made.shape == other.shape == (2, 256, 14) and (made - other).abs().max() > 0.01


def test_several_gaussians_a_pixel_are_groups_of_fourteen() -> None:
    config = json.loads((GOLDEN / "lgm" / "config.json").read_text())
    state = load_file(GOLDEN / "lgm" / "weights.safetensors")
    one = _network(config, state)
    doubled = dict(state)
    for name in ("unet.conv_out.weight", "unet.conv_out.bias"):
        doubled[name] = torch.cat([state[name], state[name]])
    zero = torch.zeros_like(state["conv.weight"])
    doubled["conv.weight"] = torch.cat([torch.cat([state["conv.weight"], zero], 1), torch.cat([zero, zero], 1)])
    doubled["conv.bias"] = torch.cat([state["conv.bias"], torch.zeros(14)])
    two = _network(config | {"gaussian_perpixel": 2}, doubled)
    images = torch.randn(1, 4, 9, 16, 16)
    with torch.no_grad():
        found, expected = two(images), one(images)
    torch.testing.assert_close(found[:, 0::2], expected)
    assert found[:, 1::2, 3].unique().tolist() == [0.5]  # opacity of nothing


def _network(config: dict[str, object], state: dict[str, Tensor]) -> Lgm:
    names = {k: v for k, v in config.items() if k not in ("fovy", "cam_radius")}
    with torch.device("meta"):
        made = Lgm(parse_model(names, "test"))
    made.load_state_dict(state, strict=True, assign=True)
    return made.eval()


@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 0.02), (torch.bfloat16, 0.15)])
def test_half_precision_stays_near_float32(dtype: torch.dtype, most: float, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    network = load_component("unet", read_model(folder), folder / "model_fixrot", "stored", AS_STORED).module
    assert isinstance(network, Lgm)
    images = torch.randn(1, 4, 9, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
        network.set_block_dtype(dtype)
        found = network(images)
    assert found.dtype == torch.float32
    error = torch.linalg.norm(found - expected) / torch.linalg.norm(expected)
    assert 0 < error < most


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
FIRST = "unet.conv_in.weight"
OTHERS: dict[str, tuple[Change, str]] = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "conv.bias"}, "missing conv.bias"),
    "unexpected": (lambda s: {**s, "unet.other": torch.zeros(1)}, "unexpected unet.other"),
    "a slot without attention": (
        lambda s: {**s, "unet.down_blocks.0.attns.0.norm.bias": torch.zeros(32)},
        "unexpected unet.down_blocks.0.attns.0.norm.bias",
    ),
    "shape": (lambda s: {**s, "conv.bias": torch.zeros(28)}, r"conv.bias has shape \[28\], needs \[14\]"),
    "not finite": (lambda s: {**s, "conv.bias": torch.full((14,), torch.nan)}, "NaN"),
    "big": (lambda s: {**s, FIRST: torch.zeros(64, 9, 3, 3)}, "variant 64 wide with 2 blocks up, .* 32 wide"),
    "L4GM": (
        lambda s: load_file(GOLDEN / "l4gm" / "weights.safetensors"),
        "a checkpoint of L4GM, .* and the configuration is of LGM",
    ),
    "loss": (lambda s: {**s, "lpips_loss.net.0.weight": torch.zeros(1)}, "1 tensors of a loss, .* of a training run"),
    "prefix": (lambda s: {f"module.{k}": v for k, v in s.items()}, r"`strip_prefix: module\.`"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused(case: str, tmp_path: Path) -> None:
    folder, (change, message) = checkpoint(tmp_path), OTHERS[case]
    path = folder / "model_fixrot.safetensors"
    save_file(change(load_file(path)), path)
    with pytest.raises(UsageError, match=message):
        load_component("unet", read_model(folder), folder / "model_fixrot", "stored", AS_STORED)


def test_a_checkpoint_of_lgm_is_none_of_l4gm(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "l4gm")
    (folder / "recon.safetensors").write_bytes((GOLDEN / "lgm" / "weights.safetensors").read_bytes())
    with pytest.raises(UsageError, match=r"a checkpoint of LGM, .* and the configuration is of L4GM"):
        load_component("unet", read_model(folder), folder / "recon", "stored", AS_STORED)


def test_a_prefix_is_taken_off(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    state = {f"module.{k}": v for k, v in load_file(folder / "model_fixrot.safetensors").items()}
    save_file(state, folder / "model_fixrot.safetensors")
    reading = Reading(strip_prefix="module.")
    load_component("unet", read_model(folder), folder / "model_fixrot", "stored", reading)


def test_a_set_of_another_kind_is_refused(tmp_path: Path) -> None:
    for path in (GOLDEN / "ply").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file({"in.other": torch.zeros(1)}, tmp_path / "io.safetensors")
    with pytest.raises(UsageError, match="a set of 'ply' is not known"):
        compare("lgm", tmp_path, None, "fp32", None)
