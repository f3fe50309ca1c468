"""Networks of every family's kind through AOTInductor, from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_networks import ENCODERS, encoder_through, halves_through

from gen3dexport.backends import aotinductor

OPTIONS = aotinductor.Options(min_features=32)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders(kind: str, scheme: str, tmp_path: Path) -> None:
    encoder_through(aotinductor, kind, scheme, OPTIONS, tmp_path)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_both_halves_of_a_flow(scheme: str, tmp_path: Path) -> None:
    assert halves_through(aotinductor, scheme, OPTIONS, tmp_path) == ["flow"]
