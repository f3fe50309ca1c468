"""What tests share: golden folders, a tiny model in the released layout, its bundle, one stage cache, fast measures."""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from trellis_tiny import GOLDEN as GOLDEN
from trellis_tiny import RECIPE as TINY_RECIPE
from trellis_tiny import checkpoint

from gen3dexport import telemetry
from gen3dexport.validation import measure, validate

telemetry.switch_off()  # of tests that import onnxruntime themselves

if TYPE_CHECKING:
    from torch import Tensor

    from gen3dexport.models.component import Component

FAST_TARGET = """\
name: eager-fast
summary: one timed run
backend: eager
device: any CPU
measure: {warmup: 0, runs: 1, threads: 1}
"""


_measured: dict[str, tempfile.TemporaryDirectory[str]] = {}
_TEMPORARY = tempfile.gettempdir()  # of this session; a test may set another


def _measure_here(command: list[str], **_: Any) -> None:
    """The measuring process's work in this process, without a start of Python and torch for each bundle.

    A bundle of which every file and every setting is as in one that was measured is not measured again: tests ask the
    same one what its budgets say, and what becomes of its reports.
    """
    assert command[1:3] == ["-m", measure.__name__]
    folder, out = map(Path, command[3:])
    manifest = json.loads((folder / "manifest.json").read_text())
    names = ("files", "target", "family", "settings", "programs", "unquantized", "random_weights")
    key = json.dumps([*(manifest[name] for name in names), manifest["recipe"]["golden"]], sort_keys=True)
    if key not in _measured:
        if measure.main(command[3:]):
            return
        _measured[key] = tempfile.TemporaryDirectory(prefix="gen3dexport-measured-", dir=_TEMPORARY)
        shutil.copytree(out, _measured[key].name, dirs_exist_ok=True)
    shutil.copytree(_measured[key].name, out, dirs_exist_ok=True)


def pytest_sessionstart() -> None:
    """Bundles are measured in the test's own process, but where a test takes `in_child`. Garbage is looked for less
    often: exporting makes millions of objects that live, a quarter of the time went there."""
    gc.set_threshold(200_000, 50, 100)
    validate.subprocess = SimpleNamespace(run=_measure_here)  # type: ignore[assignment]


@pytest.fixture
def in_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles of this test are measured as the commands do it, in a process of their own."""
    monkeypatch.setattr(validate, "subprocess", subprocess)


@pytest.fixture(scope="session", autouse=True)
def _stage_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's caches; those of one run of `tests/run.py` share one, whichever process."""
    with pytest.MonkeyPatch.context() as patch:
        shared = os.environ.get("GEN3DEXPORT_TEST_CACHE") or str(tmp_path_factory.getbasetemp() / "cache")
        patch.setenv("GEN3DEXPORT_CACHE", shared)
        yield


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder in the released layout, made of the golden sets ss_flow and ss_dec."""
    return checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_recipe(tiny_weights: Path, tmp_path: Path) -> Path:
    """The tiny model's recipe, as a file of this test."""
    path = tmp_path / "trellis-tiny.yaml"
    path.write_text(TINY_RECIPE.format(weights=tiny_weights))
    return path


@pytest.fixture(scope="session")
def golden_sampler() -> tuple[Component, dict[str, Tensor]]:
    """The golden set of a sampler's loop as a component with its loop, and the set's tensors."""
    import torch

    from gen3dexport.models.component import Component, Euler
    from gen3dexport.models.flow_sampler import Schedule
    from gen3dexport.models.trellis.networks.golden_sets import read_golden

    golden = read_golden(GOLDEN / "sampler")
    extra, tensors = golden.extra, golden.tensors
    schedule = Schedule(extra["steps"], extra["cfg_strength"], tuple(extra["cfg_interval"]), extra["rescale_t"])
    times = schedule.times
    moves = tuple(a - b for a, b in itertools.pairwise(times))
    loop = Euler(tuple(1000 * t for t in times[:-1]), moves, schedule.weights)
    assert 1.0 in loop.guidance and len(set(loop.guidance)) == 2  # both kinds of steps
    inputs = {"x": tensors["in.noise"], "t": torch.tensor([1000.0]), "cond": tensors["in.cond"]}
    assert golden.component is not None
    return Component("flow", golden.component.module, inputs, ("v",), stack="blocks", loop=loop), tensors


