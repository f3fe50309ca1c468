"""Build: one recipe and one target into one bundle, in one straight line per component."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport import backends, models
from gen3dexport.assets import kinds
from gen3dexport.bundle import golden, stage_cache
from gen3dexport.bundle.drafts import renamed, writing
from gen3dexport.bundle.manifest import BASELINE, Manifest, Unquantized, write_manifest
from gen3dexport.bundle.notices import NOTICES, notices
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.errors import GenExportError
from gen3dexport.making import starting
from gen3dexport.making.keys import golden_states, weights_of
from gen3dexport.making.start import Makers, Making, OnStage
from gen3dexport.models import Request
from gen3dexport.models.declaration import State
from gen3dexport.models.weights import files_of
from gen3dexport.plan import Plan, require_ready
from gen3dexport.provenance import host, versions

_MOST_JOBS = 4  # observing is one component after the other, and what is left of it takes no more
_SMALL_BYTES = 4_000_000


def build(
    plan: Plan,
    out: Path,
    on_stage: OnStage = lambda component, stage: None,
    judge: Callable[[Path], object] = lambda bundle: None,
    jobs: int | None = 1,
) -> Manifest:
    """Build the bundle `out`; an existing bundle there is replaced only when the new one is whole and was judged.

    Args:
        on_stage: called with (component, stage) as stages begin, see `making.start.OnStage`.
        judge: called with the folder of the finished bundle before that takes its place. When it raises, a bundle that
            was there stays; where none was, the new one is put there all the same, so that it can be judged again.
        jobs: how many components are made at a time, where memory is there for them: more than one in processes of
            their own; None chooses by the plan and this machine. No byte of the bundle depends on it.

    Raises:
        GenExportError: of the stage that failed; nothing is left behind but the stage cache. Of `judge`: see there.
    """
    require_ready(plan)
    failure: GenExportError | None = None
    with writing(out) as draft, stage_cache.in_use():
        made: dict[str, Making] = {}
        plain: dict[str, Making] = {}
        last: Making | None = None
        with starting(_jobs(plan) if jobs is None else jobs) as makers:
            makers.check(plan)
            states = _begin(plan, draft)
            for name in plan.schemes:
                states = last.states() if last else states
                if compared(plan, name):
                    plain[name] = _unquantized(plan, name, states, makers, on_stage)
                last = made[name] = makers.start(plan, name, states, on_stage)
            del states  # of all prompts, while the last components are made
            entries = [_collect(making.entry(), draft) for making in made.values()]
            unquantized = {name: _baseline(plan, making.entry(), draft) for name, making in plain.items()}
        if plan.recipe.golden.assets and not plan.recipe.random_weights and last:
            _write_assets(plan, draft, last)
        manifest = write_manifest(draft, {**_manifest_fields(plan, entries), "unquantized": unquantized})
        try:
            judge(draft)
        except GenExportError as error:
            if (out / MANIFEST).is_file():
                kept = "the bundle that was there stays; --skip-validation puts the new one in its place"
                raise type(error)(f"{error}\n{out}: {kept}") from error
            failure = renamed(error, draft, out)
    if failure is not None:
        raise failure
    return manifest


def _begin(plan: Plan, draft: Path) -> list[State]:
    """Host files into the draft, and the pipeline's first state for every golden prompt."""
    for folder in ("programs", "host", golden.FOLDER):
        (draft / folder).mkdir()
    text = notices(plan.recipe.name, plan.recipe.licences, plan.weights)
    (draft / NOTICES).write_text(text, encoding="utf-8")
    return first_states(plan, draft / "host")


