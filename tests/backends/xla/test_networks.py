"""Networks of every family's kind through StableHLO, from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_networks import PUBLISHED, published_through
from shared_networks import ENCODERS, RULES, encoder_through, halves_through, rules_through

pytest.importorskip("jax", reason="needs the extra: pip install 'gen3dexport[tpu]'")

from gen3dexport.backends import xla

OPTIONS = xla.Options(min_features=32, compile=False, rest="fp32")


@pytest.mark.parametrize("scheme", ["fp32", "bf16", "int8-dynamic"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders(kind: str, scheme: str, tmp_path: Path) -> None:
    assert encoder_through(xla, kind, scheme, OPTIONS, tmp_path).facts["blocks_scanned"] == 3


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_both_halves_of_a_flow(scheme: str, tmp_path: Path) -> None:
    assert "flow_sampler" in halves_through(xla, scheme, OPTIONS, tmp_path)


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_rules_inside_a_network(rules: dict[str, str], tmp_path: Path) -> None:
    rules_through(xla, rules, OPTIONS, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_that_others_trained(name: str, tmp_path: Path) -> None:
    published_through(xla, [name], OPTIONS, tmp_path)
