"""Hunyuan3D-2's networks and host side: golden parity, released layout, packed heads, times, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hunyuan_tiny import ENCODER, FILE, GOLDEN, KNOBS, checkpoint, configuration, state
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.export import export_module
from gen3dexport.models import Request, hunyuan3d_2
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.hunyuan3d_2.host import picture, volume
from gen3dexport.models.hunyuan3d_2.host.model import Scheduler, read_model
from gen3dexport.models.hunyuan3d_2.host.times import schedule, taught
from gen3dexport.models.hunyuan3d_2.networks import loading
from gen3dexport.models.hunyuan3d_2.networks.transformer import Flow
from gen3dexport.models.hunyuan3d_2.networks.vae import Packed
from gen3dexport.validation.parity import compare

ROOT = Path(__file__).parents[3]
OUTPUTS = {
    "dit": {"v", "time", "latent_in", "cond_in"},
    "dit_guidance": {"v", "time", "latent_in", "cond_in", "guidance"},
    "sampler": {"x0", "x1", "x2", "x3", "x4", "sigmas", "timesteps"},
    "sampler_turbo": {"x0", "x1", "x2", "x3", "x4", "sigmas", "timesteps"},
    "vae_decoder": {"latent_set", "logits", "fourier", "query_proj"},
    "vae_decoder_small_geo": {"latent_set", "logits", "fourier", "query_proj"},
    "flash_attention": {"first_level", "cells"},
    "volume": {
        *("mc.vertices", "mc.faces", "flash.grid_shape"),
        *(f"{way}.{name}" for way in ("dense", "hierarchical", "flash") for name in ("grid", "grid.known", "queries")),
    },
}
RELEASED = {"mini": ("dit_mini", "vae_mini"), "mini-turbo": ("dit_mini_turbo", "vae_mini_turbo")}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "weights")


@pytest.mark.parametrize("name", OUTPUTS)
def test_golden_parity(name: str) -> None:
    result = compare("hunyuan3d-2", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        ("dit", "double_blocks.1.txt_mod.lin.bias"),
        ("dit_guidance", "guidance_in.out_layer.bias"),
        ("vae_decoder", "geo_decoder.cross_attn_decoder.attn.c_kv.weight"),
    ],
)
def test_a_wrong_weight_fails_parity(kind: str, tensor: str, tmp_path: Path) -> None:
    for path in (GOLDEN / kind).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stored = load_file(tmp_path / "weights.safetensors")
    stored[tensor] += 0.02 * torch.randn(stored[tensor].shape)
    save_file(stored, tmp_path / "weights.safetensors")
    assert not compare("hunyuan3d-2", tmp_path, None, "fp32", None)["passed"]


@pytest.mark.parametrize("name", ["out.hierarchical.queries", "out.flash.grid", "out.mc.faces"])
def test_another_volume_fails_parity(name: str, tmp_path: Path) -> None:
    for path in (GOLDEN / "volume").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stored = load_file(tmp_path / "io.safetensors")
    place = (stored[name].reshape(-1) > 0).nonzero()[7 if stored[name].numel() > 8 else 0]
    stored[name].reshape(-1)[place] = stored[name].reshape(-1)[place] + 1 if "grid" not in name else -777
    save_file(stored, tmp_path / "io.safetensors")
    result = compare("hunyuan3d-2", tmp_path, None, "fp32", None)
    bad = {row["output"] for row in result["outputs"] if row["relative"] > row["allowed"]}
    assert bad == {name.removeprefix("out.")} | ({"flash.grid.known"} if "grid" in name else set())


def test_a_field_of_another_formula_is_named(tmp_path: Path) -> None:
    for path in (GOLDEN / "volume").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["field"]["formula"] = "|p|"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"field.formula: is '\|p\|'"):
        compare("hunyuan3d-2", tmp_path, None, "fp32", None)


def test_levels_of_the_release() -> None:
    assert volume.hierarchical_levels(384) == (96, 192, 384)
    assert volume.mini_grid_levels(384) == (95, 190, 380)
    assert volume.hierarchical_levels(50) == (50,)  # below the least: that level alone
    assert volume.mini_grid_levels(72, 10)[0] == 4 * round(18 / 4) - 1 == 15  # halves round to even


def test_a_set_that_is_not_read_is_named(tmp_path: Path) -> None:
    for name in ("config.json", "io.safetensors", "meta.json"):
        (tmp_path / name).write_bytes((GOLDEN / "dit" / name).read_bytes())
    (tmp_path / "config.json").write_text('{"octree_resolution": 32}')
    with pytest.raises(UsageError, match="a set of 'dit' is not read"):
        compare("hunyuan3d-2", tmp_path, None, "fp32", None)


@pytest.mark.parametrize("variant", RELEASED)
def test_released_keys(variant: str) -> None:
    """Every tensor of the flow and of the decoder, and no other, at the shipped sizes."""
    keys = json.loads(Path(__file__).with_name("released_keys.json").read_text())
    with torch.device("meta"):
        own = loading.file_tensors(read_model(ROOT / "weights" / f"Hunyuan3D-2-{variant}"))
    for part, prefix in zip(RELEASED[variant], ("model.", "vae."), strict=True):
        found = {k.removeprefix(prefix): list(v.shape) for k, v in own.items() if k.startswith(prefix)}
        assert found == keys[part]


def test_the_released_size_is_planned_from_shapes() -> None:
    folder = ROOT / "weights" / "Hunyuan3D-2-mini-turbo"
    settings = hunyuan3d_2.read_settings(folder, hunyuan3d_2.Knobs(), True)
    made = {one.name: one.load(folder, "shapes") for one in hunyuan3d_2.components(settings)}
    assert {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()} == {
        "image_encoder": {"image": (1, 3, 518, 518)},
        "flow": {"x": (1, 512, 64), "t": (1,), "cond": (1, 1370, 1536)},
        "latent_decoder": {"z": (1, 512, 64)},
        "query": {"context": (1, 2, 8, 512, 64), "points": (1, 8192, 3)},
    }
    # The modulations' layers are tables of five steps: a quarter of the flow's weights.
    assert 400e6 < made["flow"].parameters < 0.75 * 560_508_992


def test_the_image_encoder_is_the_library_s(weights: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    library = Dinov2Model(Dinov2Config(**ENCODER, attn_implementation="sdpa")).eval()
    prefix = loading.PREFIXES["image_encoder"]
    tensors = {k: v for k, v in state("plain").items() if not k.startswith(prefix)}
    tensors |= {prefix + k: v.clone() for k, v in library.state_dict().items()}
    save_file(tensors, weights / FILE)
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**KNOBS), False)
    network = hunyuan3d_2.components(settings)[0].load(weights).module
    image = torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(network(image), library(image).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_packed_rows_are_put_in_order_once() -> None:
    layer = Packed(4, 2, 2, bias=True)
    x = torch.randn(1, 3, 4)
    k, v = layer(x).unflatten(-1, (2, 4)).split(2, dim=-1)  # heads first, as the release cuts them
    layer.unpack()
    layer.unpack()
    torch.testing.assert_close(layer(x), torch.cat([k.flatten(2), v.flatten(2)], -1))


def test_tables_take_the_place_of_the_modulation_s_layers(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path, "turbo")
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**KNOBS), False)
    tabulated, whole = hunyuan3d_2.components(settings)[1].load(weights).module, Flow(settings.model.transformer)
    own = {k.removeprefix("model."): v for k, v in state("turbo").items() if k.startswith("model.")}
    loading.load_strictly(whole, own, "set")
    x, cond, guidance = torch.randn(1, 10, 6), torch.randn(1, 17, 20), torch.tensor([settings.guidance_scale])
    with torch.no_grad():
        for t in settings.times:
            time = torch.tensor([t])
            expected = whole(x, time, cond, guidance)
            torch.testing.assert_close(tabulated(x, time, cond), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32_and_nothing_is_unread(dtype: torch.dtype, weights: Path) -> None:
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**KNOBS), False)
    generator = torch.Generator().manual_seed(0)
    for one in hunyuan3d_2.components(settings):
        inputs = {k: torch.randn(v.shape, generator=generator) for k, v in one.load(weights, "shapes").inputs.items()}
        component = one.load(weights).with_inputs(inputs | ({"t": torch.tensor([1 / 3])} if "t" in inputs else {}))
        expected = component.run()
        exported = export_module(component.module, tuple(component.inputs.values()), one.name)
        assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]
        component.module.set_block_dtype(dtype)
        for key, value in component.run().items():
            assert value.dtype == torch.float32
            assert 0 < torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key]) < 4e-2


def test_times() -> None:
    flow = schedule(Scheduler(), 5, 3.0, False)
    assert flow.times == pytest.approx([1, 0.75, 0.5, 0.25, 0]) and flow.weights == (3.0,) * 4
    shifted = schedule(Scheduler(shift=3.0), 3, 3.0, False)
    assert 1 - shifted.times[1] == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))
    assert len(taught(100)) == 100 and taught(100)[1] == pytest.approx(9 / 999)
    turbo = schedule(Scheduler(kind="consistency", pcm_timesteps=100), 5, 5.0, True)
    assert turbo.weights == (1.0,) * 5 and turbo.times[-1] == 0 and turbo.moves[0] == pytest.approx(-199 / 999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("vae.post_kl.bias", None), "missing vae.post_kl.bias"),
        (("model.cond_in.weight", torch.ones(3)), r"model.cond_in.weight has shape \[3\], needs \[32, 20\]"),
        (("texture.weight", torch.ones(3)), "unexpected texture.weight"),
        (("vae.post_kl.bias", torch.full((32,), torch.nan)), "NaN"),
    ],
)
def test_other_tensors_are_refused(weights: Path, change: tuple[str, Tensor | None], message: str) -> None:
    name, value = change
    tensors = {k: v for k, v in state("plain").items() if k != name}
    save_file(tensors | ({} if value is None else {name: value}), weights / FILE)
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**KNOBS), False)
    for name in ("flow", "query"):  # whichever comes first, the whole file is looked at
        with pytest.raises(UsageError, match=message):
            loading.load_component(name, settings, weights / "model.fp16", "stored", AS_STORED)


def test_a_prefix_is_named_and_taken_off(weights: Path) -> None:
    save_file({f"module.{name}": value for name, value in state("plain").items()}, weights / FILE)
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**KNOBS), False)
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        loading.load_component("flow", settings, weights / "model.fp16", "stored", AS_STORED)
    loading.load_component("flow", settings, weights / "model.fp16", "stored", Reading(strip_prefix="module."))


def _changed(part: str, field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config[part]["params"].update({field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_changed("model", "hidden_size", 33), "hidden_size=33 is no multiple of 2"),
        (_changed("model", "in_channels", 7), "must be equal, and are 7 and 6"),
        (_changed("model", "context_in_dim", 24), "must be equal, and are 24 and 20"),
        (_changed("model", "guidance_embed", True), "go together"),
        (_changed("vae", "geo_decoder_downsample_ratio", 3), "heads=4 is no multiple of 3"),
        (_changed("scheduler", "shift", 0), "shift"),
        (lambda config: config.pop("vae"), "vae: missing"),
        (lambda config: config["scheduler"].update(target="a.DPMSolver"), "scheduler.target: names 'DPMSolver'"),
    ],
)
def test_bad_configurations(change: Callable[[dict[str, Any]], None], message: str, weights: Path) -> None:
    config = configuration("plain")
    change(config)
    (weights / "config.yaml").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=message):
        read_model(weights)


def test_more_steps_than_were_taught(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path, "turbo")
    with pytest.raises(UsageError, match="steps=101, and the model was taught 100 times"):
        hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(steps=101), False)


def test_the_subject_fills_its_share_of_a_white_square() -> None:
    image = np.zeros((100, 60, 4), np.uint8)
    image[10:31, 20:31] = (200, 100, 50, 255)
    square = np.asarray(picture.centred(picture.Image.fromarray(image)))
    rows, columns = np.nonzero((square != 255).any(-1))
    assert square.shape == (100, 100, 3) and square[50, 50].tolist() == [200, 100, 50]
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (85, 42)  # 20 and 10 pixels, 4.25 times
    with pytest.raises(UsageError, match="nothing in it is opaque"):
        picture.centred(picture.Image.fromarray(image * np.uint8(0)))
    image[11:31] = 0
    with pytest.raises(UsageError, match="one pixel high or wide"):
        picture.centred(picture.Image.fromarray(image))


@pytest.mark.parametrize(
    ("request_", "message"), [(Request(), "image: missing"), (Request("a chair"), "prompt: this model makes")]
)
def test_bad_requests(request_: Request, message: str, weights: Path) -> None:
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(), False)
    with pytest.raises(UsageError, match=message):
        hunyuan3d_2.begin(settings, request_, weights, np)
