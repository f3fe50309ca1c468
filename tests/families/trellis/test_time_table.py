"""The timestep as a table of the sampler's steps: the same network at those times, without the layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.models.component import Component
from gen3dexport.models.flow_sampler import Schedule
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.time_table import tabulate_time
from gen3dexport.networks.step_weights import StepWeights
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]

GOLDEN = Path(__file__).parents[2] / "golden" / "trellis"
TIMES = tuple(1000 * t for t in Schedule(8, 3.0, (0.5, 1.0), 3.0).times[:-1])


def flows(name: str) -> tuple[Component, Component]:
    """A golden flow, and the same with its table."""
    component = read_golden(GOLDEN / name).component
    module = tabulate_time(copy.deepcopy(component.module), TIMES)
    return component, Component(name, module, component.inputs, component.outputs)


@pytest.mark.parametrize("name", ["ss_flow", "slat_flow"])
def test_at_its_steps_the_network_is_the_same(name: str) -> None:
    whole, tabled = flows(name)
    assert tabled.parameters < 0.9 * whole.parameters
    for time in TIMES:
        inputs = {**whole.inputs, "t": torch.tensor([time])}
        torch.testing.assert_close(tabled.run(inputs)["v"], whole.run(inputs)["v"], rtol=1e-5, atol=1e-5)


def test_weights_are_exact_at_the_steps_and_interpolate_between_them() -> None:
    weights = StepWeights(torch.tensor(TIMES))
    assert torch.equal(weights(torch.tensor(TIMES)), torch.eye(len(TIMES)))
    between = weights(torch.tensor([0.25 * TIMES[2] + 0.75 * TIMES[3]]))[0]
    torch.testing.assert_close(between, torch.tensor([0, 0, 0.25, 0.75, 0, 0, 0, 0]), rtol=1e-5, atol=1e-6)


def test_one_step_alone() -> None:
    assert StepWeights(torch.tensor([1000.0]))(torch.tensor([1000.0])).tolist() == [[1.0]]


def test_a_table_that_is_no_smaller_is_not_made() -> None:
    module = read_golden(GOLDEN / "ss_flow").component.module
    before = list(module.state_dict())
    tabulate_time(module, [float(1000 - i) for i in range(500)])
    assert list(module.state_dict()) == before


def test_a_bundle_makes_the_same_asset(tiny_recipe: Path, fast_target: Path, tmp_path: Path, cli: Cli) -> None:
    for name, value in (("table", "true"), ("layers", "false")):
        choice = f"knobs.sampler.tabulate_time={value}"
        code, _, error = cli(
            "build", tiny_recipe, "-t", fast_target, choice, "--skip-validation", "-o", tmp_path / name
        )
        assert code == 0, error
    table, layers = (read_manifest(tmp_path / name).parameters["flow"] for name in ("table", "layers"))
    assert table < 0.7 * layers
    features = np.random.default_rng(7).standard_normal((11, 48), dtype=np.float32)
    meshes = [load(tmp_path / name).generate(features=features) for name in ("table", "layers")]
    np.testing.assert_allclose(meshes[0].vertices, meshes[1].vertices, atol=1e-4)
