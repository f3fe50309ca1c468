"""MoGe-2's network: golden parity, the released layout, other files, precision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from moge_tiny import GOLDEN, checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen3dexport.errors import UsageError
from gen3dexport.export import export_module
from gen3dexport.models import moge_2 as family
from gen3dexport.models.declaration import AS_STORED, Reading
from gen3dexport.models.moge_2.host.model import read_model
from gen3dexport.models.moge_2.networks.loading import load_component
from gen3dexport.models.moge_2.networks.network import EdgeConvolution, Released
from gen3dexport.quantization.quantize import linears
from gen3dexport.validation.parity import compare

WEIGHTS = Path(__file__).parents[3] / "weights"
# Of the published files: tensors, their elements, and the digest of their names and shapes.
RELEASED = {
    "S": (337, 35_103_662, "b6a394e21f4bf1071f82b46100f457aafa5c4e7948cc727da46b5ae42ffb9dff"),
    "B": (337, 104_743_598, "27dcd4e64a9b5dada0902aa114505a47be6aaac1e9a5c7b7245fe6dc1aa2e00d"),
    "L": (521, 330_901_550, "cf14560eaaed93c2054361953a7fafe277c5642dc96fa86fc0f427e7c482d97d"),
}
RESULTS = ("points", "normal", "mask", "metric_scale", "points_head", "normal_head", "mask_head")
INFERRED = {
    *(f"infer.{name}" for name in ("focal_exact", "shift_exact", "points", "depth", "intrinsics", "mask")),
    "infer_fov60.intrinsics",
}
FLAT = {f"infer_noproj.{name}" for name in ("points", "depth", "intrinsics")}
STEPS = {"torch.encoder", "torch.cls", "torch.image_14", *(f"torch.neck_{k}" for k in range(4))}
NETWORK = {f"{mode}.{name}" for mode in ("torch", "onnx") for name in RESULTS}
RECOVERED = ("focal_exact", "shift_exact", "shift_known_focal_exact", "points", "depth", "intrinsics")
OUTPUTS = {
    "focal_shift": {f"{size}.{name}" for size in ("big", "empty", "noisy") for name in RECOVERED},
    "model": {f"native.{n}" for n in NETWORK | INFERRED | FLAT} | {f"wide.{n}" for n in NETWORK | INFERRED | STEPS},
    "model_l": {f"tall.{name}" for name in NETWORK | INFERRED | FLAT},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("moge"))


def _load(folder: Path, reading: Reading = AS_STORED, **knobs: object) -> torch.nn.Module:
    settings = family.read_settings(folder, family.Knobs(**knobs), False)
    return load_component(settings, folder / "model", "stored", reading).module


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_golden_parity(name: str) -> None:
    result = compare("moge-2", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_a_wrong_weight_fails_parity(tmp_path: Path) -> None:
    for path in (GOLDEN / "model_l").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state["mask_head.output_blocks.4.bias"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("moge_2", tmp_path, None, "fp32", None)["passed"]


@pytest.mark.parametrize("variant", sorted(RELEASED))
def test_released_keys(variant: str) -> None:
    """Every tensor of the published files, and no other, at the shipped configurations."""
    with torch.device("meta"):
        state = Released(read_model(WEIGHTS / f"MoGe-2-{variant}")).state_dict()
    lines = sorted(f"{name} {list(value.shape)}" for name, value in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(state), sum(v.numel() for v in state.values()), digest) == RELEASED[variant]


@pytest.mark.parametrize("variant", sorted(RELEASED))
def test_released_sizes_are_planned_from_shapes(variant: str) -> None:
    folder = WEIGHTS / f"MoGe-2-{variant}"
    settings = family.read_settings(folder, family.Knobs(size=(518, 686)), True)
    (one,) = family.components(settings)
    made = one.load(folder, "shapes")
    assert {k: tuple(v.shape) for k, v in made.inputs.items()} == {"image": (1, 3, 518, 686), "span": (2,)}
    assert made.outputs == ("points", "normal", "mask", "metric_scale")


def test_the_released_pickle_is_read_on_demand(weights: Path, tmp_path: Path) -> None:
    """The state dict and the configuration in one file."""
    folder = checkpoint(tmp_path / "pt")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({"model_config": {"remap_output": "exp"}, "model": state}, folder / "model.pt")
    with pytest.raises(UsageError, match=r"model\.pt: a pickle can run code"):
        _load(folder)
    found = _load(folder, Reading(allow_pickle=True)).state_dict()
    assert all(torch.equal(value, found[name]) for name, value in _load(weights).state_dict().items())


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
OTHERS: dict[str, tuple[Change, str]] = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "scale_head.2.bias"}, "missing scale_head.2.bias"),
    "unexpected": (lambda s: {**s, "sky_head.bias": torch.zeros(1)}, "unexpected sky_head.bias"),
    "shape": (lambda s: {**s, "scale_head.4.bias": torch.zeros(2)}, r"scale_head.4.bias has shape \[2\], needs \[1\]"),
    "module.": (lambda s: {f"module.{k}": v for k, v in s.items()}, r"`strip_prefix: module\.`"),
    "not finite": (lambda s: {**s, "scale_head.4.bias": torch.full((1,), torch.inf)}, "NaN or infinity"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_files_are_refused(case: str, weights: Path, tmp_path: Path) -> None:
    change, message = OTHERS[case]
    folder = checkpoint(tmp_path / "other")
    save_file(change(load_file(weights / "model.safetensors")), folder / "model.safetensors")
    with pytest.raises(UsageError, match=message):
        _load(folder)


def test_borders_repeat_the_edge() -> None:
    made = EdgeConvolution(3, 5)
    x = torch.randn(2, 3, 4, 6)
    wide = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(made(x), torch.nn.functional.conv2d(wide, made.weight, made.bias))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_float32(weights: Path, dtype: torch.dtype) -> None:
    made = _load(weights)
    image, span = torch.randn(1, 3, 70, 70, generator=torch.Generator().manual_seed(0)), torch.tensor([0.7, 0.7])
    with torch.no_grad():
        expected = made(image, span)
        made.set_block_dtype(dtype)
        found = made(image, span)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert 0 < torch.linalg.norm(one - other) / torch.linalg.norm(other) < 3e-2


def test_the_network_exports_with_nothing_unused(weights: Path) -> None:
    exported = export_module(_load(weights), (torch.zeros(1, 3, 70, 70), torch.ones(2)), "geometry")
    assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]


def test_integer_schemes_take_the_transformer() -> None:
    folder = WEIGHTS / "MoGe-2-S"
    settings = family.read_settings(folder, family.Knobs(), True)
    found = linears(load_component(settings, folder, "shapes", AS_STORED))
    assert len(found) == 12 * 4 and all(name.startswith("encoder.blocks.") for name in found)
