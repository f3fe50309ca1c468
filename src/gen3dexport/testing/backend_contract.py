"""What every backend keeps: names, schemes taken or refused, programs that come back from disk as they were."""

from __future__ import annotations

import copy
import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ValidationError
from safetensors.numpy import save_file
from torch import Tensor, nn

from gen3dexport.backends import Program, refused_for
from gen3dexport.bundle.program import Lowered, ProgramRecord, program_record, specs
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.quantization import schemes
from gen3dexport.quantization.calibration import observing
from gen3dexport.runtime.pipeline import to_numpy


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.down(torch.nn.functional.gelu(self.up(self.norm(x))))
        return found


class TinyNetwork(nn.Module):
    """A stack of two residual blocks between two linear layers, x [B, T, 64] -> y [B, T, 64].

    Blocks are a repeated stack in the sense of `Component.stack`; half precision is taken by the blocks.
    """

    stack = "blocks"

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(2))
        self.block_dtype = torch.float32

    def set_block_dtype(self, dtype: torch.dtype) -> None:
        """Compute the blocks in `dtype`."""
        self.block_dtype = dtype
        self.blocks.to(dtype)

    def before(self, x: Tensor) -> tuple[Tensor]:
        """What enters the blocks."""
        return (self.first(x).to(self.block_dtype),)

    def after(self, x: Tensor) -> Tensor:
        """What is made of what leaves them."""
        found: Tensor = self.last(x.float())
        return found

    def forward(self, x: Tensor) -> Tensor:
        (state,) = self.before(x)
        for block in self.blocks:
            state = block(state)
        return self.after(state)


class _Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv3d(4, 8, 3, padding=1), nn.Conv3d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.two(torch.relu(self.one(x)))
        return found


def tiny_component(convolutions: bool = False) -> Component:
    """A small network with seeded weights and inputs, of linear layers, or of convolutions with observed ranges."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if convolutions:
            made = Component("tiny", _Convolutions().eval(), {"x": torch.randn(1, 4, 6, 6, 6)}, ("y",))
        else:
            made = Component("tiny", TinyNetwork().eval(), {"x": torch.randn(1, 12, 64)}, ("y",), stack="blocks")
    if not convolutions:
        return made
    with observing(made) as observed:
        made.run()
    return replace(made, ranges=observed.ranges())


@dataclass(frozen=True)
class Written:
    """A component that a backend wrote.

    Attributes:
        component: as it was quantized; lowered, record, folder: what is on disk; fp32, quantized: eager outputs.
    """

    component: Component
    lowered: Lowered
    record: ProgramRecord
    folder: Path
    fp32: np.ndarray
    quantized: np.ndarray

    def load(self, backend: ModuleType) -> Program:
        """The program from disk."""
        program: Program = backend.load(self.folder, self.record)
        return program

    def run(self, backend: ModuleType) -> np.ndarray:
        """What the program from disk gives."""
        program = self.load(backend)
        inputs = {name: program.xp.asarray(value.numpy()) for name, value in self.component.inputs.items()}
        return to_numpy(program(inputs))["y"]


def write(backend: ModuleType, options: Any, scheme: str, folder: Path) -> Written:
    """The tiny component through a backend, to disk."""
    made = tiny_component(convolutions=scheme == "int8-static")
    fp32 = made.run()["y"].numpy()
    quantized = backend.quantize(replace(made, module=copy.deepcopy(made.module)), scheme, options)
    expected = quantized.run()["y"].float().numpy()
    lowered = backend.lower(Captured(quantized), options, folder)
    record = program_record(
        "tiny", lowered, specs(made.inputs), specs({"y": torch.from_numpy(expected)}), scheme=scheme
    )
    return Written(quantized, lowered, record, folder, fp32, expected)


def _relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


class BackendContract:
    """Give three fixtures of class scope; every test of the contract runs on them.

    Fixtures:
        backend: the backend's module.
        options: its options for a machine like this one, that quantize layers of 64 features.
        floors: scheme that these options take -> largest relative L2 error of its program, from disk, against the
            quantized component that the program was made of.
    """

    @pytest.fixture(scope="class")
    def backend(self) -> ModuleType:
        raise NotImplementedError("give the backend's module as the fixture `backend`")

    @pytest.fixture(scope="class")
    def options(self) -> Any:
        raise NotImplementedError("give the backend's options as the fixture `options`")

    @pytest.fixture(scope="class")
    def floors(self) -> Mapping[str, float]:
        raise NotImplementedError("give the largest errors by scheme as the fixture `floors`")

    @pytest.fixture(scope="class")
    def plain(self, backend: ModuleType, options: Any, tmp_path_factory: pytest.TempPathFactory) -> Written:
        """The tiny component in float32, on disk."""
        return write(backend, options, "fp32", tmp_path_factory.mktemp("plain"))

    def test_it_is_ready(self, backend: ModuleType, options: Any) -> None:
        assert backend.check(options) == []

    def test_every_scheme_is_taken_or_refused(
        self, backend: ModuleType, options: Any, floors: Mapping[str, float]
    ) -> None:
        assert {*backend.SCHEMES} | {*backend.REFUSED} == {*schemes.SCHEMES}
        assert not {*backend.SCHEMES} & {*backend.REFUSED}
        assert {*floors} == {s for s in backend.SCHEMES if refused_for(backend, s, options) is None}
        assert all(text.strip() for text in (*backend.SCHEMES.values(), *backend.REFUSED.values()))

    def test_its_packages_are_installed(self, backend: ModuleType) -> None:
        assert [name for name in backend.PACKAGES if not importlib.metadata.version(name)] == []

    def test_importing_it_imports_none_of_its_packages(self, backend: ModuleType) -> None:
        code = f"""
