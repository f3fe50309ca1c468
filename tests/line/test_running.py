"""Errors inside a call of a runtime: one class, the component and the runtime named, whatever the runtime raised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gen3dexport import backends
from gen3dexport.backends.eager import EagerProgram
from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.bundle.program import ProgramRecord, TensorSpec, program_record, specs
from gen3dexport.errors import ProgramError, UsageError, VerificationError
from gen3dexport.export import Captured
from gen3dexport.models.component import Component
from gen3dexport.runtime import load
from gen3dexport.runtime.pipeline import LoadedBundle

RUNTIMES = {"eager": "torch", "onnx": "onnxruntime"}


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_program_that_fails_in_its_runtime(name: str, tmp_path: Path) -> None:
    """The record says a wider input than the program has, so the runtime is the first to see that it does not fit."""
    if name == "onnx" and find_spec("onnxruntime") is None:
        pytest.skip("needs the extra: pip install 'gen3dexport[onnx]'")
    backend = backends.find(name)
    component = Component("decoder", nn.Linear(8, 4).eval(), {"x": torch.zeros(1, 8)}, ("y",))
    lowered = backend.lower(Captured(component), backend.Options(), tmp_path)
    record = program_record("decoder", lowered, specs(component.inputs), specs(component.run()), scheme="fp32")
    wider: ProgramRecord = record.model_copy(update={"inputs": {"x": TensorSpec(shape=(1, 9), dtype="float32")}})
    program = backend.load(tmp_path, wider)
    with pytest.raises(UsageError, match="x is float32"):
        program({"x": np.zeros((1, 8), np.float32)})
    with pytest.raises(
        ProgramError, match=rf"component decoder: {RUNTIMES[name]} failed on it .*build it again"
    ) as error:
        program({"x": np.zeros((1, 9), np.float32)})
    assert error.value.exit_code == 7
    assert error.value.__cause__ is not None


def test_a_bundle_names_itself_and_its_target(tiny_bundle: Path) -> None:
    loaded = load(tiny_bundle)
    program = loaded.program(loaded.record("decoder"))
    assert isinstance(program, EagerProgram)
    loaded.programs["decoder"] = replace(program, module=nn.Linear(3, 3))  # another network than the record's
    shape = loaded.settings.condition
    with pytest.raises(ProgramError, match=rf"{tiny_bundle} \(target eager-fast\): component decoder: torch failed"):
        loaded.generate(features=np.zeros(shape, np.float32))


def test_programs_are_held_to_the_family_s_names_in_any_order(tiny_bundle: Path) -> None:
    """JAX sorts the inputs and outputs of a program."""
    manifest = read_manifest(tiny_bundle)

    def loaded(change: Callable[[Mapping[str, TensorSpec]], Mapping[str, TensorSpec]]) -> LoadedBundle:
        programs = tuple(p.model_copy(update={"inputs": change(p.inputs)}) for p in manifest.programs)
        return LoadedBundle(tiny_bundle, manifest.model_copy(update={"programs": programs}))

    assert any(len(program.inputs) > 1 for program in manifest.programs)
    assert tuple(loaded(lambda inputs: dict(reversed(inputs.items()))).declared) == manifest.components
    with pytest.raises(VerificationError, match=r"not what family .*: inputs "):
        _ = loaded(lambda inputs: {f"{name}2": spec for name, spec in inputs.items()}).declared


def test_programs_that_are_not_kept_are_dropped_one_by_one(tiny_bundle: Path) -> None:
    features = np.random.default_rng(8).standard_normal((11, 48), dtype=np.float32)
    kept, lean = load(tiny_bundle), load(tiny_bundle)
    lean.keep_programs = False
    expected = kept.generate(seed=2, features=features)
    held: list[int] = []
    original = lean.program

    def program(record: ProgramRecord) -> backends.Program:
        found = original(record)
        held.append(len(lean.programs))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lean, "program", program)
        for _ in range(2):
            made = lean.generate(seed=2, features=features)
            assert np.array_equal(made.vertices, expected.vertices) and not lean.programs
    assert len(kept.programs) > 1 and max(held) == 1 and kept.load_seconds > 0


def test_openmp_threads_sleep_in_a_process_that_loads_a_bundle(tiny_bundle: Path) -> None:
    code = (
        "import os, sys; from gen3dexport.runtime import load; before = 'torch' in sys.modules; "
        "load(sys.argv[1]).load_programs(); print(before, 'torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", code, str(tiny_bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False True passive\n"), done.stderr
