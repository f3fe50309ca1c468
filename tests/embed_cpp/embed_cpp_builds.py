"""The C++ library, configured and built."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "embed" / "cpp"
QUICK = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DGEN3D_WERROR=ON"]


def tiny_bundle(target_name: str, weights: Path, folder: Path, knobs: str = "") -> Path:
    """The tiny model for a target, which takes features; `knobs` is a line of its recipe."""
    import conftest

    from gen3dexport.build import build
    from gen3dexport.plan import make_plan, read_recipe, read_target

    (folder / "tiny.yaml").write_text(conftest.TINY_RECIPE.format(weights=weights) + knobs)
    target = read_target(target_name)
    build(make_plan(read_recipe(str(folder / "tiny.yaml"), target), target), folder / "bundle")
    return folder / "bundle"


def built(folder: Path, *options: str) -> Path:
    """The library, its tool and its tests."""
    import executorch

    runtime = Path(executorch.__path__[0])
    configure = ["cmake", "-S", str(SOURCES), "-B", str(folder), f"-DGEN3D_EXECUTORCH={runtime}", *QUICK, *options]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder
