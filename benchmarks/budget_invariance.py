"""Padding changes nothing: structured-latent networks built for two voxel budgets, on the same voxels.

    python benchmarks/budget_invariance.py [--target eager --target executorch ...] [--voxels 100]

Every network (tiny, random weights) is lowered at both budgets, loaded from disk, and run on the same random voxels;
the largest difference of real rows, relative to the output's largest value, is printed and written to
`benchmarks/results/budget_invariance.json`. Rows of padding hold garbage at the larger budget.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import result_file
from rich.console import Console
from rich.table import Table

RESULT = Path(__file__).parent / "results" / "budget_invariance.json"
NETWORKS = ("slat_flow_tiny", "slat_dec_gs_tiny", "slat_dec_rf_tiny", "slat_dec_mesh_tiny", "slat_enc_tiny")


def component(name: str, coords: np.ndarray, tokens: int, coarse: int, garbage: float) -> Any:
    """A network with weights by its name alone, and inputs for `coords` at a budget."""
    import torch

    from gen3dexport.models.component import Component
    from gen3dexport.models.trellis.host import configs
    from gen3dexport.models.trellis.host.slat_inputs import flow_tables, mesh_inputs, window_inputs
    from gen3dexport.models.trellis.host.voxel_budget import Budget
    from gen3dexport.models.trellis.networks import loading
    from gen3dexport.models.trellis.networks.mesh_decoder import SLatMeshDecoder
    from gen3dexport.models.trellis.networks.slat_flow import SLatFlow
    from gen3dexport.models.trellis.networks.sparse_layers import fold_convolutions

    module = loading.random_network(*configs.NETWORKS[name], seed=1)
    fold_convolutions(module)
    channels = 24 if "enc" in name else 8
    feats = np.full((1, tokens, channels), garbage, np.float32)
    feats[0, : len(coords)] = np.random.default_rng(1).standard_normal((len(coords), channels))
    inputs = {"x" if isinstance(module, SLatFlow) else "feats": torch.from_numpy(feats)}
    if isinstance(module, SLatFlow):
        context = np.random.default_rng(2).standard_normal((1, 5, 48), dtype=np.float32)
        inputs |= {"t": torch.tensor([300.0]), "cond": torch.from_numpy(context)}
        tables = flow_tables(coords, Budget(tokens, coarse))
    elif isinstance(module, SLatMeshDecoder):
        tables = mesh_inputs(coords, tokens, module.window_size)
    else:
        tables = window_inputs(coords, tokens, module.window_size)
    inputs |= {key: torch.from_numpy(value) for key, value in tables.items()}
    outputs = ("mean", "logvar") if "enc" in name else ("out",)
    return Component(name, module.eval(), inputs, outputs, getattr(module, "stack", None))


def rows(name: str, target: str, coords: np.ndarray, tokens: int, coarse: int, garbage: float) -> list[np.ndarray]:
    """Real rows of every output, by the program from disk."""
    from gen3dexport.plan import read_target
    from gen3dexport.runtime.pipeline import to_numpy
    from gen3dexport.validation.one_component import through

    network = component(name, coords, tokens, coarse, garbage)
    inputs = {key: value.numpy() for key, value in network.inputs.items()}
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as folder:
        _, program = through(network, read_target(target), "fp32", Path(folder))
        found = to_numpy(program({k: program.xp.asarray(v) for k, v in inputs.items()}))
    count = len(coords) * (64 if "mesh" in name else 1)
    return [value[0, :count] for value in found.values()]


def main() -> None:
    """Lower, run and compare; print and write the table."""
    from gen3dexport.models.trellis.host.voxel_budget import cells

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="default: eager, executorch and cpu-aoti")
    parser.add_argument("--voxels", type=int, default=100)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    coords = np.stack(np.unravel_index(rng.choice(16**3, arguments.voxels, replace=False), (16,) * 3), -1)
    coords = coords.astype(np.int32)
    budgets = (len(coords), cells(coords)), (2 * len(coords) + 56, cells(coords) + 100)
    table, kept = Table("network", "target", "budgets", "largest relative difference"), []
    for target in arguments.target or ["eager", "executorch", "cpu-aoti"]:
        for name in NETWORKS:
            small, large = (rows(name, target, coords, *b, garbage=g) for b, g in zip(budgets, (0, 7), strict=True))
            worst = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(small, large, strict=True))
            kept.append({"network": name, "target": target, "budgets": budgets, "relative": worst})
            table.add_row(name, target, f"{budgets[0][0]}, {budgets[1][0]}", f"{worst:.1e}")
            print(f"{target} {name}: {worst:.1e}", flush=True)
    Console(width=140).print(table)
    result_file.write(RESULT, __file__, {"voxels": arguments.voxels, "rows": kept})


if __name__ == "__main__":
    main()
