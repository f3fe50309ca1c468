"""Other libraries' methods on an eager model: what they need, and for those that are installed, what they do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.quantization.quantize import linears
from gen3dexport.search.trials import stored_bytes

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import eager_methods

GOLDEN = Path(__file__).parents[1] / "golden" / "trellis"


@pytest.fixture
def flow() -> Component:
    return read_golden(GOLDEN / "ss_flow").component


def error(flow: Component, module: torch.nn.Module, expected: torch.Tensor) -> float:
    with torch.no_grad():
        found = module(*flow.inputs.values()).float()
    return float((found - expected).norm() / expected.norm())


def test_autocast_rounds_and_stores_nothing_smaller(flow: Component) -> None:
    expected, size = flow.run()["v"], stored_bytes(flow.module)
    module = eager_methods.apply(flow, "autocast", "cpu")
    assert 1e-4 < error(flow, module, expected) < 2e-2
    assert stored_bytes(module) == size


@pytest.mark.parametrize("method", ["nf4", "quanto-int8"])
def test_methods_of_libraries_that_are_here(method: str, flow: Component) -> None:
    package, _ = eager_methods.METHODS[method]
    assert package is not None
    if not eager_methods._installed(package):
        pytest.skip(f"{package} is not installed")
    expected, size, taken = flow.run()["v"], stored_bytes(flow.module), linears(flow)
    module = eager_methods.apply(flow, method, "cpu", min_features=32)
    assert 1e-4 < error(flow, module, expected) < 0.3
    assert stored_bytes(module) < 0.7 * size
    assert all(type(module.get_submodule(name)) is not torch.nn.Linear for name in taken)


@pytest.mark.parametrize(("method", "name"), [("nf4", "bitsandbytes"), ("quanto-int8", "optimum-quanto")])
def test_a_missing_library_is_named(method: str, name: str, flow: Component, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingError, match=rf"flow: {method} needs {name}; run: pip install 'gen3dexport\[compare\]'"):
        eager_methods.apply(flow, method, "cpu")


def test_an_unknown_method_is_told(flow: Component) -> None:
    with pytest.raises(UsageError, match="'gguf': unknown; there are autocast, nf4, quanto-int8"):
        eager_methods.apply(flow, "gguf", "cpu")
