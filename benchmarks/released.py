"""A family at its released size, random weights: time and memory to build, size and time to run, per component.

    python benchmarks/released.py RECIPE --target executorch --target tpu-v5e --target cuda-sm90
    python benchmarks/released.py RECIPE               # the table of what was measured before, beside today's recipe

Every component is built in a process of its own, which resumes from the stage cache what the components before it made,
so that its peak memory is its own. Rows go into benchmarks/results/RECIPE_released.json as they finish; rows of other
runs that it has are kept. Memory is resident memory of the building process and, apart, the largest of its children
(compilers). What the recipe plans for each target goes into the file too, so that a row of another recipe is marked as
one. Programs are loaded from disk in another process and timed where this machine is the target's kind of
device; elsewhere what they need and take is planned by the backend or estimated by its cost model, and said so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import result_file
from cells import DASH
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def build_until(recipe: str, target_name: str, assignments: list[str], wanted: str, out: str) -> None:
    """Build the components up to `wanted`, and write what it took as JSON into `out`."""
    from gen3dexport import build as building
    from gen3dexport.making import entry as entries
    from gen3dexport.plan import make_plan, read_recipe, read_target, require_ready
    from gen3dexport.validation.timing import HostPeak

    target = read_target(target_name)
    plan = make_plan(read_recipe(recipe, target, ["random_weights=true", *assignments]), target)
    require_ready(plan)
    stages: dict[str, float] = {}
    last: tuple[str, float] = ("", 0.0)

    def on_stage(component: str, stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        if last[0]:
            stages[last[0]] = now - last[1]
        last = (stage if component == wanted else "", now)

    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        (host := Path(scratch) / "host").mkdir()
        states = building.first_states(plan, host)
        for name in plan.schemes:
            if name == wanted:
                break
            states = states_after(plan, name, states)
        memory, start = HostPeak(), time.perf_counter()
        entry = entries.made(plan, wanted, states, on_stage)
        seconds = time.perf_counter() - start
        on_stage("", "")
    facts = json.loads((entry / "entry.json").read_text())
    size = sum(p.stat().st_size for p in (entry / "programs").iterdir())
    golden = sum(p.stat().st_size for p in (entry / "golden").iterdir())
    row = {
        "parameters": facts["parameters"],
        "calls": facts["calls"],
        "scheme": plan.schemes[wanted],
        "build_seconds": None if "cached" in stages else round(seconds, 1),
        "stages_seconds": {k: round(v, 1) for k, v in stages.items()},
        "peak_memory_above_start": memory.read().model_dump(),
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "children_peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        "program_bytes": size,
        "golden_bytes": golden,
        "programs": [
            {key: program[key] for key in ("name", "files", "facts", "estimates", "unmeasured")}
            for program in facts["programs"]
        ],
        "knobs": plan.recipe.knobs.model_dump(mode="json", exclude_defaults=True),
        "entry": str(entry),
    }
    Path(out).write_text(json.dumps(row))


def run(recipe: str, target_name: str, wanted: str, entry: str, out: str) -> None:
    """Load the component's program of a stage cache entry, compare and time its first golden call, into `out`."""
    from gen3dexport import backends
    from gen3dexport.bundle import golden
    from gen3dexport.bundle.program import ProgramRecord
    from gen3dexport.errors import MissingError
    from gen3dexport.plan import read_target
    from gen3dexport.runtime.pipeline import to_numpy
    from gen3dexport.tensor_error import tensor_error
    from gen3dexport.validation.timing import HostPeak, time_calls

    target, folder = read_target(target_name), Path(entry)
    records = [ProgramRecord(**fields) for fields in json.loads((folder / "entry.json").read_text())["programs"]]
    record = next(r for r in records if r.name == wanted)
    call = golden.read_calls(folder / "golden", wanted)[0]
    try:
        memory = HostPeak()
        program = backends.find(target.backend).load(folder / "programs", record)
        inputs = {name: program.xp.asarray(value) for name, value in call.inputs.items()}
        found = to_numpy(program(inputs))
        errors = {name: tensor_error(found[name], value).relative_l2 for name, value in call.quantized.items()}
        row: dict[str, Any] = {"relative_l2_quantized": errors}
        if (reason := backends.stand_in(program)) is not None:
            row |= {"basis": "unmeasured", "reason": reason}
        else:
            once = target.measure.model_copy(update={"warmup": 1})  # the call that was compared
            times = time_calls(lambda: to_numpy(program(inputs)), once, before=1)
            row |= {**times.model_dump(), "peak_memory": memory.read().model_dump()}
    except MissingError as error:
        row = {"basis": "unmeasured", "reason": str(error)}
    Path(out).write_text(json.dumps(row))


