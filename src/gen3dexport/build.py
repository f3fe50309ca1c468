"""Build: one recipe and one target into one bundle, in one straight line per component."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import array_api_compat.numpy as xp
import numpy as np

from gen3dexport import models
from gen3dexport.assets import kinds
from gen3dexport.bundle import golden, stage_cache
from gen3dexport.bundle.drafts import renamed, writing
from gen3dexport.bundle.files import digest
from gen3dexport.bundle.golden import Trajectories
from gen3dexport.bundle.manifest import BASELINE, Manifest, Unquantized, write_manifest
from gen3dexport.bundle.notices import NOTICES, notices
from gen3dexport.bundle.program import Lowered, ProgramRecord, program_record, specs
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.errors import GenExportError
from gen3dexport.export import Captured
from gen3dexport.models import Request
from gen3dexport.models.declaration import State, Weights
from gen3dexport.models.weights import files_of
from gen3dexport.observe import Observation, golden_calls, golden_loop, observe
from gen3dexport.plan import Plan, require_ready
from gen3dexport.provenance import host, versions
from gen3dexport.quantization.rules import quantize_by_rules
from gen3dexport.quantization.smoothing import smoothed
from gen3dexport.sizing import check_checkpoints, check_rules

OnStage = Callable[[str, str], None]
_STATES = "states.safetensors"  # of an entry: the pipeline's states after the component


def build(
    plan: Plan,
    out: Path,
    on_stage: OnStage = lambda component, stage: None,
    judge: Callable[[Path], object] = lambda bundle: None,
) -> Manifest:
    """Build the bundle `out`; an existing bundle there is replaced only when the new one is whole and was judged.

    Args:
        on_stage: called with (component, stage) as stages begin: load, observe, quantize, lower, cached, wait (for
            another build that does the same work).
        judge: called with the folder of the finished bundle before that takes its place. When it raises, a bundle that
            was there stays; where none was, the new one is put there all the same, so that it can be judged again.

    Raises:
        GenExportError: of the stage that failed; nothing is left behind but the stage cache. Of `judge`: see there.
    """
    require_ready(plan)
    check_rules(plan)
    check_checkpoints(plan)
    failure: GenExportError | None = None
    with writing(out) as draft, stage_cache.in_use():
        states, entries, unquantized = _begin(plan, draft), [], {}
        for name in plan.schemes:
            if compared(plan, name):
                unquantized[name] = _unquantized(plan, name, states, draft, on_stage)
            states, entry = _collect(_component(plan, name, states, on_stage), draft)
            entries.append(entry)
        if plan.recipe.golden.assets and not plan.recipe.random_weights:
            golden.write_assets(draft / golden.FOLDER / golden.ASSETS, _assets(plan, golden_states(plan, states)))
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
    return [plan.family.begin(plan.settings, request, files, xp) for request in requests]


def golden_states(plan: Plan, states: list[State]) -> list[State]:
    """Those of the golden prompts; the others are for calibration."""
    return states[: len(plan.recipe.golden.prompts)]


def _assets(plan: Plan, states: list[State]) -> list[golden.Assets]:
    """The arrays of the assets of every prompt's finished state."""
    made = (plan.family.make_assets(state, plan.settings) for state in states)
    return [{kind: kinds.of(kind).arrays(asset) for kind, asset in assets.items()} for assets in made]


def compared(plan: Plan, name: str) -> bool:
    """Whether a budget compares this component's program with its own unquantized one."""
    quantized = plan.schemes[name] not in ("fp32", plan.budgets.baseline) or name in plan.rules
    return plan.budgets.gates and quantized


def _unquantized(plan: Plan, name: str, states: list[State], draft: Path, on_stage: OnStage) -> Unquantized:
    """The component lowered without quantization; its files into the draft only where a budget needs to run it."""
    baseline = plan.budgets.baseline
    others = {other: rules for other, rules in plan.rules.items() if other != name}
    own = plan.with_schemes({**plan.schemes, name: baseline}, others)
    entry = _component(own, name, states, lambda component, stage: on_stage(component, f"{stage} ({baseline})"))
    records = (ProgramRecord(**p) for p in json.loads((entry / "entry.json").read_text())["programs"])
    record = next(r for r in records if r.role == "component")
    if plan.budgets.allow_slowdown is not None:
        for file in record.files:
            stage_cache.place(entry / "programs" / file, draft / BASELINE / file)
    size = sum((entry / "programs" / file).stat().st_size for file in record.files)
    return Unquantized(program=record, bytes=size)


def _component(plan: Plan, name: str, states: list[State], on_stage: OnStage) -> Path:
    """The stage cache's entry of one component, made if it is not there: load, observe, quantize, export and lower."""
    key = stage_cache.key(_key_parts(plan, name, states), plan.backend, models.package(plan.recipe.family))
    with stage_cache.making(key, lambda: on_stage(name, "wait")):
        found = stage_cache.find(key)
        if found is not None:
            on_stage(name, "cached")
            return found
        with stage_cache.writing(key) as entry:
            _make(plan, name, states, on_stage, entry)
    return stage_cache.folder() / key


