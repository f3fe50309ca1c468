"""What an observation keeps of a component's calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from gen3dexport.bundle.golden import write_calls
from gen3dexport.bundle.program import ProgramRecord, TensorSpec
from gen3dexport.errors import VerificationError
from gen3dexport.models.component import Component
from gen3dexport.observe import Observation, golden_calls, run_eager
from gen3dexport.validation.measure import _real_rows


class Double(nn.Module):
    """Twice the input, and a little more where it is told so."""

    def __init__(self, more: float = 0.0) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x + self.more


def observation(rows: int | None) -> tuple[Observation, np.ndarray]:
    x = np.arange(24, dtype=np.float32).reshape(1, 6, 4)
    component = Component("double", Double(), {"x": torch.from_numpy(x)}, ("y",))
    return Observation(component, (({"x": x}, {"y": 2 * x}),), 1, (), rows=rows), x


def test_what_is_not_quantized_gives_the_same_again() -> None:
    made, _ = observation(rows=4)
    (again,), (run,) = golden_calls(made, None), golden_calls(made, made.component)
    assert np.array_equal(again.quantized["y"], run.quantized["y"]) and again.quantized["y"].shape[1] == 4


def test_golden_outputs_have_no_padding_and_are_kept_once(tmp_path: Path) -> None:
    made, x = observation(rows=4)
    write_calls(tmp_path, "double", golden_calls(made, made.component))
    tensors = load_file(tmp_path / "double.safetensors")
    assert set(tensors) == {"0.in.x", "0.fp32.y"}
    np.testing.assert_array_equal(tensors["0.in.x"], x)
    np.testing.assert_array_equal(tensors["0.fp32.y"], 2 * x[:, :4])


def test_golden_outputs_of_a_quantized_component(tmp_path: Path) -> None:
    made, x = observation(rows=None)
    quantized = Component("double", Double(0.5), made.component.inputs, ("y",))
    write_calls(tmp_path, "double", golden_calls(made, quantized))
    tensors = load_file(tmp_path / "double.safetensors")
    np.testing.assert_array_equal(tensors["0.quantized.y"], 2 * x + 0.5)
    np.testing.assert_array_equal(tensors["0.fp32.y"], 2 * x)


def test_an_output_of_another_shape_is_refused() -> None:
    spec = TensorSpec(shape=(1, 6, 4), dtype="float32")
    record = ProgramRecord(name="double", component="double", files=("d",), inputs={}, outputs={"y": spec})
    x = np.arange(24, dtype=np.float32).reshape(1, 6, 4)
    np.testing.assert_array_equal(_real_rows(record, "y", x, x[:, :4]), x[:, :4])
    with pytest.raises(VerificationError, match=r"y has shape \[1, 7, 4\], and the manifest says \[1, 6, 4\]"):
        _real_rows(record, "y", np.zeros((1, 7, 4), np.float32), x[:, :4])


def test_half_convolutions_sum_in_float32() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(8, 4, 3, padding=1).half().eval()
    x = torch.randn(1, 8, 5, 5, 5).half()
    found = run_eager(Component("c", convolution, {"x": x}, ("y",)), {"x": x.numpy()})["y"]
    weight, bias = convolution.weight.float(), convolution.bias
    assert bias is not None
    expected = nn.functional.conv3d(x.float(), weight, bias.float(), padding=1).half().float()
    np.testing.assert_array_equal(found, expected.detach().numpy())
