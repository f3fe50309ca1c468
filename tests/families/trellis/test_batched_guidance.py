"""Both branches of a guided step in one call: the same asset, half the calls, a flow of batch two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch

from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.errors import UsageError
from gen3dexport.models.trellis.host.settings import Sampling
from gen3dexport.models.trellis.host.structure_stage import run_sampler
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]

GOLDEN = Path(__file__).parents[2] / "golden" / "trellis"


def _sampling(guidance: str, interval: tuple[float, float] = (0.5, 0.9)) -> Sampling:
    knobs = {"steps": 5, "guidance_scale": 2.0, "guidance_interval": interval, "rescale_t": 3.0}
    return Sampling.model_validate({**knobs, "guidance": guidance})


@pytest.mark.parametrize("name", ["ss_flow", "slat_flow"])
def test_one_call_gives_what_two_do(name: str) -> None:
    """For both flows, with guided steps and steps without guidance at both ends."""
    component = read_golden(GOLDEN / name).component
    arrays = {
        key: value[:1].numpy() if key in ("x", "cond") else value.numpy() for key, value in component.inputs.items()
    }
    rng = np.random.default_rng(0)
    state = {"cond": arrays["cond"], "neg_cond": rng.standard_normal(arrays["cond"].shape, dtype=np.float32)}
    tables = {key: value for key, value in arrays.items() if key not in ("x", "t", "cond")}
    batches: dict[str, list[int]] = {"sequential": [], "batched": []}
    samples = []
    for guidance, called in batches.items():

        def program(inputs: dict[str, np.ndarray], called: list[int] = called) -> dict[str, np.ndarray]:
            called.append(len(inputs["x"]))
            assert len(inputs["t"]) == len(inputs["cond"]) == len(inputs["x"])
            given = {key: torch.from_numpy(np.ascontiguousarray(inputs[key])) for key in component.inputs}
            return {"v": component.run(given)["v"].numpy()}

        samples.append(run_sampler(program, arrays["x"], state, _sampling(guidance), xp, tables))
    np.testing.assert_allclose(samples[1], samples[0], atol=2e-5)
    assert batches["batched"] == [2] * 5
    assert len(batches["sequential"]) == 5 + sum(w != 1 for w in _sampling("batched").schedule.weights) == 7


def test_a_bundle_with_batched_guidance(
    tiny_recipe: Path, tiny_bundle: Path, fast_target: Path, tmp_path: Path, cli: Cli
) -> None:
    code, _, error = cli(
        "build", tiny_recipe, "knobs.sampler.guidance=batched", "-t", fast_target, "-o", tmp_path / "b"
    )
    assert code == 0, error
    manifest = read_manifest(tmp_path / "b")
    assert manifest.component("flow").inputs["x"].shape[0] == manifest.component("flow").outputs["v"].shape[0] == 2
    assert manifest.calls["flow"] == 4  # a call for a step
    features = np.random.default_rng(7).standard_normal((11, 48), dtype=np.float32)
    meshes = [load(bundle).generate(features=features) for bundle in (tmp_path / "b", tiny_bundle)]
    np.testing.assert_allclose(meshes[0].vertices, meshes[1].vertices, atol=1e-4)


@pytest.mark.usefixtures("exported_once")
def test_a_plan_has_the_batch(tiny_recipe: Path, cli: Cli) -> None:
    code, out, error = cli("plan", tiny_recipe, "knobs.sampler.guidance=batched", "-t", "eager", "--json")
    assert code == 0, error
    inputs = json.loads(out)["components"][0]["inputs"]
    assert [inputs[name][0] for name in ("x", "t", "cond")] == [2, 2, 2]


def test_tpu_takes_none(tiny_recipe: Path, cli: Cli) -> None:
    code, _, error = cli("plan", tiny_recipe, "knobs.sampler.guidance=batched", "-t", "tpu")
    assert code == UsageError.exit_code
    assert "knobs.sampler.guidance: batched is refused: the sampler is one program" in error
