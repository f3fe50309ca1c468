"""Networks of every family's kind through AOTInductor, from disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_networks import PUBLISHED, published_through
from shared_networks import all_through

from gen3dexport.backends import aotinductor

OPTIONS = aotinductor.Options(min_features=32)


@pytest.mark.parametrize("scheme", ["fp32", "int8-dynamic"])
def test_encoders_and_both_halves_of_a_flow(scheme: str, tmp_path: Path) -> None:
    """In one package: of the ten seconds that a compiler takes for one, seven are the same whatever is in it."""
    assert all_through(aotinductor, scheme, OPTIONS, tmp_path).extra == {}


def test_networks_that_others_trained(tmp_path: Path) -> None:
    published_through(aotinductor, PUBLISHED, OPTIONS, tmp_path)
