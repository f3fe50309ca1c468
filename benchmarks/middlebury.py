"""Accuracy against a truth that nobody here made: the Middlebury stereo pair that comes with scikit-image.

    python benchmarks/middlebury.py [--target eager --target executorch ...]

XFeat's keypoints of both pictures, matched in three ways, against the true disparity; and depth that knows nothing of
the picture against the true depth, after the alignments that depth models are judged with. `--target` lowers XFeat and
LighterGlue for a target, compares each with the eager network on the pipeline's own inputs, and runs the pipeline with
both from disk. `benchmarks/results/middlebury.json` has the rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import result_file
import torch
from rich.console import Console
from rich.table import Table

RESULT = Path(__file__).parent / "results" / "middlebury.json"
Arrays = dict[str, np.ndarray]
STRICT = 0.82  # least cosine of the stricter neighbours


def pipeline_state(target: str, scratch: Path) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """The settings of the recipe `xfeat`, the state after its pipeline ran on a target, and a row for each program."""
    from gen3dexport.models import Request, find
    from gen3dexport.observe import Eager
    from gen3dexport.plan import make_plan, read_recipe, read_target
    from gen3dexport.validation.one_component import through

    eager = read_target("eager")
    plan = make_plan(read_recipe("xfeat", eager), eager)
    state = find("xfeat").begin(plan.settings, Request("motorcycle", stand_in="trained"), scratch, xp)
    rows = []
    for declared in plan.declared.values():
        component = declared.load(plan.weights)
        if target == "eager":
            program: Any = Eager(component)
        else:
            seen: dict[str, Any] = {}
            declared.advance(state, _noting(Eager(component), seen), xp)
            component = component.with_inputs({k: torch.from_numpy(np.asarray(v)) for k, v in seen.items()})
            expected = {name: value.numpy() for name, value in component.run().items()}
            start = time.perf_counter()
            record, lowered = through(component, read_target(target), "fp32", scratch)
            seconds, program = time.perf_counter() - start, _numpy(lowered)
            found = program({name: value.numpy() for name, value in component.inputs.items()})
            rows.append(
                {
                    "target": target,
                    "program": component.name,
                    "bytes": sum((scratch / file).stat().st_size for file in record.files),
                    "build_seconds": seconds,
                    "relative": max(
                        float(np.abs(found[key] - value).max() / np.abs(value).max()) for key, value in expected.items()
                    ),
                }
            )
        state = declared.advance(state, program, xp)
    return plan.settings, state, rows


def _noting(program: Any, seen: dict[str, Any]) -> Any:
    def call(inputs: Any) -> Any:
        seen.update(inputs)
        return program(inputs)

    return call


def _numpy(program: Any) -> Any:
    from gen3dexport.runtime.pipeline import to_numpy

    return lambda inputs: to_numpy(program({name: program.xp.asarray(value) for name, value in inputs.items()}))


def matches(target: str, settings: Any, state: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each way of matching: how far disparities are from the true ones, in pixels of the whole picture."""
    from gen3dexport.models.xfeat.host.keypoints import nearest_neighbours
    from gen3dexport.models.xfeat.host.stereo import depth_of, disparity, judged

    true = disparity()
    height, width = true.shape
    scale = np.array([width / settings.width, height / settings.height])
    left, right = (state[f"{side}_points"] * scale for side in ("left", "right"))
    both = state["left_descriptors"], state["right_descriptors"]
    pairs = {
        "mutual nearest neighbours": nearest_neighbours(*both),
        f"mutual nearest neighbours, cosine above {STRICT}": nearest_neighbours(*both, STRICT),
        "LighterGlue": state["matches"],
    }
    rows = []
    for name, found in pairs.items():
        here, there = left[found[:, 0]], right[found[:, 1]]
        x, y = (np.clip(np.rint(here[:, i]).astype(int), 0, n - 1) for i, n in enumerate((width, height)))
        wanted, given = true[y, x], here[:, 0] - there[:, 0]
        known = np.isfinite(wanted) & (wanted > 0)
        off = np.abs(given - wanted)[known]
        positive = known & (given > 0)
        abs_rel, delta1, _ = judged(depth_of(given[positive]), depth_of(wanted[positive]))
        rows.append(
            {
                "target": target,
                "matching": name,
                "keypoints": [len(left), len(right)],
                "matches": len(found),
                "judged": int(known.sum()),
                "median_pixels": float(np.median(off)),
                **{f"within_{n}px": float(np.mean(off <= n)) for n in (1, 2, 3)},
                "off_the_row": float(np.mean(np.abs(here[:, 1] - there[:, 1]) > 2)),
                "abs_rel": float(abs_rel),
                "delta1": float(delta1),
            }
        )
    return rows


def trivial() -> list[dict[str, Any]]:
    """What depth that knows nothing of the picture scores, after scale and shift; a model has to do better."""
    from gen3dexport.models.xfeat.host.stereo import depth_of, disparity, fitted, judged

    true = depth_of(disparity())
    known = np.isfinite(true)
    down = np.broadcast_to(np.linspace(1, 0, len(true))[:, None], true.shape)
    rows = []
    for name, given in {"constant": np.ones_like(true), "vertical gradient, near below": down}.items():
        scale, shift = fitted(given[known], true[known])
        abs_rel, delta1, rmse = judged(scale * given[known] + shift, true[known])
        rows.append({"depth": name, "abs_rel": float(abs_rel), "delta1": float(delta1), "rmse_metres": float(rmse)})
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="eager when none is named; other targets keep their rows")
    targets = parser.parse_args().target or ["eager"]
    before = result_file.read(RESULT)
    kept, programs = (
        [row for row in before.get(key, []) if row["target"] not in targets] for key in ("matches", "programs")
    )
    stamp = result_file.stamp()
    for target in targets:
        with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
            settings, state, lowered = pipeline_state(target, Path(scratch))
        found = matches(target, settings, state)
        kept += [{**row, "made": stamp} for row in found]
        programs += [{**row, "made": stamp} for row in lowered]
        result_file.write(RESULT, __file__, {"matches": kept, "programs": programs, "trivial": trivial()})
        print(*lowered, sep="\n")
        show(found)


def show(rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    table = Table("matching", "matches", "median px", "within 2 px", "AbsRel", "delta1", title=rows[0]["target"])
    for row in rows:
        numbers = (row["median_pixels"], row["within_2px"], row["abs_rel"], row["delta1"])
        table.add_row(row["matching"], str(row["matches"]), *(f"{number:.3f}" for number in numbers))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