@pytest.fixture
def fast_target(tmp_path: Path) -> Path:
    """The eager target with one timed run."""
    path = tmp_path / "eager-fast.yaml"
    path.write_text(FAST_TARGET)
    return path


@pytest.fixture(scope="session")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Bundle of a recipe, given as its text, for the fast eager target, validated; made once a text."""
    from gen3dexport.build import build
    from gen3dexport.plan import make_plan, read_recipe, read_target

    made: dict[str, Path] = {}

    def bundle(text: str) -> Path:
        if text not in made:
            folder = tmp_path_factory.mktemp("built")
            recipe, path = folder / "recipe.yaml", folder / "eager-fast.yaml"
            recipe.write_text(text)
            path.write_text(FAST_TARGET)
            target = read_target(str(path))
            build(make_plan(read_recipe(str(recipe), target), target), folder / "bundle")
            validate.validate(folder / "bundle")
            made[text] = folder / "bundle"
        return made[text]

    return bundle


@pytest.fixture(scope="session")
def tiny_bundle(tiny_weights: Path, validated: Callable[[str], Path]) -> Path:
    """The tiny model's bundle, validated as the commands do it. Damage copies of it only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "subprocess", subprocess)
        return validated(TINY_RECIPE.format(weights=tiny_weights))


@pytest.fixture(scope="session")
def half_bundle(tiny_weights: Path, validated: Callable[[str], Path]) -> Path:
    """The tiny model's bundle with its flow in bf16, validated; its budgets are open. Damage copies of it only."""
    open_ = TINY_RECIPE.replace("1.0e-3", "10").replace("0.99", "0")
    return validated(open_.format(weights=tiny_weights) + "components: {flow: {scheme: bf16}}\n")


@pytest.fixture(scope="session")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the shipped model that takes prompts, on the eager backend; few steps."""
    from gen3dexport.build import build
    from gen3dexport.cli.app import plan_of

    out = tmp_path_factory.mktemp("prompted") / "bundle"
    fields = ["knobs.sampler.steps=2", "golden.prompts=[a tall chair]", "golden.assets=false"]
    build(plan_of("trellis-mini", "eager", fields), out)
    return out


@pytest.fixture(scope="session")
def _captured() -> dict[Any, Any]:
    """Exported networks by what they are of."""
    return {}


@pytest.fixture
def exported_once(_captured: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan exports its networks to count operators, and the same ones come again on every target and in every scheme:
    each is exported once. For plans alone: their networks have shapes and no weights."""
    from gen3dexport import export

    real = export.export_module

    def exported(module: Any, inputs: tuple[Any, ...], name: str) -> Any:
        layers = tuple((key, tuple(p.shape)) for key, p in module.named_parameters())
        assert all(p.is_meta for p in module.parameters()), f"{name} has weights"
        key = name, repr(module), layers, tuple(tuple(i.shape) for i in inputs)
        if key not in _captured:
            _captured[key] = real(module, inputs, name)
        return _captured[key]

    monkeypatch.setattr(export, "export_module", exported)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from gen3dexport import cli as module

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["gen3dexport", *map(str, arguments)])
        code = 0
        try:
            module.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def _paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of trellis-mini whose programs are texts."""
    from paper_bundle import write_paper_bundle

    from gen3dexport.plan import make_plan, read_recipe, read_target

    target = read_target("eager")
    folder = tmp_path_factory.mktemp("paper") / "bundle"
    write_paper_bundle(make_plan(read_recipe("trellis-mini", target), target), folder)
    return folder


@pytest.fixture
def paper(_paper: Path, tmp_path: Path) -> Path:
    """A copy of that bundle, to sign, send or damage."""
    return Path(shutil.copytree(_paper, tmp_path / "bundle"))