def _make(plan: Plan, name: str, states: list[State], on_stage: OnStage, entry: Path) -> None:
    """One component through every stage, into the folder of its entry."""
    on_stage(name, "load")
    declared = plan.declared[name]
    weights: Weights = "random" if plan.recipe.random_weights else "stored"
    component = declared.load(plan.weights, weights, plan.reading)
    parameters = component.parameters
    on_stage(name, "observe")  # before quantize, which works in place
    before = golden_states(plan, states)
    others = states[len(before) :]
    observation = observe(component, declared, before, plan.recipe.golden.assets, others)
    on_stage(name, "quantize")
    rules = plan.rules.get(name, {})
    scheme, strength = plan.schemes[name], plan.smoothing.get(name)
    component = smoothed(observation.component, scheme, rules, strength, observation.inputs)
    component = quantize_by_rules(plan.backend, component, scheme, rules, plan.options)
    (kept := entry / golden.FOLDER).mkdir()
    golden.write_calls(kept, name, golden_calls(observation, component))
    if observation.trajectories and (loop := component.loop) is not None:
        golden.write_trajectories(kept, name, Trajectories(loop.state, loop.time, observation.trajectories))
    on_stage(name, "lower")
    (entry / "programs").mkdir()
    lowered = plan.backend.lower(Captured(component), plan.options, entry / "programs")
    said: dict[str, Any] = {"rules": rules} if rules else {}
    if strength is not None:
        said["smoothing"] = strength
    lowered = replace(lowered, facts={**said, **lowered.facts})
    if any(role_of(extra) == "sampler" for extra in lowered.extra):
        after = observation.states[0] if plan.recipe.golden.assets else None
        golden.write_loop(kept, name, golden_loop(component, declared, states[0], after))
    _write_entry(entry, observation, lowered, plan.schemes[name], parameters)


def _write_entry(entry: Path, observation: Observation, lowered: Lowered, scheme: str, parameters: int) -> None:
    golden.write_states(entry / _STATES, (*observation.states, *observation.calibrated))
    name, (call, outputs) = observation.component.name, observation.calls[0]
    inputs = {k: call[k] for k in observation.component.inputs}
    own = specs(inputs), specs(outputs)
    records = [program_record(name, lowered, *own, scheme=scheme)]
    for extra, twin in lowered.extra.items():
        records.append(program_record(extra, twin, *own, component=name, role=role_of(extra), scheme=scheme))
    text = json.dumps(
        {
            "component": name,
            "parameters": parameters,
            "calls": observation.count,
            "programs": [r.model_dump(mode="json") for r in records],
        }
    )
    (entry / "entry.json").write_text(text)


def role_of(extra: str) -> Literal["sampler", "twin"]:
    """Role of a further program: the sampler loop as one program, or a twin of the component for the device alone."""
    return "sampler" if extra.endswith("_sampler") else "twin"


def _collect(entry: Path, draft: Path) -> tuple[list[State], dict[str, Any]]:
    """An entry's files into the draft; the states after it and what `entry.json` says."""
    for path in sorted(p for kind in ("programs", golden.FOLDER) for p in (entry / kind).iterdir()):
        stage_cache.place(path, draft / path.relative_to(entry))
    states: list[State] = [*golden.read_states(entry / _STATES)]
    return states, json.loads((entry / "entry.json").read_text())


def _key_parts(plan: Plan, name: str, states: list[State]) -> Mapping[str, Any]:
    checkpoint = plan.declared[name].checkpoint
    return {
        "component": name,
        "family": plan.recipe.family,
        "settings": plan.settings.model_dump(mode="json"),
        "weights": _weights(plan, name) or checkpoint,
        "strip_prefix": plan.recipe.strip_prefix,
        "random_weights": plan.recipe.random_weights,
        "assets": plan.recipe.golden.assets,
        "scheme": plan.schemes[name],
        "rules": list(plan.rules.get(name, {}).items()),
        "smoothing": plan.smoothing.get(name),
        "backend": plan.target.backend,
        "options": plan.options.model_dump(mode="json"),
        "states": [{k: _array_digest(v) for k, v in sorted(state.items())} for state in states],
        "versions": versions(),
        "host": host(),
    }


def _weights(plan: Plan, name: str) -> dict[str, str]:
    """SHA-256 of a component's checkpoint files by name; none where a package has them."""
    paths = files_of(plan.weights / plan.declared[name].checkpoint)
    return {p.name: _digest_of_large(p, p.stat().st_mtime_ns, p.stat().st_size) for p in paths}


@lru_cache(maxsize=256)
def _digest_of_large(path: Path, changed: int, size: int) -> str:
    """`digest`, once for a file as it is: keys and the manifest both have it."""
    return digest(path)


def _array_digest(value: np.ndarray) -> str:
    return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"


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
        "weights": {} if plan.recipe.random_weights else {n: w for n in plan.declared if (w := _weights(plan, n))},
    }
