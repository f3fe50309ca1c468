"""The trade-off benchmark: its rows, its memory and its picture; the measurements themselves are the benchmark's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import tradeoff
import tradeoff_memory
import tradeoff_plot
import tradeoff_variants as variants

from gen3dexport.backends import find
from gen3dexport.models.component import Component
from gen3dexport.models.trellis.networks.structure import SparseStructureFlow
from gen3dexport.plan import read_recipe, read_target
from gen3dexport.search.trials import stored_bytes


def flow() -> Component:
    torch.manual_seed(0)
    module = SparseStructureFlow(
        resolution=4, in_channels=8, model_channels=128, cond_channels=64, out_channels=8, num_blocks=2,
        num_heads=2, mlp_ratio=2.0, patch_size=2,
    ).eval()  # fmt: skip
    inputs = {"x": torch.randn(1, 8, 4, 4, 4), "t": torch.tensor([500.0]), "cond": torch.randn(1, 5, 64)}
    return Component("flow", module, inputs, ("v",), stack="blocks")


def row(name: str, kind: str, **facts: Any) -> dict[str, Any]:
    memory = {"basis": "measured", "bytes": facts.pop("bytes", 2_000_000)}
    shared = {"variant": name, "kind_of": kind, "basis": "measured", "running_memory": memory}
    return shared | {"p50_ms": 5.0, "loss": 0.01, "relative_l2": 0.01} | facts


@pytest.mark.parametrize("rows", [variants.PIPELINES, variants.BLOCKS])
def test_variants_are_distinct_and_their_targets_take_them(rows: list[variants.Variant]) -> None:
    names = [v.name for v in rows]
    assert len(set(names)) == len(names)
    assert rows[0] == variants.Variant("eager fp32")  # the reference
    for variant in rows:
        if variant.target:
            target = read_target("cuda-sm90" if variant.target == "cuda" else variant.target)
            assert variant.scheme in find(target.backend).SCHEMES
            read_recipe("trellis-mini", target, variant.assignments)


def test_autocast_is_a_variant_too() -> None:
    made = flow()
    expected = made.run()["v"]
    module = variants.in_weights(made, variants.Variant("eager", "autocast"))
    with torch.no_grad():
        found = module(*made.inputs.values()).float()
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize("weights", ["bf16", *variants.TORCHAO])
def test_weights_are_quantized_in_the_blocks(weights: variants.Weights) -> None:
    made, plain = flow(), flow()
    module = variants.in_weights(made, variants.Variant("eager", weights))
    assert stored_bytes(module) < 0.75 * stored_bytes(plain.module)
    with torch.no_grad():
        found = module(*made.inputs.values()).float()
    expected = plain.run()["v"]
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.2


def test_on_a_gpu_int4_is_packed_for_its_kernels() -> None:
    config: Any = variants._config("int4-weight", on_gpu=True)
    assert config.int4_packing_format == "tile_packed_to_4d"


def test_the_reference_is_always_measured_and_other_devices_say_why_not() -> None:
    chosen = tradeoff.measured_here(variants.PIPELINES, "cpu", ["executorch bundle"])
    assert [v.name for v in chosen] == ["eager fp32", "executorch bundle"]
    missing = tradeoff.others(variants.PIPELINES, "cpu")
    assert {r["variant"] for r in missing} == {v.name for v in variants.PIPELINES if v.device == "cuda"}
    assert {(r["basis"], r["reason"]) for r in missing} == {("unmeasured", "no GPU")}


HELD = """
import json, numpy as np, tradeoff_memory
memory = tradeoff_memory.Memory("cpu")
held = np.ones(40_000_000, np.uint8)
spare = np.ones(80_000_000, np.uint8)
del spare  # large blocks go back to the system at once
call = tradeoff_memory.Remembered(lambda: {"held": held[:1]}, memory)
call(), call()
print(json.dumps(call.facts()))
"""


def test_memory_counts_what_is_held_and_what_was() -> None:
    """In a process of its own: one that did other work first has freed pages to give out."""
    folder = Path(tradeoff_memory.__file__).parent
    done = subprocess.run([sys.executable, "-c", HELD], cwd=folder, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert 110e6 < facts["peak_memory"]["bytes"] < 140e6
    assert 35e6 < facts["running_memory"]["bytes"] < 60e6


def test_the_picture_shows_measured_rows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    missing = {"variant": "cuda", "kind_of": "eager", "basis": "unmeasured", "reason": "no GPU"}
    rows = [row("eager fp32", "eager", loss=0.0), row("bundle", "bundle", p50_ms=2.0), missing]
    tradeoff_plot.draw({"pipeline": rows, "blocks": [row("eager fp32", "eager", relative_l2=0.0)]}, tmp_path / "a.png")
    tradeoff_plot.draw({"pipeline": rows}, tmp_path / "b.png")
    sizes = [Image.open(tmp_path / name).size for name in ("a.png", "b.png")]
    assert sizes[0][0] == sizes[1][0] and sizes[0][1] > 1.8 * sizes[1][1]
