"""The eager backend: what it saves is what the component computes, for every scheme, with torch alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import lowering
import numpy as np
import pytest
import torch
from lowering import COMPONENTS, Case, component, lower, relative_l2

from gen3dexport.backends import eager
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import UsageError, VerificationError

# Linears of the golden networks are 48 to 256 wide.
NARROW = {"min_features": 32}
ALL_SCHEMES = {
    *("fp32", "fp16", "bf16", "int8-dynamic", "int8-weight"),
    *("int4-dynamic", "int4-weight", "float8-weight", "float8-dynamic", "int8-static"),
}
# Worst relative L2 error of the golden networks against float32 that a scheme may have.
FLOORS = {"fp32": 0.0, "fp16": 3e-3, "bf16": 2e-2, "int8-dynamic": 5e-2, "int8-weight": 2e-2}
FLOORS |= {"int4-dynamic": 0.2, "int4-weight": 0.2, "float8-weight": 5e-2, "float8-dynamic": 8e-2, "int8-static": 0.1}
NETWORKS = {"int8-static": "ss_dec"}  # the others are tried on the flow


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Case]:
    """A golden network in a scheme, shallow, lowered once."""

    @cache
    def made(name: str, scheme: str = "fp32") -> Case:
        return lower(eager, name, scheme, tmp_path_factory.mktemp(scheme), shallow=True, **NARROW)

    return made


@pytest.fixture(scope="module")
def flow(golden: Callable[..., Case]) -> Callable[[str], Case]:
    """The golden flow, or the network that a scheme is for, in that scheme."""
    return lambda scheme: golden(NETWORKS.get(scheme, "ss_flow"), scheme)


def test_schemes_are_complete() -> None:
    assert set(eager.SCHEMES) | set(eager.REFUSED) == ALL_SCHEMES
    assert set(eager.SCHEMES) == set(FLOORS)
    assert eager.check(eager.Options()) == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_round_trips(name: str, golden: Callable[..., Case]) -> None:
    case = golden(name)
    outputs = case.program({k: torch.from_numpy(v) for k, v in case.inputs.items()})
    assert outputs.keys() == case.fp32.keys()
    for key, value in case.fp32.items():
        np.testing.assert_array_equal(outputs[key], value)
    assert case.lowered.files == (f"{name}.pt2",) and case.lowered.unmeasured is None
    assert sum(case.lowered.facts["operators"].values()) > 10


@pytest.mark.parametrize("scheme", sorted({*FLOORS} - {"fp32"}))
def test_every_scheme_round_trips(scheme: str, flow: Callable[[str], Case]) -> None:
    case = flow(scheme)
    ((name, expected),) = case.quantized.items()
    value = case.program(case.inputs)[name]
    np.testing.assert_array_equal(value, expected)
    assert 1e-5 < relative_l2(value, case.fp32[name]) < FLOORS[scheme]
    assert not value.requires_grad


@pytest.mark.parametrize("scheme", ["fp16", "bf16"])
def test_convolutions_in_half_precision(scheme: str, golden: Callable[..., Case]) -> None:
    case = golden("ss_dec", scheme)
    np.testing.assert_array_equal(case.program(case.inputs)["logits"], case.quantized["logits"])
    assert 0 < relative_l2(case.quantized["logits"], case.fp32["logits"]) < FLOORS[scheme]


def test_int8_is_smaller_and_holds_plain_tensors(golden: Callable[..., Case]) -> None:
    sizes = {}
    for scheme in ("fp32", "int8-dynamic"):
        case = golden("ss_flow_patch2", scheme)
        with zipfile.ZipFile(case.folder / case.lowered.files[0]) as archive:
            weights = [i for i in archive.infolist() if "/weights/weight_" in i.filename]
            sizes[scheme] = sum(i.file_size for i in weights)
        program = torch.export.load(case.folder / case.lowered.files[0])
        assert {type(v) for v in program.state_dict.values()} <= {torch.Tensor, torch.nn.Parameter}
        assert not [op for op in case.lowered.facts["operators"] if not op.startswith("aten.")]
    assert sizes["int8-dynamic"] < 0.5 * sizes["fp32"]


def test_schemes_that_fit_no_layer() -> None:
    with pytest.raises(UsageError, match="no half-precision form"):
        eager.quantize(component("text_encoder"), "fp16", eager.Options())
    with pytest.raises(UsageError, match="no linear layer"):
        eager.quantize(component("ss_dec"), "int8-dynamic", eager.Options())


def test_fresh_process_needs_torch_alone_and_rebuilds_the_same_bytes(
    tmp_path: Path, flow: Callable[[str], Case]
) -> None:
    """Another process reads the quantized program without torchao, and lowering there gives the same file."""
    case = flow("int8-dynamic")
    shutil.copyfile(case.folder / case.lowered.files[0], tmp_path / case.lowered.files[0])
    np.savez(tmp_path / "io.npz", **case.inputs)
    (tmp_path / "record.json").write_text(case.record.model_dump_json())
    script = f"""
import hashlib, json, pathlib, sys
import numpy as np
from gen3dexport.backends import eager
from gen3dexport.bundle.program import ProgramRecord
folder = pathlib.Path({str(tmp_path)!r})
record = ProgramRecord.model_validate_json((folder / "record.json").read_text())
inputs = dict(np.load(folder / "io.npz"))
value = eager.load(folder, record)(inputs)["v"].numpy()
vendors = sorted({{m.split(".")[0] for m in sys.modules}} & {{"torchao", "jax", "executorch", "onnxruntime"}})
np.save(folder / "v.npy", value)
sys.path.insert(0, {str(Path(lowering.__file__).parent)!r})
from lowering import lower
(folder / "again").mkdir()
again = lower(eager, "ss_flow", "int8-dynamic", folder / "again", shallow=True, min_features=32)
digest = hashlib.sha256((folder / "again" / again.lowered.files[0]).read_bytes()).hexdigest()
print(json.dumps({{"vendors": vendors, "digest": digest}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["vendors"] == []
    assert said["digest"] == hashlib.sha256((tmp_path / case.lowered.files[0]).read_bytes()).hexdigest()
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), case.quantized["v"], atol=1e-6)


def test_files_tell_nothing_of_the_machine(golden: Callable[..., Case]) -> None:
    case = golden("ss_dec")
    with zipfile.ZipFile(case.folder / case.lowered.files[0]) as archive:
        text = b"".join(archive.read(i) for i in archive.infolist() if i.filename.endswith(".json"))
    assert str(Path(torch.__file__).parent).encode() not in text
    assert str(Path(__file__).parents[3]).encode() not in text


def test_bad_calls_name_every_input(golden: Callable[..., Case]) -> None:
    case = golden("ss_dec")
    with pytest.raises(UsageError, match="z is missing; x is not an input"):
        case.program({"x": case.inputs["z"]})
    with pytest.raises(UsageError, match=r"z is float64 \[1, 8, 4, 4\], the program takes float32 \[1, 8, 4, 4, 4\]"):
        case.program({"z": case.inputs["z"][:, :, 0].astype(np.float64)[:2, :, :4, :4]})


def test_damaged_program(tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"PK\x03\x04 not an archive")
    record = ProgramRecord(name="a", component="a", files=("a.pt2",), inputs={}, outputs={})
    with pytest.raises(VerificationError, match="cannot read the program"):
        eager.load(tmp_path, record)
