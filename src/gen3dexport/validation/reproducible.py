"""Same inputs, same bytes: a recipe built twice for a target, each time as if by somebody else, and what differs."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gen3dexport import errors
from gen3dexport.bundle.manifest import verify
from gen3dexport.children import of_this_process
from gen3dexport.disk import scratch
from gen3dexport.documents.caches import cache_folder
from gen3dexport.errors import GenExportError, Interrupted
from gen3dexport.validation.differences import Difference, differences

EXIT_CODE = 9
"""Of a build whose bytes do not repeat."""
VARIED = "folders, HOME, TMPDIR, caches, PYTHONHASHSEED and numbers of processes"
"""What is not the same in the two builds."""
_BUILDERS = {"first": "1", "another_builder": "2"}  # folder -> hash seed, and components built at a time
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")


@dataclass(frozen=True)
class Repeated:
    """Two builds of the same inputs.

    Attributes:
        files, bytes: of the first bundle; differences: where the second differs.
    """

    files: int
    bytes: int
    differences: tuple[Difference, ...]

    @property
    def reproducible(self) -> bool:
        """Whether nothing differs but fields that are measured."""
        return all(difference.measured for difference in self.differences)


def build_twice(arguments: Sequence[str], on_build: Callable[[str], None] = lambda name: None) -> Repeated:
    """Build twice in processes of their own, with other `VARIED`, and compare every byte; nothing is kept.

    Args:
        arguments: of `gen3dexport build`, without `-o`: recipe, overrides, target.
        on_build: called with `build 1 of 2`, `build 2 of 2`, `compare`.

    Raises:
        GenExportError: of a build that fails.
    """
    with scratch() as place:
        bundles = []
        for number, (name, seed) in enumerate(_BUILDERS.items(), 1):
            on_build(f"build {number} of {len(_BUILDERS)}")
            bundles.append(_built(arguments, place / name, seed))
        on_build("compare")
        manifest = verify(bundles[0], reports=False)
        verify(bundles[1], reports=False)
        sizes = [file.bytes for file in manifest.files.values()]
        return Repeated(len(sizes), sum(sizes), tuple(differences(*bundles)))


def _built(arguments: Sequence[str], place: Path, seed: str) -> Path:
    folders = {"HOME": "home", "TMPDIR": "scratch", "GEN3DEXPORT_CACHE": "cache"}
    for name in folders.values():
        (place / name).mkdir(parents=True)
    (place / "cache" / "hub").symlink_to(cache_folder("hub").absolute())  # inputs, which need not come twice
    environment = {name: value for name, value in os.environ.items() if name not in _CACHES}
    environment |= {variable: str(place / name) for variable, name in folders.items()}
    environment |= {"PYTHONHASHSEED": seed, "PYTHONUSERBASE": site.getuserbase()}
    bundle = place / f"bundle-of-{place.name}"
    command = [sys.executable, "-m", "gen3dexport", "build", *arguments, "--skip-validation", "--json", "--jobs", seed]
    command += ["-o", str(bundle)]
    done = subprocess.run(command, env=of_this_process(environment), capture_output=True, text=True)
    if done.returncode:
        raise _error(done)
    return bundle


def _error(done: subprocess.CompletedProcess[str]) -> BaseException:
    """The error that a build told as JSON, or what it said last."""
    try:
        told = json.loads(done.stdout)
        kind = getattr(errors, told["error"])
    except (ValueError, LookupError, TypeError, AttributeError):
        tail = "\n  ".join(done.stderr.strip().splitlines()[-12:])
        return GenExportError(f"a build ended with status {done.returncode}:\n  {tail}")
    return Interrupted() if kind is Interrupted else kind(told["message"])
