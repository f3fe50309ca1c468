"""What every family keeps: a host side without torch, declarations that are what the networks take and give."""

from __future__ import annotations

import inspect
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gen3dexport import models
from gen3dexport.assets import kinds
from gen3dexport.documents.host_steps import HostSteps, takes
from gen3dexport.documents.record import Record
from gen3dexport.export import export_module
from gen3dexport.host_steps import interpret
from gen3dexport.models import Family, Request
from gen3dexport.models.declaration import Declaration, State
from gen3dexport.models.weights import WeightFiles
from gen3dexport.observe import Eager


def run_through(
    family: Family, settings: Any, declared: Sequence[Declaration], weights: Path, files: Path
) -> tuple[list[State], list[Eager]]:
    """A golden asset in eager mode: the states before every component and after the last, and the programs that ran."""
    states = [family.begin(settings, Request("golden", 3, stand_in="trained"), files, np)]
    programs = []
    for one in declared:
        programs.append(Eager(one.load(weights)))
        states.append(one.advance(states[-1], programs[-1], np))
    return states, programs


def compare_host_steps(
    family: Family, settings: Any, declared: Sequence[Declaration], weights: Path, files: Path, declares: HostSteps
) -> None:
    """Hold host steps to the family's own code: every value and every asset, bit for bit.

    A value may have axes of 1 before those that the family keeps. One that the family does not keep is read by a later
    step, and is compared through what that makes.

    Args:
        files: the folder `host` of what would be a bundle.
    """
    asked = declares.request
    features = asked.features and np.random.default_rng(5).standard_normal(asked.features, dtype=np.float32)
    request = Request("a tall chair" if asked.prompt else "", 3 if asked.seed else 0, features)
    states, components = [family.begin(settings, request, files, np)], {}
    for one in declared:
        components[one.name] = Eager(one.load(weights))
        states.append(one.advance(states[-1], components[one.name], np))
    expected = {name: value for state in states for name, value in state.items()}
    found = interpret.run(declares, request, files.parent, lambda name, inputs: components[name](inputs))
    read = {value for step in declares.steps for value in takes(step)}
    assert {*found} - read <= {*expected}, "a last value that the family's own states do not have"
    for name in found.keys() & expected.keys():
        value, own = found[name], expected[name]
        assert value.shape[-own.ndim :] == own.shape and value.size == own.size, name
        assert value.dtype == own.dtype and np.array_equal(value.reshape(own.shape), own), name
    made = family.make_assets(states[-1], settings)
    again = interpret.assets(declares, found)
    assert again.keys() == made.keys()
    for kind, asset in made.items():
        arrays, others = kinds.of(kind).arrays(asset), kinds.of(kind).arrays(again[kind])
        assert arrays.keys() == others.keys()
        assert all(np.array_equal(arrays[name], others[name]) for name in arrays), kind


