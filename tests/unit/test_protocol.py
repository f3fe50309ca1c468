"""Every backend module has every name of the protocol, with the protocol's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from gen3dexport import backends
from gen3dexport.backends import Backend
from gen3dexport.cli.doctor import show_doctor
from gen3dexport.cli.plan import show_plan
from gen3dexport.plan import backend_options, read_target

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


@pytest.mark.parametrize(
    ("target", "devices", "told"),
    [("cuda-sm90", "nvidia[0-9]*", "no sm_90 device"), ("tpu-v5e", "accel[0-9]*", "no TPU"), ("eager", "", None)],
)
def test_a_device_that_is_not_here_is_told(
    target: str, devices: str, told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if devices and (any(Path("/dev").glob(devices)) or any(Path("/dev/vfio").glob("[0-9]*"))):
        pytest.skip("this machine has such devices")
    read = read_target(target)
    absent = backends.absent(backends.find(read.backend), backend_options(read))
    assert absent == told
    rows = [{"name": target, "device": read.device, "missing": [], "absent": absent}]
    host = {"processor": "a CPU", "machine": "x86_64"}
    show_doctor({"versions": {}, "host": host, "stage_cache": "", "targets": rows})
    said = " ".join(capsys.readouterr().out.split())
    assert ("ready to build; " in said and "stays unmeasured" in said) is (told is not None)


def test_a_plan_names_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"recipe": "a", "target": "b", "backend": "c", "device": "d", "components": [], "by": "shapes"}
    show_plan({**plan, "missing": [], "left_out": ["image_encoder"]})
    assert "left out: image_encoder" in capsys.readouterr().out