def first_states(plan: Plan, files: Path, calibrates: bool | None = None) -> list[State]:
    """The pipeline's first state for every golden prompt, then for every calibration prompt if the plan needs them.

    Args:
        files: folder for the host's files.
        calibrates: whether a calibration is needed, where that is not for the plan's schemes to say.
    """
    for declared in plan.declared.values():
        for name, path in declared.host_files(plan.weights).items():
            stage_cache.place(path, files / name)
    asked, calibration = plan.recipe.golden, plan.recipe.calibration
    requests = [Request(prompt, asked.seed + k, stand_in=plan.stand_in) for k, prompt in enumerate(asked.prompts)]
    wanted = plan.calibrates if calibrates is None else calibrates
    if calibration is not None and wanted:
        requests += [
            Request(prompt, calibration.seed + k, stand_in=plan.stand_in)
            for k, prompt in enumerate(calibration.prompts)
        ]
    return [plan.family.begin(plan.settings, request, files, np) for request in requests]


def _write_assets(plan: Plan, draft: Path, last: Making) -> None:
    """The assets of every golden prompt, of the states after the last component."""
    made = (plan.family.make_assets(state, plan.settings) for state in golden_states(plan, last.states()))
    assets = [{kind: kinds.of(kind).arrays(asset) for kind, asset in of_one.items()} for of_one in made]
    golden.write_assets(draft / golden.FOLDER / golden.ASSETS, assets)


def compared(plan: Plan, name: str) -> bool:
    """Whether a budget compares this component's program with its own unquantized one."""
    quantized = plan.schemes[name] not in ("fp32", plan.budgets.baseline) or name in plan.rules
    return plan.budgets.gates and quantized


def _jobs(plan: Plan) -> int:
    """How many components are made at a time, where nobody says: one where processes take longer to start than the
    components do, by the size of their weights, and where kernels are timed."""
    stored = [path for d in plan.declared.values() for path in files_of(plan.weights / d.checkpoint)]
    size = 0 if plan.recipe.random_weights else sum(path.stat().st_size for path in stored)
    if size < _SMALL_BYTES or backends.tries_out(plan.backend, plan.options):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(_MOST_JOBS, len(plan.schemes), cores or 1)


def _unquantized(plan: Plan, name: str, states: list[State], makers: Makers, on_stage: OnStage) -> Making:
    """The component lowered without quantization."""
    baseline = plan.budgets.baseline
    others = {other: rules for other, rules in plan.rules.items() if other != name}
    own = plan.with_schemes({**plan.schemes, name: baseline}, others)
    return makers.start(own, name, states, lambda component, stage: on_stage(f"{component} ({baseline})", stage))


def _baseline(plan: Plan, entry: Path, draft: Path) -> Unquantized:
    """What the manifest says of an unquantized program; its files go into the draft where a budget needs to run it."""
    records = (ProgramRecord(**p) for p in json.loads((entry / "entry.json").read_text())["programs"])
    record = next(r for r in records if r.role == "component")
    if plan.budgets.allow_slowdown is not None:
        for file in record.files:
            stage_cache.place(entry / "programs" / file, draft / BASELINE / file)
    size = sum((entry / "programs" / file).stat().st_size for file in record.files)
    return Unquantized(program=record, bytes=size)


def _collect(entry: Path, draft: Path) -> dict[str, Any]:
    """An entry's files into the draft; what `entry.json` says."""
    for path in sorted(p for kind in ("programs", golden.FOLDER) for p in (entry / kind).iterdir()):
        stage_cache.place(path, draft / path.relative_to(entry))
    said: dict[str, Any] = json.loads((entry / "entry.json").read_text())
    return said


def _manifest_fields(plan: Plan, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "recipe": plan.recipe.model_dump(mode="json", by_alias=True),
        "target": plan.target.model_dump(mode="json"),
        "family": plan.recipe.family,
        "settings": plan.settings.model_dump(mode="json"),
        "programs": [ProgramRecord(**p) for entry in entries for p in entry["programs"]],
        "parameters": {entry["component"]: entry["parameters"] for entry in entries},
        "calls": {entry["component"]: entry["calls"] for entry in entries},
        "versions": versions(),
        "host": host(),
        "random_weights": plan.recipe.random_weights,
        "host_steps": models.host_steps(plan.family, plan.settings),
        "weights": {} if plan.recipe.random_weights else {n: w for n in plan.declared if (w := weights_of(plan, n))},
    }
