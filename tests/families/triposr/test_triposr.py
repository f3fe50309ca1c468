"""TripoSR's networks: golden parity, the released layout, position tables, precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from triposr_tiny import GOLDEN, KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.export import Captured, export_module
from gen3dexport.models import triposr
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.triposr.host.model import read_model
from gen3dexport.models.triposr.networks import loading
from gen3dexport.models.triposr.networks.golden_sets import read_golden
from gen3dexport.models.triposr.networks.triplane import planes_of, windows
from gen3dexport.models.triposr.networks.vit import resampled
from gen3dexport.validation.parity import compare

SETS = sorted(path.name for path in GOLDEN.iterdir())
OUTPUTS = {
    "backbone": {"hidden_states"},
    "decoder_renderer": {
        *("density", "features", "density_act", "color", "mlp_density", "mlp_features", "rays_o", "rays_d", "rgb"),
        *("grid_points", "t_near", "t_far", "rays_valid"),
    },
    "e2e": {"resized", "image_tokens", "scene_codes", "density", "density_act", "color", "grid_density", "rgb"},
    "image_tokenizer": {"tokens", "tokens_possize", "tokens_native"},
    "post_processor": {"triplanes"},
    "tokenizer": {"tokens", "planes"},
}
RELEASED = Path(__file__).parents[3] / "weights" / "TripoSR"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("triposr"))


@pytest.fixture(scope="module")
def settings(weights: Path) -> triposr.Settings:
    return triposr.read_settings(weights, triposr.Knobs(**KNOBS), False)


@pytest.mark.parametrize("name", SETS)
def test_golden_parity(name: str) -> None:
    result = compare("triposr", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_released_keys() -> None:
    """Every tensor of the released checkpoint, and no other, at the shipped configuration."""
    expected = json.loads((Path(__file__).with_name("released_keys.json")).read_text())
    with torch.device("meta"):
        state = loading.parts(read_model(RELEASED)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == expected["tensors"]
    assert sum(value.numel() for value in state.values()) == expected["elements"] == 419_275_628


def test_the_released_size_is_planned_from_shapes() -> None:
    settings = triposr.read_settings(RELEASED, triposr.Knobs(), True)
    made = {one.name: one.load(RELEASED, "shapes") for one in triposr.components(settings)}
    shapes = {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()}
    assert shapes == {
        "image_encoder": {"image": (1, 3, 512, 512)},
        "backbone": {"features": (1, 1025, 768)},
        "query": {"planes": (1, 3, 65 * 65, 160), "points": (1, 8192, 3)},
    }
    # Without the pooler, with 32 x 32 positions for 14 x 14, and one table less: the class token has its position.
    unused = 768 * 768 + 768 + 768
    assert sum(one.parameters for one in made.values()) == 419_275_628 - unused + (32**2 - 14**2) * 768


def test_later_names_of_the_encoder_are_read(weights: Path, settings: triposr.Settings, tmp_path: Path) -> None:
    later = {released: name for name, released in loading._LAYER.items()}
    state = {}
    for name, value in load_file(weights / "model.safetensors").items():
        head, found, tail = name.partition("encoder.layer.")
        index, _, rest = tail.partition(".")
        part, _, kind = rest.rpartition(".")
        state[f"{head}layers.{index}.{later.get(part, part)}.{kind}" if found else name] = value
    assert "image_tokenizer.model.layers.1.mlp.fc1.weight" in state
    save_file(state, tmp_path / "model.safetensors")
    expected, found = (
        loading.load_component("image_encoder", settings, folder / "model", "stored", AS_STORED).module.state_dict()
        for folder in (weights, tmp_path)
    )
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("component", "change", "message"),
    [
        ("query", ("decoder.layers.0.bias", None), "missing decoder.layers.0.bias"),
        ("backbone", ("backbone.norm.weight", torch.ones(3)), r"backbone.norm.weight has shape \[3\], needs \[64\]"),
        ("query", ("texture.weight", torch.ones(3)), "unexpected texture.weight"),
        ("image_encoder", ("image_tokenizer.model.pooler.dense.bias", None), "missing image_tokenizer.model.pooler"),
        ("query", ("decoder.layers.0.bias", torch.full((16,), torch.nan)), "NaN"),
    ],
)
def test_other_tensors_are_refused(
    weights: Path, settings: triposr.Settings, tmp_path: Path, component: str, change: tuple[str, torch.Tensor | None],
    message: str,
) -> None:  # fmt: skip
    state = load_file(weights / "model.safetensors")
    name, value = change
    state = {k: v for k, v in state.items() if k != name} | ({} if value is None else {name: value})
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        loading.load_component(component, settings, tmp_path / "model", "stored", AS_STORED)


def test_the_released_pickle_is_read_on_demand(weights: Path, settings: triposr.Settings, tmp_path: Path) -> None:
    torch.save(load_file(weights / "model.safetensors"), tmp_path / "model.ckpt")
    with pytest.raises(UsageError, match=r"model.ckpt: a pickle can run code"):
        loading.load_component("query", settings, tmp_path / "model", "stored", AS_STORED)
    found = loading.load_component("query", settings, tmp_path / "model", "stored", Reading(allow_pickle=True))
    expected = loading.load_component("query", settings, weights / "model", "stored", AS_STORED)
    assert torch.equal(found.module.decoder.layers[0].weight, expected.module.decoder.layers[0].weight)


def _cubic(step: float) -> np.ndarray:
    """Weights [32, 14] of bicubic resampling (A = -0.75) at (i + 0.5) * step - 0.5, ends repeated."""
    weights = np.zeros((32, 14))
    for i in range(32):
        place = (i + 0.5) * step - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - tap)
            near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            weights[i, np.clip(tap, 0, 13)] += near if x <= 1 else far
    return weights


@pytest.mark.parametrize("component", loading.PARTS)
def test_a_prefix_is_named_and_taken_off(
    component: str, weights: Path, settings: triposr.Settings, tmp_path: Path
) -> None:
    state = {f"module.{name}": value for name, value in load_file(weights / "model.safetensors").items()}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        loading.load_component(component, settings, tmp_path / "model", "stored", AS_STORED)
    loading.load_component(component, settings, tmp_path / "model", "stored", Reading(strip_prefix="module."))


@pytest.mark.parametrize(("rule", "step"), [("factor", 14 / 32.1), ("size", 14 / 32)])
def test_position_tables_differ_in_their_step(rule: str, step: float) -> None:
    table = torch.randn(1, 197, 2, generator=torch.Generator().manual_seed(0))
    grid = table[0, 1:].reshape(14, 14, 2).numpy()
    expected = np.einsum("ia,jb,abc->ijc", _cubic(step), _cubic(step), grid)
    found = resampled(table, 32, rule)
    np.testing.assert_allclose(found[0, 1:].reshape(32, 32, 2), expected, atol=1e-4)
    assert torch.equal(found[:, 0], table[:, 0])


def test_a_position_table_of_the_right_size_is_kept() -> None:
    table = torch.randn(1, 197, 2)
    assert resampled(table, 14, "factor") is table


def test_the_knob_of_position_tables_changes_the_network(weights: Path) -> None:
    found = {}
    for rule in ("factor", "size"):
        settings = triposr.read_settings(weights, triposr.Knobs(position_table=rule), False)
        found[rule] = triposr.components(settings)[0].load(weights).module.positions
    assert (found["factor"] - found["size"]).abs().max() > 0.01


def test_windows_hold_every_plane() -> None:
    planes = torch.randn(2, 3, 5, 4, 4)
    made = windows(planes)
    assert made.shape == (2, 3, 25, 20)
    assert torch.equal(planes_of(made), planes)
    assert torch.equal(made[:, :, 6], torch.cat([planes[..., i, j] for i in (0, 1) for j in (0, 1)], -1))
    assert (made[:, :, 0, :15] == 0).all()  # the corner: three of four pixels are outside


def test_queries_are_bilinear_lookups() -> None:
    """Against torch's own: pixels as areas, zeros outside, planes (x, y), (x, z), (y, z)."""
    query = read_golden(GOLDEN / "decoder_renderer").component.module
    planes = torch.randn(1, 3, 6, query.edge, query.edge)
    points = torch.cat([torch.rand(500, 3) * 2 - 1, torch.tensor([[-1.0, 1, 0], [9, -9, 9]])]) * query.radius * 1.3
    places = (points / query.radius)[None, :, None]
    pairs = zip(planes[0], ((0, 1), (0, 2), (1, 2)), strict=True)
    sampled = [
        torch.nn.functional.grid_sample(plane[None], places[..., pair], align_corners=False)[0, :, :, 0].T
        for plane, pair in pairs
    ]
    found = query.features(windows(planes), points[None])
    torch.testing.assert_close(found, torch.cat(sampled, -1), rtol=1e-4, atol=1e-5)
    assert (found[-1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["image_tokenizer", "backbone", "decoder_renderer"])
def test_half_precision_stays_near_float32(name: str, dtype: torch.dtype) -> None:
    component = read_golden(GOLDEN / name).component
    expected = component.run()
    component.module.set_block_dtype(dtype)
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        error = torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key])
        assert 0 < error < 3e-2


