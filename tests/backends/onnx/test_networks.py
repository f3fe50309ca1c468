"""Networks of every family's kind through ONNX, from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_networks import PUBLISHED, published_through
from shared_networks import ENCODERS, RULES, encoder_through, halves_through, rules_through

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'gen3dexport[onnx]'")

from gen3dexport.backends import onnx

OPTIONS = onnx.Options(min_features=32)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders(kind: str, scheme: str, tmp_path: Path) -> None:
    encoder_through(onnx, kind, scheme, OPTIONS, tmp_path)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_both_halves_of_a_flow(scheme: str, tmp_path: Path) -> None:
    assert halves_through(onnx, scheme, OPTIONS, tmp_path) == ["flow"]


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_rules_inside_a_network(rules: dict[str, str], tmp_path: Path) -> None:
    rules_through(onnx, rules, OPTIONS, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_that_others_trained(name: str, tmp_path: Path) -> None:
    published_through(onnx, [name], OPTIONS, tmp_path)