import importlib, importlib.metadata, sys
backend = importlib.import_module({backend.__name__!r})
owners = importlib.metadata.packages_distributions()
print({{p for name in {{m.split(".")[0] for m in sys.modules}} for p in owners.get(name, ())}} & {{*backend.PACKAGES}})
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"

    def test_options_forbid_other_keys(self, backend: ModuleType) -> None:
        assert issubclass(backend.Options, BaseModel)
        with pytest.raises(ValidationError):
            backend.Options(no_such_option=1)

    def test_unsupported_operators_say_why(self, backend: ModuleType) -> None:
        assert all("." in name and reason.strip() for name, reason in backend.UNSUPPORTED.items())

    def test_files_are_named_and_there(self, plain: Written) -> None:
        names = plain.lowered.files
        assert names and all((plain.folder / name).is_file() and Path(name).name == name for name in names)
        assert {p.name for p in plain.folder.iterdir()} == {
            *names,
            *(f for e in plain.lowered.extra.values() for f in e.files),
        }

    def test_float32_is_the_network(self, backend: ModuleType, plain: Written, floors: Mapping[str, float]) -> None:
        assert _relative_l2(plain.run(backend), plain.fp32) <= floors["fp32"]

    def test_every_scheme_is_its_own_quantized_model(
        self, backend: ModuleType, options: Any, floors: Mapping[str, float], tmp_path: Path
    ) -> None:
        found, lost = {}, {}
        for scheme in {*floors} - {"fp32"}:
            (tmp_path / scheme).mkdir()
            written = write(backend, options, scheme, tmp_path / scheme)
            found[scheme] = _relative_l2(written.run(backend), written.quantized)
            lost[scheme] = _relative_l2(written.quantized, written.fp32)
        assert all(error <= floors[scheme] for scheme, error in found.items()), found
        assert all(0 < error < 0.3 for error in lost.values()), lost  # each changes the network, and does not break it

    def test_a_record_is_read_back(self, plain: Written) -> None:
        assert ProgramRecord.model_validate_json(plain.record.model_dump_json()) == plain.record

    def test_a_fresh_process_runs_it(self, backend: ModuleType, plain: Written, tmp_path: Path) -> None:
        save_file({k: v.numpy() for k, v in plain.component.inputs.items()}, tmp_path / "inputs.safetensors")
        (tmp_path / "record.json").write_text(plain.record.model_dump_json())
        code = f"""
import importlib, pathlib, sys
import numpy as np
from safetensors.numpy import load_file
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.runtime.pipeline import to_numpy
here = pathlib.Path({str(tmp_path)!r})
record = ProgramRecord.model_validate_json((here / "record.json").read_text())
backend = importlib.import_module({backend.__name__!r})
program = backend.load(pathlib.Path({str(plain.folder)!r}), record)
inputs = {{k: program.xp.asarray(v) for k, v in load_file(here / "inputs.safetensors").items()}}
np.save(here / "y.npy", to_numpy(program(inputs))["y"])
"""
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), plain.run(backend), rtol=1e-5, atol=1e-6)

    def test_same_component_same_bytes(self, backend: ModuleType, options: Any, plain: Written, tmp_path: Path) -> None:
        """Whatever the state of torch's random numbers is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            again = write(backend, options, "fp32", tmp_path)
        same = [(plain.folder / f).read_bytes() == (tmp_path / f).read_bytes() for f in plain.lowered.files]
        assert again.lowered.files == plain.lowered.files and all(same), dict(
            zip(again.lowered.files, same, strict=True)
        )

    def test_a_bad_call_is_refused(self, backend: ModuleType, plain: Written) -> None:
        program = plain.load(backend)
        with pytest.raises(UsageError):
            program({"no_such_input": program.xp.asarray(np.zeros(1, np.float32))})

    def test_a_damaged_program_is_refused(self, backend: ModuleType, plain: Written, tmp_path: Path) -> None:
        for name in plain.lowered.files:
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(VerificationError):
            backend.load(tmp_path, plain.record)
