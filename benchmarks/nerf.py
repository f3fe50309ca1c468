"""What ways, samples and sizes of a radiance field's pictures cost, and what they gain: `python benchmarks/nerf.py`.

nerf-mini on held-out cameras of training/nerf_mini, in eager mode on one thread: CPU seconds of a picture, those of the
occupancy grid (once for a path), points at which a network is asked, and PSNR against traced pictures of that size.
Writes `benchmarks/results/nerf.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import result_file
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from gen3dexport.models import Request
from gen3dexport.models import instant_ngp_nerf as family
from gen3dexport.models.instant_ngp_nerf.host import pipeline
from gen3dexport.observe import run_eager
from training.nerf_mini.views import FIELD, held_out, pictures

RESULT = Path(__file__).parent / "results" / "nerf.json"
WEIGHTS = Path(__file__).parents[1] / "weights" / "nerf-mini"
_MARCH = {"render": "march", "chunk": 8192}
WAYS: dict[str, dict[str, Any]] = {
    "rays": {"rays": 4096},
    "masked": {"rays": 4096, "occupancy": True, "chunk": 8192},
    "march": _MARCH,
    "march, occupancy": {**_MARCH, "occupancy": True},
}
VARIANTS = [
    *[("rays", samples, 128) for samples in (12, 24, 48)],
    ("rays", 24, 64),
    *[("masked", samples, 128) for samples in (24, 48)],
    *[("march", samples, 128) for samples in (64, 128)],
    *[("march, occupancy", samples, 128) for samples in (64, 128, 256)],
    *[("march, occupancy", 128, edge) for edge in (64, 256)],
]


def drawn(way: str, samples: int, edge: int, poses: np.ndarray) -> tuple[dict[str, Any], float, float]:
    """The pipeline's state after it made pictures of cameras [N, 4, 4]; CPU seconds of a picture and of the grid."""
    knobs = family.Knobs(**WAYS[way], samples=samples, resolution=edge)
    settings = family.read_settings(WEIGHTS, knobs, False)
    request = Request(inputs={"poses": poses, "fov": np.full(len(poses), FIELD)})
    state, grid, seconds = family.begin(settings, request, WEIGHTS, xp), 0.0, 0.0
    for one in family.components(settings):
        component = one.load(WEIGHTS)

        def program(inputs: Any, component: Any = component) -> Any:
            return run_eager(component, inputs)

        start = time.process_time()
        if settings.march is not None and settings.march.occupancy:
            state |= {"occupied": pipeline.occupied(settings, program, xp)}
            grid, start = time.process_time() - start, time.process_time()
        state = one.advance(state, program, xp)
        seconds = time.process_time() - start
        grid = seconds if settings.masked and one.name == "field" else grid
    own = settings.model.num_proposal_samples_per_ray if way == "rays" else ()
    return {"points": samples + sum(own), **state}, seconds / len(poses), grid


def measured(way: str, samples: int, edge: int, views: int) -> dict[str, Any]:
    """One row."""
    poses = held_out()[:views]
    state, seconds, grid = drawn(way, samples, edge, poses)
    points = int(state["asked"]) / (views * edge * edge) if "asked" in state else state["points"]
    wanted = pictures(poses, edge)[2].reshape(views, edge, edge, 3)
    errors = ((state["pictures"] / 255.0 - wanted) ** 2).mean((1, 2, 3))
    row = {"way": way, "samples": samples, "edge": edge, "views": views, "points": points, "grid_seconds": grid}
    return row | {"seconds": seconds, "psnr_db": float(np.mean(-10 * np.log10(errors)))}


def main() -> None:
    """Measure, write and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=2, help="pictures of every variant")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(*variant, given.views) for variant in VARIANTS]
    result_file.write(RESULT, __file__, {"rows": rows})
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
