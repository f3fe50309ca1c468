"""A factory tried on targets, each in a process of its own, and the recipe to begin with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen3dexport import backends
from gen3dexport.children import Child
from gen3dexport.disk import scratch
from gen3dexport.models.custom.host.settings import Knobs, Settings
from gen3dexport.plan import backend_options, read_target
from gen3dexport.search import trial_child

TARGETS = ("executorch-xnnpack", "onnx", "tpu-v5e", "cpu-aoti", "cuda-sm90")
_MOST_CRASHES = 8
_LONGEST_S = 1800.0


def tried(knobs: Knobs, target_name: str, on_block: Callable[[str], None]) -> dict[str, Any]:
    """What a target takes of a factory's parts: `state` (works, fails, missing), and a trial for each block.

    A block whose trial ends its process has failed; another process goes on from there.

    Args:
        on_block: called with the name of each block as its trial begins.
    """
    target = read_target(target_name)
    start = time.perf_counter()
    if missing := backends.find(target.backend).check(backend_options(target)):
        return {"target": target.name, "state": "missing", "missing": missing, "trials": [], "seconds": 0.0}
    skip: list[str] = []
    while True:
        with scratch() as folder:
            code, said, rows = _child(knobs, target_name, skip, folder, on_block)
        open_blocks = [row["begun"] for row in rows if "begun" in row]
        found = [row["trial"] for row in rows if "trial" in row]
        if code == 0:
            break
        last = open_blocks[-1] if open_blocks else ""
        if not last or len(skip) >= _MOST_CRASHES:
            raise ended(target.name, code, said)
        skip.append(last.removesuffix(" (operators)"))
    works = all(trial["works"] for trial in found if "." not in trial["block"])
    seconds = round(time.perf_counter() - start, 1)
    state = "works" if works else "fails"
    return {"target": target.name, "state": state, "missing": [], "trials": found, "seconds": seconds}


def ended(target: str, code: int, said: str) -> Exception:
    """The error of a child that ended before it tried anything."""
    from gen3dexport.errors import ExportError

    lines = [line for line in said.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return ExportError(f"target {target}: the process that tries blocks ended with code {code}: {last}")


def _child(
    knobs: Knobs, target: str, skip: Sequence[str], folder: Path, on_block: Callable[[str], None]
) -> tuple[int, str, list[dict[str, Any]]]:
    """A child's exit code, what it said, and the lines of its answers."""
    request, answers = folder / "request.json", folder / "answers.jsonl"
    request.write_text(json.dumps({"knobs": knobs.model_dump(mode="json"), "target": target, "skip": list(skip)}))
    answers.touch()
    command = [sys.executable, "-m", trial_child.__name__, str(request), str(answers)]
    child = Child(command, {**os.environ, "TMPDIR": str(folder)})
    begun, deadline = 0, time.monotonic() + _LONGEST_S
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(0.2)
        if time.monotonic() > deadline:
            child.process.kill()
            child.process.wait()
        rows = [row for row in _rows(answers) if "begun" in row]
        for row in rows[begun:]:
            on_block(row["begun"])
        begun = len(rows)
        if child.process.poll() is not None:
            return child.process.returncode, child.said(), _rows(answers)


def _rows(answers: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for line in answers.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def recipe(name: str, settings: Settings, knobs: Knobs, results: Sequence[Mapping[str, Any]], command: str) -> str:
    """The YAML text of a recipe for what works; `plan` and `build` take it."""
    from io import StringIO

    from ruamel.yaml import YAML

    model: dict[str, Any] = {"factory": knobs.factory}
    model |= {"arguments": dict(knobs.arguments)} if knobs.arguments else {}
    model |= {"example": knobs.example} if knobs.example else {}
    model |= {"inputs": {n: list(shape) for n, shape in knobs.inputs.items()}} if knobs.inputs else {}
    model |= {"outputs": list(knobs.outputs)} if knobs.outputs else {}
    data = {
        "schema": 2,
        "name": name,
        "summary": f"{knobs.factory}, as it is written",
        "model": model,
        "weights": "factory",
        "components": {part.name: {"scheme": "fp32"} for part in settings.parts},
        "budgets": {"relative_l2": 0.05},
    }
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    stream = StringIO()
    yaml.dump(data, stream)
    lines = [f"# Written by: {command}"]
    for result in results:
        state = result["state"] if result["state"] != "fails" else "fails, see init"
        lines.append(f"# {result['target']}: {state}")
    text = "\n".join(lines) + "\n" + stream.getvalue()
    if any(result["target"].startswith("cuda") for result in results):
        text += "targets:\n  cuda: {budgets.accept_unmeasured: true}  # built without a GPU: no latency\n"
    return text
