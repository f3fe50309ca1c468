"""Every backend module has every name of the protocol, with the protocol's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest
from pydantic import BaseModel

from gen3dexport import backends
from gen3dexport.backends import Backend

VALUES = sorted(Backend.__annotations__)
FUNCTIONS = sorted(name for name, value in vars(Backend).items() if inspect.isfunction(value) and name[0] != "_")


def test_the_protocol_is_what_is_checked() -> None:
    assert {"SCHEMES", "REFUSED", "UNSUPPORTED", "Options"} <= set(VALUES)
    assert {"check", "quantize", "lower", "load"} <= set(FUNCTIONS)
    assert {"aotinductor", "eager", "executorch", "onnx", "xla"} <= set(backends.names())


@pytest.mark.parametrize("name", backends.names())
def test_a_backend_has_every_name_of_the_protocol(name: str) -> None:
    module = backends.find(name)
    assert [n for n in (*VALUES, *FUNCTIONS) if not hasattr(module, n)] == []
    assert issubclass(module.Options, BaseModel) and module.Options.model_config.get("extra") == "forbid"
    assert module.PACKAGES and all(isinstance(package, str) and package for package in module.PACKAGES)
    for table in (value for value in VALUES if value not in ("Options", "PACKAGES")):
        entries = getattr(module, table)
        assert isinstance(entries, Mapping)
        assert all(isinstance(key, str) and isinstance(text, str) and text for key, text in entries.items()), table
    for function in FUNCTIONS:
        parameters = list(inspect.signature(getattr(Backend, function)).parameters)[1:]
        assert list(inspect.signature(getattr(module, function)).parameters) == parameters, function
