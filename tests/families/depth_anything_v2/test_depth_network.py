"""Depth Anything V2's network: golden parity, both layouts, other variants, position tables, precision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from depth_tiny import GOLDEN, checkpoint, configured
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.export import export_module
from gen3dexport.models import depth_anything_v2 as family
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.depth_anything_v2.host.model import read_model
from gen3dexport.models.depth_anything_v2.host.settings import Settings
from gen3dexport.models.depth_anything_v2.networks.golden_sets import read_golden
from gen3dexport.models.depth_anything_v2.networks.layouts import in_layout
from gen3dexport.models.depth_anything_v2.networks.loading import load_component
from gen3dexport.models.depth_anything_v2.networks.network import Released
from gen3dexport.networks.dinov2 import resampled
from gen3dexport.networks.dpt import interpolation
from gen3dexport.quantization.quantize import linears
from gen3dexport.validation.parity import compare

WEIGHTS = Path(__file__).parents[3] / "weights"
STEPS = {f"{name}_{k}" for name in ("tokens", "reassemble", "fused") for k in range(4)} | {"logit"}
OUTPUTS = {
    "metric": {
        *(f"{size}.{name}" for size in ("tall", "wide") for name in ("depth", "depth_orig", "pos", "pos_orig")),
        *(f"wide.{name}" for name in STEPS),
    },
    "preprocess": {f"{size}.{rules}" for size in ("large", "small") for rules in ("original", "hf")},
    "relative": {
        *(f"{size}.{name}" for size in ("native", "wide") for name in ("depth", "depth_orig", "pos", "pos_orig")),
        *(f"{s}.{n} (weights_pth.safetensors)" for s in ("native", "wide") for n in ("depth", "depth_orig")),
        *(f"wide.{name}" for name in STEPS),
    },
}
# Of the published files: tensors, their elements, and the digest of their names and shapes.
RELEASED = {
    ("hf", "Small"): (287, 24_785_089, "b0c6160bcc4b3ba8fc8ef39d52a02b5ecc46f9d5d659fa7d35e9b01aceca0034"),
    ("hf", "Base"): (287, 97_470_785, "651d5d2ed52816306af17ed94e0ff804d1cb93674662571af0c0d8c6cf652558"),
    ("hf", "Large"): (503, 335_315_649, "3fd5194fbda9e3ed768478b63fcc0449a4bd884932b466d862169a8fb9c564c8"),
    ("original", "Small"): (239, 24_785_089, "d23c856bcc891ad70def9f427bffcc2939cfe2a7bbeccd39c9107329e129a60e"),
    ("original", "Base"): (239, 97_470_785, "d1c1b5f27ca6324cd1e38d287b979ccbc80eb84304a0bbb0003a615e04e5ebf4"),
    ("original", "Large"): (407, 335_315_649, "879a82fe9a45723a1b865f877176046a7c98d7f600e87f29479de7b01e548dee"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("depth"))


def _settings(folder: Path, **knobs: object) -> Settings:
    return family.read_settings(folder, family.Knobs(**knobs), False)


def _load(folder: Path, reading: Reading = AS_STORED, **knobs: object) -> torch.nn.Module:
    settings = _settings(folder, **knobs)
    return load_component(settings, folder / settings.checkpoint, "stored", reading).module


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("depth-anything-v2", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_a_set_in_the_original_layout_alone_is_read(tmp_path: Path) -> None:
    for path in (GOLDEN / "relative").iterdir():
        if path.name != "weights.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert compare("depth_anything_v2", tmp_path, None, "fp32", None)["passed"]
    (tmp_path / "weights_pth.safetensors").unlink()
    with pytest.raises(UsageError, match=r"neither weights\.safetensors nor weights_pth\.safetensors"):
        read_golden(tmp_path)


def test_a_wrong_weight_fails_parity(tmp_path: Path) -> None:
    for path in (GOLDEN / "metric").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state["neck.fusion_stage.layers.2.projection.bias"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    result = compare("depth_anything_v2", tmp_path, None, "fp32", None)
    assert not result["passed"]


@pytest.mark.parametrize("variant", ["Small", "Base", "Large"])
@pytest.mark.parametrize("layout", ["hf", "original"])
def test_released_keys(variant: str, layout: str) -> None:
    """Every tensor of the published files, and no other, at the shipped configurations."""
    with torch.device("meta"):
        state = in_layout(layout, Released(read_model(WEIGHTS / f"Depth-Anything-V2-{variant}")).state_dict())
    lines = sorted(f"{name} {list(value.shape)}" for name, value in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(state), sum(v.numel() for v in state.values()), digest) == RELEASED[layout, variant]


@pytest.mark.parametrize("kind", ["", "Metric-Indoor-", "Metric-Outdoor-"])
@pytest.mark.parametrize("variant", ["Small", "Base", "Large"])
def test_released_sizes_are_planned_from_shapes(variant: str, kind: str) -> None:
    folder = WEIGHTS / f"Depth-Anything-V2-{kind}{variant}"
    settings = family.read_settings(folder, family.Knobs(size=(518, 686)), True)
    assert settings.model.max_depth == {"": None, "Metric-Indoor-": 20, "Metric-Outdoor-": 80}[kind]
    (one,) = family.components(settings)
    made = one.load(folder, "shapes")
    assert {k: tuple(v.shape) for k, v in made.inputs.items()} == {"image": (1, 3, 518, 686)}
    # 37 x 49 positions for 37 x 37; without mask_token, the class token's own position, the unit that nothing reads and
    # the two factors of every block.
    width, fused = settings.model.hidden_size, settings.model.fusion_hidden_size
    unused = 2 * width + 2 * (9 * fused**2 + fused) + 2 * settings.model.num_hidden_layers * width
    assert made.parameters == RELEASED["hf", variant][1] - unused + 37 * 12 * width


def test_both_layouts_make_the_same_network(weights: Path, tmp_path: Path) -> None:
    other = checkpoint(tmp_path / "pth", layout="original")
    assert (_settings(weights).rules, _settings(other).rules) == ("hf", "original")
    assert _settings(other).checkpoint == "depth_anything_v2_vits"
    states = [_load(folder, rules="hf").state_dict() for folder in (weights, other)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_later_names_are_read(weights: Path, tmp_path: Path) -> None:
    later = {"attention.query": "q_proj", "attention.key": "k_proj", "attention.value": "v_proj"}
    state = {}
    for name, value in load_file(weights / "model.safetensors").items():
        for old, new in {**later, "output.dense": "o_proj"}.items():
            name = name.replace(f".attention.{old}.", f".attention.{new}.")
        state[name] = value
    assert "backbone.encoder.layer.1.attention.q_proj.weight" in state
    folder = checkpoint(tmp_path / "later")
    save_file(state, folder / "model.safetensors")
    expected, found = _load(weights).state_dict(), _load(folder).state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_released_pickle_is_read_on_demand(weights: Path, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "pth", layout="original")
    state = load_file(folder / "depth_anything_v2_vits.safetensors")
    (folder / "depth_anything_v2_vits.safetensors").unlink()
    torch.save(state, folder / "depth_anything_v2_vits.pth")
    with pytest.raises(UsageError, match=r"vits\.pth: a pickle can run code"):
        _load(folder)
    found = _load(folder, Reading(allow_pickle=True), rules="hf").state_dict()
    assert all(torch.equal(value, found[name]) for name, value in _load(weights).state_dict().items())


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def _without(name: str) -> Change:
    return lambda state: {k: v for k, v in state.items() if k != name}


def _wide(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "backbone.embeddings.cls_token": torch.zeros(1, 1, 768)}


def _third(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"model.backbone.pretrained.cls_token": torch.zeros(1, 1, 48), "model.head.projects.0.bias": torch.zeros(3)}


OTHERS: dict[str, tuple[Change, str]] = {
    "missing": (_without("neck.convs.2.weight"), "does not fit the network .*: missing neck.convs.2.weight"),
    "missing query": (
        _without("backbone.encoder.layer.0.attention.attention.query.bias"),
        "missing backbone.encoder.layer.0.attention.attention.query.bias",
    ),
    "unexpected": (lambda s: {**s, "head.conv4.bias": torch.zeros(1)}, "unexpected head.conv4.bias"),
    "shape": (lambda s: {**s, "head.conv3.bias": torch.zeros(2)}, r"head.conv3.bias has shape \[2\], needs \[1\]"),
    "not finite": (lambda s: {**s, "head.conv3.bias": torch.full((1,), torch.nan)}, "NaN"),
    "variant": (_wide, "a checkpoint of variant base, and the configuration is of 48 wide"),
    "version 3": (_third, "a checkpoint of Depth Anything 3"),
    "another model": (lambda s: {"encoder.weight": torch.zeros(1)}, "its tensors are encoder.weight"),
    "module.": (lambda s: {f"module.{k}": v for k, v in s.items()}, r"`strip_prefix: module\.`"),
    "_orig_mod.": (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, r"`strip_prefix: _orig_mod\.`"),
    "both": (lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()}, r"`strip_prefix: module\._orig_mod\.`"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused(case: str, weights: Path, tmp_path: Path) -> None:
    change, message = OTHERS[case]
    folder = checkpoint(tmp_path / "other")
    save_file(change(load_file(weights / "model.safetensors")), folder / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        _load(folder)


@pytest.mark.parametrize("layout", ["hf", "original"])
def test_a_prefix_is_named_and_taken_off(layout: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "prefixed", layout=layout)
    path = folder / f"{_settings(folder).checkpoint}.safetensors"
    save_file({f"module.{name}": value for name, value in load_file(path).items()}, path)
    assert _settings(folder).rules == layout
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        _load(folder)
    _load(folder, Reading(strip_prefix="module."))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("depth_anything_vits14", {}, "a file of Depth Anything V1"),
        ("depth_anything_v2_metric_hypersim_vits", {}, "a file of a metric model, and .*config.json is of a relative"),
        ("depth_anything_v2_vits", {"depth_estimation_type": "metric", "max_depth": 20}, "a file of a relative model"),
        (
            "depth_anything_v2_metric_vkitti_vits",
            {"depth_estimation_type": "metric", "max_depth": 20},
            "vkitti models end at 80 m, and .*config.json says 20 m",
        ),
    ],
)
def test_names_of_original_files_tell_variants_apart(name: str, fields: dict, message: str, tmp_path: Path) -> None:
    """Their tensors have the same names and shapes."""
    folder = configured(checkpoint(tmp_path / "a", layout="original"), **fields)
    (folder / "depth_anything_v2_vits.safetensors").rename(folder / f"{name}.safetensors")
    with pytest.raises(UsageError, match=message):
        _settings(folder)


def _cubic(count: int, step: float, stored: int) -> np.ndarray:
    """Weights [count, stored] of bicubic resampling (A = -0.75) at (i + 0.5) * step - 0.5, ends repeated."""
    made = np.zeros((count, stored))
    for i in range(count):
        place = (i + 0.5) * step - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - tap)
            near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            made[i, np.clip(tap, 0, stored - 1)] += near if x <= 1 else far
    return made


@pytest.mark.parametrize(("rule", "nudge"), [("factor", 0.1), ("size", 0.0)])
def test_position_tables_differ_in_their_step(rule: str, nudge: float) -> None:
    table = torch.randn(1, 1 + 37 * 37, 2, generator=torch.Generator().manual_seed(0))
    grid = table[0, 1:].reshape(37, 37, 2).numpy()
    down, across = (_cubic(n, 37 / (n + nudge), 37) for n in (28, 49))
    found = resampled(table, (28, 49), rule)
    np.testing.assert_allclose(
        found[0, 1:].reshape(28, 49, 2), np.einsum("ia,jb,abc->ijc", down, across, grid), atol=1e-4
    )
    assert torch.equal(found[:, 0], table[:, 0])
    assert resampled(table, (37, 37), rule) is table


def test_as_many_patches_in_another_shape_are_resampled() -> None:
    table = torch.randn(1, 1 + 16, 2)
    assert not torch.equal(resampled(table, (2, 8), "factor"), table)


def test_the_knob_of_rules_changes_the_network(weights: Path) -> None:
    found = [_load(weights, size=(42, 70), rules=rules).encoder.positions for rules in ("original", "hf")]
    assert (found[0] - found[1]).abs().max() > 0.01


@pytest.mark.parametrize("size", [(70, 70), (42, 98)])
def test_matrices_are_the_same_upsampling(weights: Path, size: tuple[int, int]) -> None:
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (_load(weights, size=size, upsampling=mode)(image) for mode in ("resize", "matrices"))
    assert (one - other).abs().max() < 1e-5 * one.abs().max()


def test_interpolation_puts_corners_on_each_other() -> None:
    x = torch.randn(1, 1, 5, 7)
    expected = torch.nn.functional.interpolate(x, size=(11, 3), mode="bilinear", align_corners=True)
    torch.testing.assert_close(interpolation(5, 11) @ x @ interpolation(7, 3).mT, expected)
    assert torch.equal(interpolation(1, 4), torch.ones(4, 1)) and torch.equal(interpolation(3, 1), torch.eye(3)[:1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32(weights: Path, dtype: torch.dtype) -> None:
    made, image = _load(weights), torch.randn(1, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = made(image)
        made.set_block_dtype(dtype)
        found = made(image)
    assert found.dtype == torch.float32 and made.block_dtype == dtype
    assert 0 < torch.linalg.norm(found - expected) / torch.linalg.norm(expected) < 3e-2


def test_the_network_exports_with_nothing_unused(weights: Path) -> None:
    (one,) = family.components(_settings(weights))
    exported = export_module(one.load(weights).module, (torch.zeros(1, 3, 70, 70),), one.name)
    assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]


def test_integer_schemes_take_the_layers_that_read_tokens() -> None:
    folder = WEIGHTS / "Depth-Anything-V2-Small"
    settings = family.read_settings(folder, family.Knobs(), True)
    component = load_component(settings, folder, "shapes", AS_STORED)
    found = {".".join(p for p in name.split(".") if not p.isdigit()) for name in linears(component)}
    blocks = {f"encoder.blocks.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    assert found == blocks | {"head.projects", "head.resizes.linear", "head.laterals.linear"}
    modules = dict(component.module.named_modules())
    taken = sum(modules[name].weight.numel() for name in linears(component))
    assert taken / component.parameters > 0.92


def test_damaged_sets_are_told(tmp_path: Path) -> None:
    for path in (GOLDEN / "metric").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "io.safetensors")
    save_file({"in.wide.pixel_values": torch.zeros(1, 3, 40, 98)}, tmp_path / "io.safetensors")
    with pytest.raises(UsageError, match=r"do not fit each other|has no output"):
        compare("depth_anything_v2", tmp_path, None, "fp32", None)
    save_file({k: v for k, v in tensors.items() if not k.startswith("in.")}, tmp_path / "io.safetensors")
    with pytest.raises(UsageError, match=r"has no 'in\.SIZE\.pixel_values'"):
        compare("depth_anything_v2", tmp_path, None, "fp32", None)
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 36}))
    with pytest.raises(UsageError, match="not a Depth Anything V2 configuration"):
        compare("depth_anything_v2", tmp_path, None, "fp32", None)
