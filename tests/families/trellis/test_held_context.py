"""Keys and values of the condition as a component of their own: the same flow, the same asset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.golden_sets import read_golden
from gen3dexport.models.trellis.networks.held_context import FlowContext, hold_context
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]

GOLDEN = Path(__file__).parents[2] / "golden" / "trellis"


def _halves(name: str) -> tuple[Component, FlowContext, torch.nn.Module]:
    """A golden flow, and its two halves."""
    module = read_golden(GOLDEN / name).component.module
    return read_golden(GOLDEN / name).component, FlowContext(module), hold_context(module)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["ss_flow", "ss_flow_text", "slat_flow"])
def test_the_halves_are_the_flow(name: str, dtype: torch.dtype) -> None:
    """`ss_flow_text` has RMS norms of keys in its cross-attentions."""
    whole, context, flow = _halves(name)
    inputs = dict(whole.inputs)
    for module in (whole.module, context, flow):
        module.set_block_dtype(dtype)  # type: ignore[operator]
    cond = inputs.pop("cond")
    x, t, *tables = inputs.values()
    with torch.no_grad():
        held = context(cond)
        assert held.dtype == torch.float32
        assert held.shape[:4] == (len(context.blocks), 2, len(cond), cond.shape[1])
        found = flow(x, t, held, *tables)
    expected = whole.run()["v"]
    torch.testing.assert_close(found, expected, atol=1e-6 if dtype == torch.float32 else 1e-2, rtol=0)
    names = {key for half in (context, flow) for key, _ in half.named_parameters()}
    assert sum(p.numel() for half in (context, flow) for p in half.parameters()) == whole.parameters
    assert not any("to_kv" in key for key, _ in flow.named_parameters()) and any("to_kv" in key for key in names)


@pytest.mark.parametrize("guidance", ["sequential", "batched"])
def test_a_bundle_makes_the_same_asset(
    guidance: str, tiny_recipe: Path, tiny_bundle: Path, fast_target: Path, tmp_path: Path, cli: Cli
) -> None:
    build = ("build", tiny_recipe, "-t", fast_target, "--skip-validation")
    held = ("knobs.sampler.cache_context=true", f"knobs.sampler.guidance={guidance}")
    code, _, error = cli(*build, *held, "-o", tmp_path / "held")
    assert code == 0, error
    manifest = read_manifest(tmp_path / "held")
    assert manifest.components == ("flow_context", "flow", "decoder")
    batch = 2 if guidance == "batched" else 1
    assert manifest.component("flow").inputs["context"].shape == (2, 2, batch, 11, 64)
    assert manifest.calls["flow_context"] == 2
    assert sum(manifest.parameters.values()) == sum(read_manifest(tiny_bundle).parameters.values())
    features = np.random.default_rng(7).standard_normal((11, 48), dtype=np.float32)
    meshes = [load(bundle).generate(features=features) for bundle in (tmp_path / "held", tiny_bundle)]
    np.testing.assert_allclose(meshes[0].vertices, meshes[1].vertices, atol=1e-4)
    for calls, cached in ((2, 0), (0, 2)):  # the cache of conditions keeps them too
        loaded = load(tmp_path / "held", conditions=tmp_path / "cache")
        again = loaded.generate(features=features)
        assert (loaded.encoders["flow_context"].calls, loaded.encoders["flow_context"].cached) == (calls, cached)
        np.testing.assert_array_equal(again.vertices, meshes[0].vertices)


def test_a_plan_has_both_halves(tiny_recipe: Path, cli: Cli) -> None:
    code, out, error = cli("plan", tiny_recipe, "knobs.sampler.cache_context=true", "-t", "eager", "--json")
    assert code == 0, error
    rows = {row["name"]: row for row in json.loads(out)["components"]}
    assert list(rows) == ["flow_context", "flow", "decoder"] and rows["flow"]["inputs"]["context"] == [2, 2, 1, 11, 64]
    overrides = (
        "knobs.sampler.cache_context=true",
        "knobs.slat_sampler.cache_context=true",
        "knobs.sampler.tabulate_time=false",
    )
    target = read_target("eager")
    plan = make_plan(read_recipe("trellis-text-base", target, [*overrides, "knobs.encoder=none"]), target)
    assert list(plan.declared)[:5] == ["flow_context", "flow", "decoder", "slat_flow_context", "slat_flow"]
    names = ("flow", "flow_context", "slat_flow")
    flow, context, slat_flow = (plan.declared[name].load(plan.weights, "shapes") for name in names)
    assert list(slat_flow.inputs["context"].shape) == [12, 2, 1, 77, 768]
    assert flow.parameters + context.parameters == 156_726_536