def test_components_export_with_nothing_unused(weights: Path, settings: triposr.Settings) -> None:
    """Every component as one graph, whose weights are all read; encoder and backbone in three parts, too."""
    for one in triposr.components(settings):
        component = one.load(weights).with_inputs(
            {k: torch.zeros(v.shape) for k, v in one.load(weights, "shapes").inputs.items()}
        )
        exported = export_module(component.module, tuple(component.inputs.values()), one.name)
        unread = [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]
        assert not unread
        stack = Captured(component).stack
        assert (stack is None) == (one.name == "query")
        if stack is not None:
            assert len(stack.weights) == 2


def test_a_set_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "weights.safetensors", "io.safetensors"):
        (tmp_path / name).write_bytes((GOLDEN / "tokenizer" / name).read_bytes())
    with pytest.raises(UsageError, match=r"meta\.json: not found"):
        read_golden(tmp_path)
    (tmp_path / "meta.json").write_text('{"component": "texture"}')
    with pytest.raises(UsageError, match="a set of 'texture' is not known"):
        read_golden(tmp_path)


def test_a_wrong_weight_fails_parity(tmp_path: Path) -> None:
    for path in (GOLDEN / "e2e").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state["post_processor.upsample.bias"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    result = compare("triposr", tmp_path, None, "fp32", None)
    assert not result["passed"]
    assert np.isfinite([row["relative"] for row in result["outputs"]]).all()
