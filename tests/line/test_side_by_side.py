"""Components built side by side in processes: the bundle of one process, its errors, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import gen3dexport
from gen3dexport.build import build
from gen3dexport.bundle.manifest import Manifest, verify
from gen3dexport.errors import ExportError, GenExportError, UsageError
from gen3dexport.making import workers
from gen3dexport.plan import Plan, make_plan, read_recipe, read_target

STAGES = ["load", "observe", "quantize", "lower", "done"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty stage cache."""
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plan_of(recipe: Path, *assignments: str) -> Plan:
    target = read_target("eager")
    return make_plan(read_recipe(str(recipe), target, assignments), target)


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children(recursive=True) if workers.COMMAND in p.cmdline()]


def of_two(plan: Plan, out: Path, on_stage: Callable[[str, str], None] = lambda component, stage: None) -> Manifest:
    return build(plan, out, on_stage, jobs=2)


def test_a_bundle_has_the_same_bytes(
    tiny_recipe: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = ["components.flow.scheme=int8-dynamic", "budgets.allow_slowdown=9.0"]
    plan, heard = plan_of(tiny_recipe, *gates), []
    two = of_two(plan, tmp_path / "two", lambda *what: heard.append(what))
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "other"))
    one = build(plan, tmp_path / "one", jobs=1)
    assert two.files == one.files and two.digest == one.digest
    verify(tmp_path / "two")
    components = {component for component, _ in heard}
    assert components == {"flow", "flow (fp32)", "decoder"}
    assert all([stage for name, stage in heard if name == component] == STAGES for component in components)
    assert children() == []


def test_what_is_cached_takes_one_process(tiny_recipe: Path, tmp_path: Path, cache: Path) -> None:
    build(plan_of(tiny_recipe), tmp_path / "first", jobs=1)
    heard: list[tuple[str, str]] = []
    at_work: list[int] = []

    def on_stage(component: str, stage: str) -> None:
        heard.append((component, stage))
        at_work.append(len(children()))

    of_two(plan_of(tiny_recipe), tmp_path / "again", on_stage)
    assert heard == [(name, stage) for name in ("flow", "decoder") for stage in ("cached", "done")]
    assert set(at_work) == {1}


def test_components_that_do_not_fit_into_memory_together_wait(
    tiny_recipe: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "available", lambda: 1)
    heard: list[tuple[str, str]] = []
    of_two(plan_of(tiny_recipe), tmp_path / "bundle", lambda *what: heard.append(what))
    assert heard == [(name, stage) for name in ("flow", "decoder") for stage in STAGES]


def test_an_error_is_that_of_one_process(tiny_recipe: Path, tiny_weights: Path, tmp_path: Path, cache: Path) -> None:
    text = tiny_recipe.read_text()
    weights = tmp_path / "weights"
    weights.mkdir()
    for path in tiny_weights.rglob("*"):
        if path.is_file():
            copy = weights / path.relative_to(tiny_weights)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    damaged = next(p for p in sorted(weights.rglob("*.safetensors")) if p.stat().st_size > 5000)
    recipe = tmp_path / "damaged.yaml"
    recipe.write_text(text.replace(str(tiny_weights), str(weights)))
    plan = plan_of(recipe)
    damaged.write_bytes(damaged.read_bytes()[:-7])
    told = []
    for jobs in (1, 2):
        with pytest.raises(UsageError) as caught:
            build(plan, tmp_path / "bundle", jobs=jobs)
        told.append(str(caught.value))
    assert told[0] == told[1] and damaged.name in told[0]
    assert not (tmp_path / "bundle").exists() and children() == []


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGKILL, GenExportError, "killed by SIGKILL, most likely by the system because memory ran out; build"),
        (signal.SIGSEGV, ExportError, "its process was killed by SIGSEGV"),
    ],
)
def test_a_process_that_dies(
    number: int, kind: type[GenExportError], words: str, tiny_recipe: Path, tmp_path: Path, cache: Path
) -> None:
    def on_stage(component: str, stage: str) -> None:
        if (component, stage) == ("flow", "lower"):
            for process in children():
                os.kill(process.pid, number)

    with pytest.raises(GenExportError, match=words) as caught:
        of_two(plan_of(tiny_recipe), tmp_path / "bundle", on_stage)
    assert type(caught.value) is kind
    assert not (tmp_path / "bundle").exists() and children() == []


def test_an_interrupt_leaves_no_process(tiny_recipe: Path, tmp_path: Path, cache: Path) -> None:
    def on_stage(component: str, stage: str) -> None:
        if stage == "observe":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of_two(plan_of(tiny_recipe), tmp_path / "bundle", on_stage)
    assert not (tmp_path / "bundle").exists() and children() == []


def test_the_command(tiny_recipe: Path, tmp_path: Path, cache: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    arguments = ("build", str(tiny_recipe), "-t", "eager", "--skip-validation", "-o", str(tmp_path / "bundle"))
    code, _, error = cli(*arguments, "--jobs", "2")
    assert code == 0
    assert sorted(line.split()[:2] for line in error.splitlines() if line.endswith(" s")) == sorted(
        [name, stage] for name in ("flow", "decoder") for stage in STAGES[:-1]
    )
    assert cli(*arguments, "--jobs", "0")[0] == 2
    code, _, error = cli(*arguments, "--jobs", "2", "--trace", str(tmp_path / "trace"))
    assert code == 2 and "leave --jobs out" in error


OWN = """
import subprocess
from torch import nn

def make():
    assert subprocess.run(["cat"], capture_output=True, timeout=60).stdout == b""
    return nn.Sequential(nn.Linear(8, 4))
"""
OWN_RECIPE = """\
schema: 2
name: own
summary: a module of the folder that a command runs in
weights: factory
model: {factory: "mine_\u00e9:make", inputs: {input: [1, 3, 8]}}
"""


def test_a_model_of_ones_own_has_nothing_of_the_orders(tmp_path: Path, cache: Path) -> None:
    """Its module is found in the current folder and reads standard input; names are of any language, in any locale."""
    (tmp_path / "mine_\u00e9.py").write_text(OWN)
    recipe = tmp_path / "own.yaml"
    recipe.write_text(OWN_RECIPE, encoding="utf-8")
    command = [sys.executable, "-m", "gen3dexport", "build", str(recipe), "-t", "eager", "--skip-validation"]
    package = str(Path(gen3dexport.__file__).parents[1])
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": package}
    for jobs in ("1", "2"):
        words = [*command, "--jobs", jobs, "-o", str(tmp_path / jobs)]
        done = subprocess.run(words, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        shutil.rmtree(cache / "stages")
    one, two = (verify(tmp_path / jobs) for jobs in ("1", "2"))
    assert one.files == two.files and one.digest == two.digest


def test_the_same_states_split_otherwise_are_others(tiny_recipe: Path, tmp_path: Path, cache: Path) -> None:
    """Golden prompts and calibration prompts are all states of the pipeline."""
    build(plan_of(tiny_recipe, "golden.prompts=[first, second]"), tmp_path / "first")
    calibrated = ["golden.prompts=[first]", "calibration={prompts: [second], seed: 1}"]
    plan = plan_of(tiny_recipe, *calibrated, "components.decoder.rules={'**': int8-static}")
    assert build(plan, tmp_path / "second").calls["flow"]