class FamilyContract:
    """Give three fixtures of class scope; every test of the contract runs on them.

    Fixtures:
        name: of the family, as recipes say it.
        weights: folder of a checkpoint with stored weights, small enough that a whole asset takes seconds on a CPU.
        knobs: what a recipe sets for it, as the family's `Knobs` takes it ({} for nothing).
    """

    @pytest.fixture(scope="class")
    def name(self) -> str:
        raise NotImplementedError("give the family's name as the fixture `name`")

    @pytest.fixture(scope="class")
    def weights(self) -> Path:
        raise NotImplementedError("give the folder of a checkpoint as the fixture `weights`")

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        raise NotImplementedError("give the knobs as the fixture `knobs`")

    @pytest.fixture(scope="class")
    def family(self, name: str) -> Family:
        """The family's package."""
        return models.find(name)

    @pytest.fixture(scope="class")
    def settings(self, family: Family, weights: Path, knobs: dict[str, Any]) -> Any:
        """Settings of the checkpoint."""
        return family.read_settings(weights, family.Knobs(**knobs), False)

    @pytest.fixture(scope="class")
    def declared(self, family: Family, settings: Any) -> tuple[Declaration, ...]:
        """The components."""
        return family.components(settings)

    @pytest.fixture(scope="class")
    def files(self, declared: tuple[Declaration, ...], weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The host files of every component in a folder, as in a bundle."""
        folder = tmp_path_factory.mktemp("bundle") / "host"
        folder.mkdir()
        for one in declared:
            for file, path in one.host_files(weights).items():
                (folder / file).write_bytes(path.read_bytes())
        return folder

    @pytest.fixture(scope="class")
    def run(
        self, family: Family, settings: Any, declared: tuple[Declaration, ...], weights: Path, files: Path
    ) -> tuple[list[State], list[Eager]]:
        """The states before every component and after the last, and the programs that ran."""
        return run_through(family, settings, declared, weights, files)

    def test_the_host_side_imports_no_torch(self, name: str) -> None:
        code = f"import sys; from gen3dexport import models; models.find({name!r}); print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_knobs_are_a_model_of_their_own(self, family: Family) -> None:
        assert issubclass(family.Knobs, Record) and isinstance(family.Knobs.WEIGHTS, WeightFiles)
        family.Knobs()  # a recipe may set nothing
        with pytest.raises(ValidationError):
            family.Knobs(no_such_knob=1)

    def test_the_marker_is_in_the_checkpoint(self, family: Family, weights: Path) -> None:
        assert (weights / family.Knobs.WEIGHTS.marker).is_file()

    def test_settings_go_through_a_manifest(self, family: Family, settings: Any) -> None:
        assert isinstance(settings, Record)
        assert family.Settings(**json.loads(json.dumps(settings.model_dump(mode="json")))) == settings
        made: tuple[str, ...] = family.Settings(**settings.model_dump()).asset_kinds
        assert made and {*made} <= {*kinds.names()}

    def test_names_are_unique(self, declared: tuple[Declaration, ...], settings: Any) -> None:
        found = [one.name for one in declared]
        assert found and len(found) == len({*found}) and not {*found} & {*settings.left_out}

    def test_shapes_are_what_is_declared(self, declared: tuple[Declaration, ...], weights: Path) -> None:
        for one in declared:
            component = one.load(weights, "shapes")
            assert (component.name, component.outputs) == (one.name, one.outputs)
            assert tuple(component.inputs) == one.inputs
            assert all(t.is_meta for t in (*component.module.parameters(), *component.inputs.values()))
            parameters = inspect.signature(component.module.forward).parameters
            assert len(component.inputs) <= len(parameters)
            exported = export_module(component.module, tuple(component.inputs.values()), one.name)
            assert len(exported.graph.output_node().args[0]) == len(one.outputs)

    def test_random_weights_are_seeded(self, declared: tuple[Declaration, ...], weights: Path) -> None:
        one = declared[-1]
        first, second = (dict(one.load(weights, "random").module.named_parameters()) for _ in range(2))
        assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)

    def test_a_request_begins_the_same_twice(self, family: Family, settings: Any, files: Path) -> None:
        first, second, other = (
            family.begin(settings, Request("golden", seed, stand_in="trained"), files, np) for seed in (3, 3, 4)
        )
        assert first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)
        assert any(not np.array_equal(first[k], other[k]) for k in first), "the seed changes nothing"

    def test_calls_are_what_is_declared(
        self, declared: tuple[Declaration, ...], run: tuple[list[State], list[Eager]]
    ) -> None:
        for one, program in zip(declared, run[1], strict=True):
            assert program.calls, f"{one.name} was not called by its step"
            for inputs, outputs in program.calls:
                assert {*inputs} == {*one.inputs} and {*outputs} == {*one.outputs}

    def test_shapes_of_the_plan_are_those_of_a_run(
        self, declared: tuple[Declaration, ...], weights: Path, run: tuple[list[State], list[Eager]]
    ) -> None:
        for one, program in zip(declared, run[1], strict=True):
            planned = {k: tuple(v.shape) for k, v in one.load(weights, "shapes").inputs.items()}
            assert planned == {k: program.calls[0][0][k].shape for k in one.inputs}

    def test_states_are_arrays(self, run: tuple[list[State], list[Eager]]) -> None:
        """A build keeps states on disk between components."""
        for state in run[0]:
            assert all(isinstance(value, np.ndarray) for value in state.values()), {
                k: type(v) for k, v in state.items()
            }

    def test_rows_are_within_the_outputs(
        self, declared: tuple[Declaration, ...], run: tuple[list[State], list[Eager]]
    ) -> None:
        for one, program, after in zip(declared, run[1], run[0][1:], strict=True):
            rows = one.rows(after)
            assert rows is None or all(0 < rows <= value.shape[1] for value in program.calls[0][1].values())

    def test_loops_are_declared_on_both_sides(
        self, declared: tuple[Declaration, ...], run: tuple[list[State], list[Eager]]
    ) -> None:
        for one, program, (before, after) in zip(declared, run[1], itertools.pairwise(run[0]), strict=True):
            loop = program.component.loop
            if loop is None:
                continue
            assert one.loop is not None
            inputs = one.loop.inputs(before, np)
            assert {*inputs} == {*loop.outer({name: name for name in one.inputs})}
            assert one.loop.output(after).shape == program.calls[0][0][loop.state].shape

    def test_assets_are_what_is_said(self, family: Family, settings: Any, run: tuple[list[State], list[Eager]]) -> None:
        made = family.make_assets(run[0][-1], settings)
        assert tuple(made) == settings.asset_kinds
        for kind, asset in made.items():
            assert kind == kinds.of(asset).KIND
            again = kinds.of(kind).from_arrays(kinds.of(kind).arrays(asset))
            scores = kinds.of(kind).scores(again, asset)
            assert scores and scores[0].value == pytest.approx(1.0, abs=0.02)

    def test_host_steps_are_the_pipeline(
        self, family: Family, settings: Any, declared: tuple[Declaration, ...], weights: Path, files: Path
    ) -> None:
        """What a family declares for embedders makes what its own code makes."""
        if (declares := models.host_steps(family, settings)) is None:
            pytest.skip("the family declares no host steps for these settings")
        compare_host_steps(family, settings, declared, weights, files, declares)
