"""What differs between two bundles: the place in the file, by its format."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from gen3dexport.validation.differences import MEASURED, Difference, differences


def _zip(members: dict[str, bytes], date: tuple[int, ...] = (1980, 1, 1, 0, 0, 0)) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, date), content)  # type: ignore[arg-type]
    return held.getvalue()


WEIGHTS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.int8)}
TURNED = {**WEIGHTS, "a": np.array([[0, 1, 2], [3, 4.5, 5]], np.float32)}
PROGRAM = {"flow/data/model.json": b'{"nodes": [1, 2]}', "flow/data/weights/w0": bytes(100)}

PAIRS: dict[str, tuple[str, bytes, bytes, str, str, str]] = {
    "a tensor": (
        "x.safetensors",
        save(WEIGHTS),
        save(TURNED),
        "tensor a F32 [2, 3]",
        "value 4 of 6 is np.float32(4.0)",
        "np.float32(4.5) (1 differ)",
    ),
    "a tensor more": ("x.safetensors", save(WEIGHTS), save({"a": WEIGHTS["a"]}), "tensors", "__metadata__, a, b", ""),
    "a member": (
        "x.pt2",
        _zip(PROGRAM),
        _zip({**PROGRAM, "flow/data/weights/w0": bytes(90) + b"!" + bytes(9)}),
        "member flow/data/weights/w0: byte 90 of 100, 1 differ",
        "",
        "!",
    ),
    "a field in a member": (
        "x.pt2",
        _zip(PROGRAM),
        _zip({**PROGRAM, "flow/data/model.json": b'{"nodes": [1, 3]}'}),
        "member flow/data/model.json: nodes.1",
        "2",
        "3",
    ),
    "the order of members": ("x.pt2", _zip(PROGRAM), _zip(dict(reversed(PROGRAM.items()))), "members", "model.js", ""),
    "the time of a member": (
        "x.pt2",
        _zip(PROGRAM),
        _zip(PROGRAM, (1990, 1, 1, 0, 0, 0)),
        "member flow/data/model.json: its date_time",
        "1980",
        "1990",
    ),
    "a line": ("module.mlir", b"a\nstablehlo.add\nc\n", b"a\nstablehlo.dot\nc\n", "line 2", "add", "dot"),
    "a byte": ("x.pte", bytes(40), bytes(30) + b"\1" + bytes(9), "byte 30 of 40, 1 differ", "\\x00", "\\x01"),
    "the length": ("x.pte", bytes(40), bytes(41), "byte 40 of 40; 40 and 41 bytes", "", ""),
    "an archive that is none": ("x.pt2", b"\xff\0one", b"\xff\0two", "byte 2 of 5, 3 differ", "one", "two"),
    "keys in another order": (
        "x.json",
        b'{"a": 1, "b": 2}',
        b'{"b": 2, "a": 1}',
        "the whole",
        "keys a, b",
        "keys b, a",
    ),
}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that are equal."""
    for name in ("one", "two"):
        (tmp_path / name / "programs").mkdir(parents=True)
        (tmp_path / name / "programs" / "same.bin").write_bytes(b"same")
        (tmp_path / name / "report.json").write_text(name)  # a measurement
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.parametrize("pair", PAIRS)
def test_the_first_place_is_named(pair: str, two: tuple[Path, Path]) -> None:
    name, first, second, where, a, b = PAIRS[pair]
    assert differences(*two) == []
    for folder, content in zip(two, (first, second), strict=True):
        (folder / "programs" / name).write_bytes(content)
    found = differences(*two)[0]
    assert (found.file, found.where) == (f"programs/{name}", where)
    assert a in found.first and b in found.second and found.first != found.second and not found.measured


def test_a_file_that_only_one_has(two: tuple[Path, Path]) -> None:
    (two[1] / "host").mkdir()
    (two[1] / "host" / "tokenizer.json").write_text("{}")
    assert differences(*two) == [Difference("host/tokenizer.json", "file", "nothing", "there")]


def _manifest(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = {
        "programs": [{"name": "flow", "facts": {"compile": {"effort": 0, "seconds": 1.5, "peak_rss_bytes": 10}}}],
        "files": {"programs/flow.bin": {"bytes": 1, "sha256": "0"}},
        "digest": "0",
    }
    change(data)
    return json.dumps(data).encode()


def test_times_of_a_manifest_are_declared_and_nothing_else(two: tuple[Path, Path]) -> None:
    def measured_again(data: dict[str, Any]) -> None:
        data["programs"][0]["facts"]["compile"] |= {"seconds": 2.5, "peak_rss_bytes": 11}
        data["files"]["programs/flow.bin"]["sha256"] = data["digest"] = "1"

    (two[0] / "manifest.json").write_bytes(_manifest(lambda data: None))
    (two[1] / "manifest.json").write_bytes(_manifest(measured_again))
    found = differences(*two)
    assert [(d.where, d.measured) for d in found] == [
        ("programs.0.facts.compile.seconds", True),
        ("programs.0.facts.compile.peak_rss_bytes", True),
    ]
    assert len(MEASURED) == 6
    (two[1] / "manifest.json").write_bytes(
        _manifest(lambda data: data["programs"][0]["facts"]["compile"].pop("effort"))
    )
    found = differences(*two)
    assert [(d.where, d.first, d.second, d.measured) for d in found] == [
        ("programs.0.facts.compile.effort", "0", '"nothing"', False)
    ]


def test_initialisers_and_nodes_of_onnx(two: tuple[Path, Path]) -> None:
    onnx = pytest.importorskip("onnx")

    def model(weight: float, operator: str) -> bytes:
        array = onnx.numpy_helper.from_array(np.array([1, weight], np.float32), "w")
        node = onnx.helper.make_node(operator, ["x", "w"], ["y"], name="product")
        value = [onnx.helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
        graph = onnx.helper.make_graph([node], "flow", value[:1], value[1:], [array])
        made: bytes = onnx.helper.make_model(graph).SerializeToString()
        return made

    (two[0] / "programs" / "x.onnx").write_bytes(model(2, "Mul"))
    (two[1] / "programs" / "x.onnx").write_bytes(model(3, "Add"))
    found = differences(*two)
    assert [d.where for d in found] == ["initializer w: byte 6 of 8, 1 differ", "node product"]
    assert "Mul" in found[1].first and "Add" in found[1].second
