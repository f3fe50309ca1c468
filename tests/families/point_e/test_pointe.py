"""Point-E's networks: golden parity, other sizes, the released layouts told apart, CLIP's halves, precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pointe_reference import seeded, write_set
from pointe_tiny import GOLDEN, KNOBS, checkpoint, library
from safetensors.torch import load_file, save_file

from gen3dexport.errors import UsageError
from gen3dexport.models import point_e
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.point_e.host.model import parse_network, read_model
from gen3dexport.models.point_e.networks import loading
from gen3dexport.models.point_e.networks.layouts import RELEASED, kind_of, read_released, released, released_name
from gen3dexport.networks.clip_vectors import ClipImageGrid, ClipTextVector
from gen3dexport.validation.parity import compare

STEPS = {"eps_var", "t_embed", "ln_pre", "block0_attn", "block0"}
OUTPUTS = {
    "base_uncond": STEPS | {"timestep_embedding"},
    "base_vec": STEPS,
    "base_grid": STEPS,
    "upsample": STEPS,
    "sdf": {"sdf", "latents"},
    "sampler": {"sample", "x_progress", "pred_progress", "sigmas", "t_of_sigma", "alphas_cumprod"},
}
WEIGHTS = Path(__file__).parents[3] / "weights"
KEYS: dict[str, Any] = json.loads(Path(__file__).with_name("released_keys.json").read_text())
FOLDERS = {
    "base40M": ("base40M", "base"),
    "base40M-imagevec": ("base40M-imagevec", "base"),
    "base40M-textvec": ("base40M-textvec", "base"),
    "base40M-uncond": ("base40M-uncond", "base"),
    "base300M": ("base300M", "base"),
    "base1B": ("base1B", "base"),
    "upsample": ("base40M", "upsampler"),
    "sdf": ("base40M", "sdf"),
}
"""A released network -> the shipped folder whose configuration has it, and where."""


def test_every_golden_set_is_looked_at() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {*OUTPUTS}
    assert {*KEYS} == {*FOLDERS}


@pytest.mark.parametrize("name", OUTPUTS)
def test_golden_parity(name: str) -> None:
    result = compare("point-e", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def _sized(name: str, **changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((GOLDEN / name / "config.json").read_text())
    return {**config, **changes}


OTHERS = [
    ("base_uncond", {"width": 18, "heads": 3, "layers": 3, "n_ctx": 7}, 1),
    ("base_vec", {"width": 20, "heads": 2, "layers": 1, "n_ctx": 5, "clip_feature_dim": 6}, 3),
    ("base_grid", {"width": 24, "heads": 6, "n_ctx": 9, "clip_grid_feature_dim": 10, "clip_grid_size": 4}, 1),
    ("upsample", {"width": 16, "heads": 1, "n_ctx": 11, "cond_ctx": 3, "clip_grid_size": 1}, 2),
    ("sdf", {"width": 12, "encoder_heads": 3, "decoder_heads": 2, "encoder_layers": 1, "decoder_layers": 3}, 3),
    ("sdf", {"width": 30, "encoder_heads": 5, "decoder_heads": 3, "n_ctx": 9}, 1),
]


@pytest.mark.parametrize(("name", "changes", "batch"), OTHERS)
def test_sets_of_other_sizes_and_seeds(name: str, changes: dict[str, Any], batch: int, tmp_path: Path) -> None:
    """Made by the equations in NumPy, head by head."""
    folder = write_set(tmp_path, name, _sized(name, **changes), batch, seed=sum(map(ord, name)) + batch)
    result = compare("point-e", folder, None, "fp32", None)
    assert result["passed"], result


def test_a_set_with_a_changed_output_fails(tmp_path: Path) -> None:
    for path in (GOLDEN / "base_vec").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    tensors["out.eps_var"][0, 3, 5] += 1e-3
    save_file(tensors, tmp_path / "io.safetensors")
    assert not compare("point-e", tmp_path, None, "fp32", None)["passed"]


@pytest.mark.parametrize("name", FOLDERS)
def test_released_keys(name: str) -> None:
    """Every tensor of a released file, and no other, at the shipped configuration."""
    folder, part = FOLDERS[name]
    with torch.device("meta"):
        state = released(getattr(read_model(WEIGHTS / f"Point-E-{folder}"), part)).state_dict()
    named = {released_name(key): value for key, value in state.items()}
    assert {key: list(value.shape) for key, value in named.items()} == KEYS[name]["keys"]
    assert sum(value.numel() for value in state.values()) == KEYS[name]["elements"]
    kind = kind_of(named)
    assert (kind in RELEASED and RELEASED[kind].startswith(name)) or name == "base40M-textvec"


def test_the_released_size_is_planned_from_shapes() -> None:
    folder = WEIGHTS / "Point-E-base40M"
    settings = point_e.read_settings(folder, point_e.Knobs(mesh=True), True)
    made = {one.name: one.load(folder, "shapes") for one in point_e.components(settings)}
    assert {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()} == {
        "image_encoder": {"image": (1, 3, 224, 224)},
        "base": {"x": (2, 6, 1024), "t": (2,), "cond": (2, 1024, 256)},
        "upsampler": {"x": (2, 6, 3072), "t": (2,), "cond": (2, 1024, 256), "low_res": (2, 6, 1024)},
        "sdf_encoder": {"cloud": (1, 4096, 3)},
        "sdf_query": {"context": (1, 8, 4, 4096, 64), "points": (1, 4096, 3)},
    }
    assert made["base"].parameters == KEYS["base40M"]["elements"]
    assert made["upsampler"].parameters == KEYS["upsample"]["elements"] - 12  # buffers
    assert made["sdf_encoder"].parameters + made["sdf_query"].parameters == KEYS["sdf"]["elements"]


SIZES = {"base_uncond": "none", "base_vec": "vector", "base_grid": "grid", "upsample": "upsampler", "sdf": "sdf"}


@pytest.mark.parametrize("given", SIZES)
@pytest.mark.parametrize("asked", SIZES)
def test_a_wrong_file_is_named(given: str, asked: str) -> None:
    state = load_file(GOLDEN / given / "weights.safetensors")
    network = parse_network(_sized(asked), "set", whole=False)
    if given == asked:
        assert kind_of(state) == (SIZES[given], *((32, 4) if given == "sdf" else (48, 2)))
        read_released(network, state, "w")
        return
    with pytest.raises(UsageError, match=r"w: is .*, and the configuration is of .*; take the config.json"):
        read_released(network, state, "w")


@pytest.mark.parametrize(
    ("asked", "file", "told"),
    [
        ("base40M", "base300M", "is base300M, and the configuration is of base40M;"),
        ("base1B", "base40M", "is base40M, and the configuration is of base1B;"),
        (
            "base40M",
            "base40M-imagevec",
            "is base40M-imagevec or base40M-textvec .*, and the configuration is of base40M",
        ),
        ("base40M-textvec", "base40M-uncond", "is base40M-uncond, and"),
        ("upsample", "base40M", "is base40M, and the configuration is of upsample"),
        ("base40M", "sdf", "is sdf, and the configuration is of base40M"),
    ],
)
def test_released_files_are_told_apart_by_name(asked: str, file: str, told: str) -> None:
    folder, part = FOLDERS[asked]
    network = getattr(read_model(WEIGHTS / f"Point-E-{folder}"), part)
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in KEYS[file]["keys"].items()}
    with pytest.raises(UsageError, match=told):
        read_released(network, state, "w")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("pointe"))


@pytest.fixture(scope="module")
def settings(weights: Path) -> point_e.Settings:
    return point_e.read_settings(weights, point_e.Knobs(**KNOBS), False)


@pytest.mark.parametrize(
    ("file", "component", "change", "message"),
    [
        ("base_grid", "base", ("output_proj.bias", None), "missing output_proj.bias"),
        ("base_grid", "base", ("ln_pre.weight", torch.ones(3)), r"ln_pre.weight has shape \[3\], needs \[48\]"),
        (
            "base_grid",
            "base",
            ("backbone.resblocks.1.mlp.c_fc.bias", None),
            "missing backbone.resblocks.1.mlp.c_fc.bias",
        ),
        ("base_grid", "base", ("backbone.resblocks.2.ln_1.bias", torch.ones(48)), "is 3 blocks of width 48"),
        ("base_grid", "base", ("clip.model.proj", torch.ones(4)), "tensors of CLIP, first clip.model.proj"),
        ("upsample", "upsampler", ("channel_scales", torch.full((6,), 3.0)), "channel_scales is .*3.0.*config"),
        ("upsample", "upsampler", ("channel_biases", None), "missing channel_biases"),
        ("sdf", "sdf_query", ("ln_post.bias", torch.full((32,), torch.nan)), "NaN"),
        ("sdf", "sdf_encoder", ("extra", torch.ones(1)), "unexpected extra"),
    ],
)
def test_other_tensors_are_refused(
    settings: point_e.Settings, tmp_path: Path, file: str, component: str, change: tuple[str, Any], message: str
) -> None:
    name, value = change
    state = {k: v for k, v in load_file(GOLDEN / file / "weights.safetensors").items() if k != name}
    save_file(state | ({} if value is None else {name: value}), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=message):
        loading.load_component(component, settings, tmp_path / "w", "stored", AS_STORED)


def test_a_pickle_is_read_where_it_is_allowed(settings: point_e.Settings, tmp_path: Path) -> None:
    state = load_file(GOLDEN / "base_grid" / "weights.safetensors")
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match="--allow-pickle"):
        loading.load_component("base", settings, tmp_path / "w", "stored", AS_STORED)
    made = loading.load_component("base", settings, tmp_path / "w", "stored", Reading(allow_pickle=True))
    found = made.module.state_dict()["blocks.0.attn.c_qkv.weight"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, state["backbone.resblocks.0.attn.c_qkv.weight"].half().float())


def test_a_prefix_is_named_and_taken_off(settings: point_e.Settings, tmp_path: Path) -> None:
    state = load_file(GOLDEN / "base_grid" / "weights.safetensors")
    save_file({f"module.{name}": value for name, value in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        loading.load_component("base", settings, tmp_path / "w", "stored", AS_STORED)
    loading.load_component("base", settings, tmp_path / "w", "stored", Reading(strip_prefix="module."))


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_clip_is_the_library_s(kind: str) -> None:
    model = library(kind)
    with torch.no_grad():
        if kind == "text":
            ids = torch.tensor([[0, 3, 5, 10, 10, 10, 10, 10, 10, 10, 10]])  # 10 is the highest id: the end mark
            end = torch.zeros(1, 11)
            end[0, 3] = 1
            expected = model(input_ids=ids).text_embeds if _ends_at(model, ids) == 3 else None
            found = ClipTextVector(model)(ids, end)
            hidden = model.text_model(input_ids=ids).last_hidden_state[:, 3]
            projected = model.text_projection(hidden)
            torch.testing.assert_close(found, projected / projected.norm(), rtol=1e-5, atol=1e-6)
            assert expected is None or torch.allclose(found, expected / expected.norm(), atol=1e-5)
            ids[0, 5:] = 4  # what stands after the end mark changes nothing
            torch.testing.assert_close(ClipTextVector(library(kind))(ids, end), found)
        else:
            image = torch.randn(2, 3, 42, 42)
            whole, tokens = model(pixel_values=image), model.vision_model(pixel_values=image).last_hidden_state
            grid, vector = ClipImageGrid(model, True)(image)
            torch.testing.assert_close(grid, tokens[:, 1:].transpose(1, 2), rtol=1e-4, atol=1e-5)
            expected = whole.image_embeds / whole.image_embeds.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-5)


def _ends_at(model: Any, ids: torch.Tensor) -> int:
    """Where the library looks for the end of a prompt."""
    eos = model.config.eos_token_id
    return int((ids[0] == eos).int().argmax()) if eos != 2 else int(ids[0].argmax())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["image_encoder", "base", "upsampler", "sdf_encoder", "sdf_query"])
def test_half_precision_stays_near_float32(
    name: str, dtype: torch.dtype, weights: Path, settings: point_e.Settings
) -> None:
    (one,) = [one for one in point_e.components(settings) if one.name == name]
    generator = torch.Generator().manual_seed(0)
    inputs = {k: torch.randn(v.shape, generator=generator) for k, v in one.load(weights, "shapes").inputs.items()}
    component = one.load(weights).with_inputs(inputs)
    expected = component.run()
    component.module.set_block_dtype(dtype)
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        error = float((value - expected[key]).norm() / expected[key].norm())
        assert 1e-5 < error < (0.01 if dtype == torch.float16 else 0.06), error


def test_random_sets_are_not_vacuous() -> None:
    state = seeded(_sized("upsample"), 1)
    assert all(float(value.std()) > 0.05 for name, value in state.items() if not name.startswith("channel_"))
    assert np.isclose(state["channel_scales"][3], 0.007843137255)
