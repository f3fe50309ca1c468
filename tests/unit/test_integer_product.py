"""The product of int8 matrices: torch's own numbers on any CPU, and torch's own operator in a capture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gen3dexport.export import export_module
from gen3dexport.quantization.int8_linear import Int8Linear
from gen3dexport.quantization.integer_product import EXACT, integer_product


@pytest.fixture(params=["AVX2", "AVX512", "DEFAULT"])
def capability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A CPU that torch says is here."""
    word: str = request.param
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: word)
    return word


@pytest.mark.parametrize(
    ("m", "k", "n"), [(5, 7, 3), (33, EXACT, 17), (20, EXACT + 1, 24), (18, 3 * EXACT, 8), (1, 9, 1)]
)
def test_it_is_exact(m: int, k: int, n: int, capability: str) -> None:
    torch.manual_seed(0)
    left = torch.randint(-128, 128, (m, k), dtype=torch.int8)
    weight = torch.randint(-128, 128, (n, k), dtype=torch.int8)
    found = integer_product(left, weight.t())
    assert found.dtype == torch.int32 and torch.equal(found.long(), left.long() @ weight.long().t())


def test_the_largest_sums_are_exact(capability: str) -> None:
    least = torch.full((17, 2 * EXACT), -128, dtype=torch.int8)
    assert integer_product(least, least.t()).unique().tolist() == [128 * 128 * 2 * EXACT]


def test_a_capture_has_the_operator(capability: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = Int8Linear(nn.Linear(128, 16))

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.linear(x)
            return found

    program = export_module(Two(), (torch.randn(1, 20, 128),), "two")
    assert len(program.graph.find_nodes(op="call_function", target=torch.ops.aten._int_mm.default)) == 1
