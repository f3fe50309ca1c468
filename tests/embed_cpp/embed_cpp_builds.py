"""The C++ library, configured and built."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "embed" / "cpp"
QUICK = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DGEN3D_WERROR=ON"]


def built(folder: Path, *options: str) -> Path:
    """The library, its tool and its tests."""
    import executorch

    runtime = Path(executorch.__path__[0])
    configure = ["cmake", "-S", str(SOURCES), "-B", str(folder), f"-DGEN3D_EXECUTORCH={runtime}", *QUICK, *options]
    for command in (configure, ["cmake", "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder
