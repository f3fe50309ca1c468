"""A flow in two halves (keys and values of the context apart) through every backend, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "trellis" / "ss_flow_text"
CASES = [
    ("executorch", "executorch", {"min_features": 32}),
    ("aotinductor", "torch", {"min_features": 32}),
    ("onnx", "onnxruntime", {"min_features": 32}),
    ("xla", "jax", {"min_features": 32, "compile": False, "rest": "fp32"}),
]


@pytest.mark.parametrize(("backend", "package", "options"), CASES, ids=[case[0] for case in CASES])
def test_both_halves_as_programs(backend: str, package: str, options: dict[str, Any], tmp_path: Path) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, __file__, backend, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["fp32"] < 1e-5
    assert 1e-6 < found["int8-dynamic"] < 0.03
    assert ("flow_sampler" in found["programs"]) == (backend == "xla")


def main(backend: str, options: str) -> None:
    """Print the relative L2 error of the velocity by scheme, and the names of the programs, as JSON."""
    import numpy as np

    from gen3dexport import backends
    from gen3dexport.bundle.program import recorded, specs
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component, Euler
    from gen3dexport.models.trellis.networks.golden_sets import read_golden
    from gen3dexport.models.trellis.networks.held_context import FlowContext, hold_context

    module = backends.find(backend)
    given, found = module.Options(**json.loads(options)), {}
    for scheme in ("fp32", "int8-dynamic"):
        golden = read_golden(GOLDEN).component
        x, t, cond = (value[:1] for value in golden.inputs.values())
        expected = golden.run({"x": x, "t": t, "cond": cond})["v"].numpy()
        context = Component("flow_context", FlowContext(golden.module), {"cond": cond}, ("context",))
        inputs = {"x": x, "t": t, "context": context.run()["context"]}
        loop = Euler((1000.0, 500.0), (0.5, 0.5), (3.0, 1.0), cond="context")
        flow = Component("flow", hold_context(golden.module), inputs, ("v",), loop=loop)
        arrays = {"cond": cond.numpy(), "x": x.numpy(), "t": t.numpy()}
        for part in (context, flow):
            part = part if scheme == "fp32" else module.quantize(part, scheme, given)
            with tempfile.TemporaryDirectory() as folder:
                lowered = module.lower(Captured(part), given, Path(folder))
                program = module.load(Path(folder), recorded(part.name, lowered, specs(part.inputs), specs(part.run())))
                taken = {name: program.xp.asarray(arrays[name]) for name in part.inputs}
                arrays |= {name: np.asarray(value) for name, value in program(taken).items()}
        found[scheme] = float(np.linalg.norm(arrays["v"] - expected) / np.linalg.norm(expected))
    print(json.dumps({**found, "programs": ["flow", *lowered.extra]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
