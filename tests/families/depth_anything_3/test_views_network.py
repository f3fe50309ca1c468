"""Depth Anything 3's networks: golden parity, released keys, other variants, views, precision, export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from views_tiny import GOLDEN, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.export import export_module
from gen3dexport.models import depth_anything_3 as family
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.depth_anything_3.host.model import read_model
from gen3dexport.models.depth_anything_3.networks.loading import load_component, network, read_released
from gen3dexport.models.depth_anything_3.networks.network import Form, Released
from gen3dexport.models.depth_anything_3.networks.reference import chosen, to_front, to_input
from gen3dexport.quantization.quantize import linears
from gen3dexport.validation.parity import compare

WEIGHTS = Path(__file__).parents[3] / "weights"
MAPS = ("depth", "depth_conf", "ray", "ray_conf", "pose_enc", "extrinsics", "intrinsics")
STEPS = {"patches", "camera_token", *(f"block_{k}" for k in range(6)), *(f"feat_{k}" for k in range(4))}
BOUNDS = [f"{bound}_bound_{ending}" for bound in ("upper", "lower") for ending in ("resize", "crop")]
OUTPUTS = {
    "anyview": {
        *(f"{tag}.{name}" for tag in ("single", "native", "two", "four", "posed") for name in MAPS),
        *(f"{tag}.{name}" for tag in ("single", "four") for name in STEPS),
        *("four.reference_view", "posed.cam_enc"),
    },
    "mono": {
        *(f"{tag}.{name}" for tag in ("wide", "native") for name in ("depth", "sky", "depth_final")),
        *(f"wide.{name}" for name in STEPS - {"camera_token"}),
    },
    "nested_host": {"metric_depth_scaled", "depth_aligned", "depth", "depth_conf", "extrinsics", "scale_factor"},
    "preprocess": {f"{t}.{b}{end}" for t in ("large", "small") for b in BOUNDS for end in ("", ".intrinsics")},
    "reference_view": {"first", "middle", "saddle_balanced", "saddle_sim_range", "reordered"},
}
# Of the published files: tensors, their elements, and the digest of their names and shapes.
RELEASED = {
    "Base": (437, 135_366_599, "57876056ddee3563b02106ca6b4678dd37187b63e04a31a35dd3017694d6ac4b"),
    "Large": (637, 410_941_767, "04c38d4934c26994ca28f732b36f6e969c3dbdc068adf4f62358eeb9b4877e68"),
    "Metric-Large": (406, 334_171_394, "ff134d4af02f712287b0808be614f853f43ed6c68a4614ec8c702f5886c50a3b"),
    "Mono-Large": (406, 334_171_394, "ff134d4af02f712287b0808be614f853f43ed6c68a4614ec8c702f5886c50a3b"),
    "Small": (437, 34_299_463, "057a94119d61d4aa6f3a67ea27f6869343b06e320381656f5d2daa06f55c2853"),
}


def _settings(folder: Path, **knobs: object) -> family.Settings:
    return family.read_settings(folder, family.Knobs(**knobs), False)


def _load(folder: Path, reading: Reading = AS_STORED, **knobs: object) -> torch.nn.Module:
    return load_component(_settings(folder, **knobs), folder / "model", "stored", reading).module


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("views"))


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("depth-anything-3", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


@pytest.mark.parametrize("changed", ["cam_dec.fc_t.bias", "head.scratch.output_conv2_aux.0.2.bias"])
def test_a_wrong_weight_fails_parity(changed: str, tmp_path: Path) -> None:
    for path in (GOLDEN / "anyview").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state[f"model.{changed}"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("depth_anything_3", tmp_path, None, "fp32", None)["passed"]


def test_sets_with_other_names_and_fewer_outputs(tmp_path: Path) -> None:
    for path in (GOLDEN / "anyview").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    kept = ("in.two.image", "out.two.depth", "out.two.extrinsics")
    save_file({key.replace("two", "pair"): tensors[key] for key in kept}, tmp_path / "io.safetensors")
    result = compare("depth_anything_3", tmp_path, None, "fp32", None)
    assert result["passed"] and {row["output"] for row in result["outputs"]} == {"pair.depth", "pair.extrinsics"}
    save_file({"out.two.depth": tensors["out.two.depth"]}, tmp_path / "io.safetensors")
    with pytest.raises(UsageError, match=r"has no 'in\.TAG\.image'"):
        compare("depth_anything_3", tmp_path, None, "fp32", None)


@pytest.mark.parametrize("variant", sorted(RELEASED))
def test_released_keys(variant: str) -> None:
    """Every tensor of the published files, and no other, at the shipped configurations."""
    with torch.device("meta"):
        state = Released(read_model(WEIGHTS / f"DA3-{variant}")).state_dict()
    lines = sorted(f"{name} {list(value.shape)}" for name, value in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(state), sum(v.numel() for v in state.values()), digest) == RELEASED[variant]


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
TOKEN = "model.backbone.pretrained.cls_token"


def _prefixed(prefix: str) -> Change:
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


OTHERS: dict[str, tuple[Change, str]] = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "model.head.norm.bias"}, "missing model.head.norm.bias"),
    "unexpected": (lambda s: {**s, "model.head.other": torch.zeros(1)}, "unexpected model.head.other"),
    "shared norm stored again": (
        lambda s: {**s, "model.head.scratch.output_conv2_aux.1.2.bias": torch.zeros(32)},
        "unexpected model.head.scratch.output_conv2_aux.1.2.bias",
    ),
    "shape": (lambda s: {**s, "model.cam_dec.fc_t.bias": torch.zeros(2)}, r"has shape \[2\], needs \[3\]"),
    "not finite": (lambda s: {**s, "model.cam_dec.fc_t.bias": torch.full((3,), torch.nan)}, "NaN"),
    "base": (lambda s: {**s, TOKEN: torch.zeros(1, 1, 768)}, "a checkpoint of variant base, .* is of 32 wide"),
    "giant": (lambda s: {**s, TOKEN: torch.zeros(1, 1, 1536)}, "a checkpoint of the giant model"),
    "swiglu": (lambda s: {**s, "model.backbone.pretrained.blocks.0.mlp.w12.bias": torch.zeros(1)}, "the giant model"),
    "nested": (lambda s: {k.replace("model.", "model.da3.", 1): v for k, v in s.items()}, "a nested checkpoint"),
    "training": (lambda s: {f"module.net.{k}": v for k, v in s.items()}, "has the names of training"),
    "version 2": (lambda s: {"depth_head.projects.0.bias": torch.zeros(1)}, "a checkpoint of Depth Anything V2"),
    "mono": (
        lambda s: load_file(GOLDEN / "mono" / "weights.safetensors"),
        "a checkpoint of a model of one view .*, and the configuration is of the model of several views",
    ),
    "module.": (_prefixed("module."), r"`strip_prefix: module\.`"),
    "_orig_mod.": (_prefixed("_orig_mod."), r"`strip_prefix: _orig_mod\.`"),
    "both": (_prefixed("module._orig_mod."), r"`strip_prefix: module\._orig_mod\.`"),
    "another model": (lambda s: {"encoder.weight": torch.zeros(1)}, "unexpected encoder.weight|missing model"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused(case: str, weights: Path, tmp_path: Path) -> None:
    change, message = OTHERS[case]
    folder = checkpoint(tmp_path / "other")
    save_file(change(load_file(weights / "model.safetensors")), folder / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        _load(folder)


def test_a_file_of_several_views_is_none_of_one(weights: Path, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mono", "mono")
    (folder / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    with pytest.raises(UsageError, match="a checkpoint of the model of several views, and the configuration is of a"):
        _load(folder)


def test_a_prefix_is_taken_off(weights: Path, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "prefixed")
    save_file(_prefixed("module.")(load_file(weights / "model.safetensors")), folder / "model.safetensors")
    _load(folder, Reading(strip_prefix="module."))


@pytest.mark.parametrize("views", [3, 5])
def test_views_go_to_the_front_and_back(views: int) -> None:
    x = torch.randn(views, views, 4, 2)
    place = torch.arange(views, dtype=torch.float32)
    moved = to_front(x, place)
    for b in range(views):
        order = [b, *(k for k in range(views) if k != b)]
        assert torch.equal(moved[b], x[b, order])
    assert torch.equal(to_input(moved, place), x)


def test_the_first_of_equal_views_is_chosen() -> None:
    tokens = torch.randn(1, 1, 8).expand(2, 4, 8)
    for by in ("saddle_balanced", "saddle_sim_range"):
        assert chosen(tokens, by).tolist() == [0, 0]
    assert chosen(tokens, "middle").tolist() == [2, 2]


def test_the_choice_of_the_reference_is_a_knob(weights: Path) -> None:
    image = torch.randn(1, 3, 3, 42, 42, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        made = {by: _load(weights, size=42, views=3, reference=by)(image)[0] for by in ("first", "middle")}
        turned = _load(weights, size=42, views=3, reference="first")(image[:, [1, 0, 2]])[0]
    assert (made["first"] - made["middle"]).abs().max() > 1e-3
    torch.testing.assert_close(turned[:, [1, 0, 2]], made["middle"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["anyview", "mono"])
def test_matrices_are_the_same_upsampling(kind: str, tmp_path: Path) -> None:
    folder, image = checkpoint(tmp_path, kind), torch.randn(1, 1, 3, 42, 98, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (_load(folder, size=[42, 98], upsampling=mode)(image) for mode in ("resize", "matrices"))
    for found, expected in zip(one, other, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32(weights: Path, dtype: torch.dtype) -> None:
    made = _load(weights, size=70, views=3)
    image = torch.randn(1, 3, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = made(image)
        made.set_block_dtype(dtype)
        found = made(image)
    assert made.block_dtype == dtype and all(one.dtype == torch.float32 for one in found)
    for one, other in zip(found, expected, strict=True):
        assert 0 < torch.linalg.norm(one - other) / torch.linalg.norm(other) < 3e-2


@pytest.mark.parametrize(("kind", "views"), [("anyview", 1), ("anyview", 4), ("mono", 1)])
def test_the_network_exports_with_nothing_unused(kind: str, views: int, tmp_path: Path) -> None:
    (one,) = family.components(_settings(checkpoint(tmp_path, kind), size=42, views=views))
    exported = export_module(one.load(tmp_path).module, (torch.zeros(1, views, 3, 42, 42),), one.name)
    assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]


def test_two_sizes_of_one_file_do_not_disturb_each_other(weights: Path) -> None:
    model = _settings(weights).model
    released = read_released(model, load_file(weights / "model.safetensors"), "here")
    image = torch.randn(1, 1, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = network(released, model, Form((42, 42)))
        expected = first(image)
        network(released, model, Form((70, 42), views=2))
        assert all(torch.equal(one, other) for one, other in zip(first(image), expected, strict=True))


def test_integer_schemes_take_the_layers_that_read_tokens() -> None:
    folder = WEIGHTS / "DA3-Small"
    settings = family.read_settings(folder, family.Knobs(), True)
    component = load_component(settings, folder / "model", "shapes", AS_STORED)
    found = {".".join(p for p in name.split(".") if not p.isdigit()) for name in linears(component)}
    blocks = {f"encoder.blocks.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    heads = {"head.decoder.projects", "head.decoder.resizes.linear", "head.decoder.laterals.linear"}
    assert found == blocks | heads  # the cameras' own layers are small, and stay in float32
    assert json.loads(settings.model_dump_json())["views"] == 1