def states_after(plan: Any, name: str, states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pipeline's states after a component: from the stage cache, else of its float32 eager form, nothing built."""
    from gen3dexport.making import keys
    from gen3dexport.making.observations import observed

    there = keys.found(plan, name, states)
    if there is not None:
        return keys.states_after(there)
    declared = plan.declared[name]
    component = declared.load(plan.weights, "random" if plan.recipe.random_weights else "stored", plan.reading)
    return list(observed(plan, name, states, component)[0].states)


def measure(recipe: str, target: str, assignments: list[str], wanted: str) -> dict[str, Any]:
    """One row: a process that builds, and one that runs what was built; `load` is the minute's before."""
    load = round(os.getloadavg()[0], 1)
    row = in_child(build_until, recipe, target, assignments, wanted)
    row["load"] = load
    if "failed" not in row:
        row["latency"] = in_child(run, recipe, target, wanted, row.pop("entry"))
    return row


def in_child(work: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    """What `work` writes into the file that it is given last, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="gen3dexport-") as scratch:
        out = Path(scratch) / "row.json"
        child = multiprocessing.get_context("spawn").Process(target=work, args=(*arguments, str(out)))
        child.start()
        child.join()
        if not out.is_file():
            return {"failed": f"the process of {work.__name__} ended with exit code {child.exitcode}"}
        row: dict[str, Any] = json.loads(out.read_text())
        return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipe")
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--component", action="append", help="only this one; those before it are not built")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe's field")
    options = parser.parse_args()
    from gen3dexport.plan import make_plan, read_recipe, read_target

    out = RESULTS / f"{options.recipe.replace('-', '_')}_released.json"
    rows = result_file.read(out).get("rows", {})
    failed = False
    for name in options.target:
        target = read_target(name)
        plan = make_plan(read_recipe(options.recipe, target, ["random_weights=true", *options.set]), target)
        for component in options.component or plan.schemes:
            row = measure(options.recipe, name, options.set, component)
            key = f"{options.recipe}/{target.name}/{component}"
            if row.get("build_seconds", 0) is None and key in rows:
                continue  # it was in the cache; what building it took is known
            rows[key] = {**row, "assignments": options.set, "made": result_file.stamp()}
            content = {"recipe": recipe_today(options.recipe, rows), "rows": rows, "random_weights": True}
            result_file.write(out, __file__, content)
            print(key, row.get("failed") or line(row), flush=True)
            failed |= "failed" in row
    if rows and not options.target:  # nothing was measured: where the rows come from stays
        content = {**result_file.read(out), "recipe": recipe_today(options.recipe, rows)}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    Console(width=140).print(table(rows))
    return int(failed)


def recipe_today(recipe: str, rows: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the shipped recipe plans on every target of `rows` (keys RECIPE/TARGET/COMPONENT): each component's
    parameters and scheme, by such keys."""
    from gen3dexport.plan import make_plan, read_recipe, read_target

    found = {}
    for name in dict.fromkeys(key.split("/")[1] for key in rows):
        target = read_target(name)
        plan = make_plan(read_recipe(recipe, target, ["random_weights=true"]), target)
        for component, scheme in plan.schemes.items():
            parameters = plan.declared[component].load(plan.weights, "shapes").parameters
            found[f"{recipe}/{name}/{component}"] = {"parameters": parameters, "scheme": scheme}
    return found


def table(rows: dict[str, Any]) -> Table:
    """Every component on every target; estimates say so."""
    columns = (
        "component",
        "target",
        "parameters",
        "scheme",
        "build",
        "peak memory",
        "program",
        "needs",
        "estimated",
        "measured",
    )
    found = Table(*columns, title="random weights; one call, needs by cost models")
    for key, row in rows.items():
        _, target, component = key.rsplit("/", 2)
        if "failed" in row:
            found.add_row(component, target, row["failed"])
            continue
        programs = {program["name"]: program for program in row["programs"]}
        program = programs.get(f"{component}_pallas") or programs[component]
        needs = program["estimates"].get("run_memory_bytes") or program["estimates"].get("memory_bytes")
        calls = [f"{e['value']:.0f} ms ({e['by'].split()[0]})" for e in program["estimates"].get("latency_ms", ())]
        found.add_row(
            component,
            target,
            f"{row['parameters'] / 1e6:.0f} M",
            row["scheme"],
            "cached" if row["build_seconds"] is None else f"{row['build_seconds']:.0f} s",
            f"{max(row['peak_resident_bytes'], row['children_peak_resident_bytes']) / 2**30:.1f} GiB",
            f"{row['program_bytes'] / 1e6:.0f} MB",
            f"{needs[0]['value'] / 2**30:.2f} GiB" if needs else program["unmeasured"],
            ", ".join(calls) or DASH,
            measured(row, DASH),
        )
    return found


def measured(row: dict[str, Any], unknown: str) -> str:
    """Median time of a call on this machine, or a word for none."""
    latency = row.get("latency", {"basis": "unmeasured"})
    return f"{latency['p50_ms']:.0f} ms" if latency.get("basis") == "measured" else unknown


def line(row: dict[str, Any]) -> str:
    """One row for people."""
    taken = "cached" if row["build_seconds"] is None else f"{row['build_seconds']:.0f} s"
    peaks = (row["peak_resident_bytes"] / 1e9, row["children_peak_resident_bytes"] / 1e9)
    return (
        f"{row['parameters'] / 1e6:.0f} M {row['scheme']}: {taken}, peak {peaks[0]:.1f} GB "
        f"(children {peaks[1]:.1f} GB), {row['program_bytes'] / 1e6:.0f} MB, {measured(row, 'not timed here')}"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
