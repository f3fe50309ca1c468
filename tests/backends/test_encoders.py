"""Encoders of images and prompts through every backend, each in a process of its own; `main` is that process."""

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

sys.path.append(str(Path(__file__).parents[1] / "models"))

TOLERANCE = {"fp32": 2e-5, "int8-dynamic": 0.05, "bf16": 0.03, "int4-dynamic": 0.3}
CASES = [
    ("executorch", "executorch", {}, ["fp32", "int8-dynamic"]),
    ("aotinductor", "torch", {}, ["fp32", "int8-dynamic"]),
    ("onnx", "onnxruntime", {}, ["fp32", "int8-dynamic"]),
    ("xla", "jax", {"compile": False, "rest": "fp32"}, ["fp32", "bf16", "int8-dynamic"]),
    ("eager", "torch", {}, ["fp32", "bf16", "int8-dynamic"]),
]


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
@pytest.mark.parametrize(("backend", "package", "options", "schemes"), CASES, ids=[case[0] for case in CASES])
def test_programs_agree_with_the_network(
    kind: str, backend: str, package: str, options: dict[str, Any], schemes: list[str], tmp_path: Path
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    arguments = [kind, backend, json.dumps(options), *schemes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == schemes
    for scheme, facts in found.items():
        assert facts["error"] < TOLERANCE[scheme], (scheme, facts)
        assert scheme == "fp32" or facts["error"] > 1e-6  # something was quantized
        if backend == "executorch":
            assert facts["stamped"] == 3
        if backend == "xla":
            assert facts["scanned"] == 3


def main(kind: str, backend: str, options: str, *schemes: str) -> None:
    """Print the relative L2 error of every scheme's program, from disk, as JSON."""
    import numpy as np
    import tiny_encoders
    import torch

    from gen3dexport import backends
    from gen3dexport.bundle.program import recorded, specs
    from gen3dexport.export import Captured
    from gen3dexport.models.component import Component
    from gen3dexport.networks.clip import ClipTokenEncoder
    from gen3dexport.networks.dino import DinoTokenEncoder

    torch.manual_seed(0)
    image, ids = torch.randn(1, 3, 42, 42), torch.randint(0, len(tiny_encoders.WORDS), (1, 11))
    module, found = backends.find(backend), {}
    for scheme in schemes:
        network: Any = (
            DinoTokenEncoder(tiny_encoders.dino()) if kind == "dinov2" else ClipTokenEncoder(tiny_encoders.clip())
        )
        inputs = {"image": image} if kind == "dinov2" else {"ids": ids}
        component = Component("encoder", network, inputs, ("features",), stack=network.stack)
        expected = component.run()["features"].numpy()
        given = module.Options(**{**json.loads(options), "min_features": 32})
        component = module.quantize(component, scheme, given)
        with tempfile.TemporaryDirectory() as folder:
            lowered = module.lower(Captured(component), given, Path(folder))
            record = recorded("encoder", lowered, specs(inputs), specs(component.run()), scheme=scheme)
            program = module.load(Path(folder), record)
            arrays = {name: program.xp.asarray(value.numpy()) for name, value in inputs.items()}
            features = np.asarray(program(arrays)["features"])
        found[scheme] = {
            "error": float(np.linalg.norm(features - expected) / np.linalg.norm(expected)),
            "stamped": lowered.facts.get("stamped_blocks"),
            "scanned": lowered.facts.get("blocks_scanned"),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
