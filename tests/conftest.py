"""What tests share: golden folders and a tiny model in the released layout."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

    from gen3dexport.models.component import Component

GOLDEN = Path(__file__).parent / "golden" / "trellis"

TINY_RECIPE = """\
schema: 2
name: trellis-tiny
summary: the golden sets' networks as a pipeline; features in, mesh out
family: trellis
weights: {weights}
golden:
  prompts: [first, second]
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
  iou: 0.99
"""


@pytest.fixture(autouse=True)
def _own_stage_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's stage cache; tests of one run share one."""
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder in the released layout, made of the golden sets ss_flow and ss_dec."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "ckpts").mkdir()
    for name, golden in (("ss_flow_tiny", "ss_flow"), ("ss_dec_tiny", "ss_dec")):
        shutil.copyfile(GOLDEN / golden / "config.json", folder / "ckpts" / f"{name}.json")
        shutil.copyfile(GOLDEN / golden / "weights.safetensors", folder / "ckpts" / f"{name}.safetensors")
    params = {"steps": 4, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    models = {"sparse_structure_flow_model": "ckpts/ss_flow_tiny", "sparse_structure_decoder": "ckpts/ss_dec_tiny"}
    args = {"models": models, "sparse_structure_sampler": {"params": params}, "text_cond_tokens": 11}
    (folder / "pipeline.json").write_text(json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}))
    return folder


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
    from gen3dexport.models.trellis.host.sampler import Schedule
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
    """The eager target with few timed runs."""
    path = tmp_path / "eager-fast.yaml"
    fields = ["name: eager-fast", "summary: few runs", "backend: eager", "device: any CPU"]
    path.write_text("\n".join([*fields, "measure: {warmup: 1, runs: 5, threads: 2}"]) + "\n")
    return path


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
