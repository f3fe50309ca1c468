"""Networks of every family's kind through the eager backend, from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_networks import PUBLISHED, published_through
from shared_networks import ENCODERS, RULES, encoder_through, halves_through, rules_through

from gen3dexport.backends import eager

OPTIONS = eager.Options(min_features=32)


@pytest.mark.parametrize("scheme", ["fp32", "bf16", "int8-dynamic"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders(kind: str, scheme: str, tmp_path: Path) -> None:
    encoder_through(eager, kind, scheme, OPTIONS, tmp_path)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_both_halves_of_a_flow(scheme: str, tmp_path: Path) -> None:
    assert halves_through(eager, scheme, OPTIONS, tmp_path) == ["flow"]


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_rules_inside_a_network(rules: dict[str, str], tmp_path: Path) -> None:
    rules_through(eager, rules, OPTIONS, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_that_others_trained(name: str, tmp_path: Path) -> None:
    published_through(eager, [name], OPTIONS, tmp_path)
