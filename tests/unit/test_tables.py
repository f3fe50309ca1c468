"""One table per fact: schemes, packages, GPUs and chips; what is derived from them is complete."""

from __future__ import annotations

import importlib.metadata
from typing import Any, get_args

import pytest

from gen3dexport import backends
from gen3dexport.backends import aotinductor, xla
from gen3dexport.backends.aotinductor.gpu_table import GPUS
from gen3dexport.backends.aotinductor.host_code import LEVELS
from gen3dexport.backends.xla.chips import CHIPS
from gen3dexport.provenance import versions
from gen3dexport.quantization.schemes import CALIBRATED, OF_EMBEDDINGS, SCHEMES


@pytest.mark.parametrize("name", backends.names())
def test_every_backend_takes_or_refuses_every_scheme(name: str) -> None:
    backend = backends.find(name)
    assert not {*backend.SCHEMES} & {*backend.REFUSED}
    assert {*backend.SCHEMES, *backend.REFUSED} == {*SCHEMES}
    for scheme, text in backend.SCHEMES.items():
        assert text.startswith(SCHEMES[scheme].summary)


def test_what_is_derived_from_the_schemes() -> None:
    assert CALIBRATED == ("int8-static",)
    assert OF_EMBEDDINGS == ("fp32", "int8-dynamic", "int8-weight")
    assert {name: s.half for name, s in SCHEMES.items() if s.half} == {"fp16": "float16", "bf16": "bfloat16"}
    for scheme in SCHEMES.values():
        assert (scheme.covers == "nothing") == (scheme.bytes == 4)
        assert scheme.multiple % (scheme.group or 1) == 0


@pytest.mark.parametrize(
    ("options", "field", "table"),
    [
        (aotinductor.Options, "arch", GPUS),
        (aotinductor.Options, "march", LEVELS),
        (xla.Options, "chip", CHIPS),
    ],
)
def test_options_take_what_the_table_has(options: Any, field: str, table: Any) -> None:
    kind = options.model_fields[field].annotation
    literal = next((a for a in get_args(kind) if get_args(a)), kind)  # inside `| None`
    assert get_args(literal) == tuple(table)


def test_bundles_keep_the_versions_of_every_backend_s_packages() -> None:
    found = versions()
    for name in backends.names():
        for package in backends.find(name).PACKAGES:
            if package in {d.name.lower() for d in importlib.metadata.distributions()}:
                assert found[package] == importlib.metadata.version(package)
    assert {"gen3dexport", "python", "numpy"} <= {*found}
