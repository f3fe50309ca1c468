"""The command that makes an asset: which executable, and its arguments."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .bundle import Bundle, Refused

CPP, PYTHON = "gen3d", "gen3dexport"
LARGEST_SEED = 2**31 - 1
"""Of Blender's whole numbers."""


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        image: a picture's path, or "" for an asset of the prompt.
        kind: `mesh` or `gaussians`.
        fields: `NAME=VALUE` texts that the bundle's family lets a run change.
        largest_part: leave out what hangs in the air.
    """

    prompt: str = ""
    image: str = ""
    seed: int = 0
    kind: str = "mesh"
    fields: tuple[str, ...] = ()
    largest_part: bool = False

    @property
    def file(self) -> str:
        """What the asset's file is called."""
        return "asset.ply" if self.kind == "gaussians" else "asset.glb"

    def check(self) -> None:
        """Refuse what no bundle could make.

        Raises:
            Refused: for it.
        """
        if self.image:
            if not Path(self.image).is_file():
                raise Refused(f"{self.image}: no picture there; choose a file")
        elif not self.prompt.strip():
            raise Refused("no prompt: say what to make, or choose a picture")
        if wrong := [field for field in self.fields if "=" not in field]:
            raise Refused(f"{wrong[0]}: write NAME=VALUE, e.g. on_overflow=coarsen")


def is_cpp(executable: str) -> bool:
    """Whether a path names the C++ tool."""
    return Path(executable).stem == CPP


def executable(
    given: str, bundle: Bundle, request: Request, which: Callable[[str], str | None] = shutil.which
) -> list[str]:
    """The words that a command line starts with.

    Args:
        given: the path of the preferences: of `gen3dexport`, `gen3d`, or a Python that has gen3dexport; "" to look on
            PATH, where `gen3d` goes before for what it can make.

    Raises:
        Refused: when there is none, or the one that is named cannot make this.
    """
    if given:
        found = which(given)
        if found is None:
            raise Refused(f"{given}: no executable there; mend the add-on's preferences")
        if is_cpp(found) and (reason := _not_by_cpp(bundle, request)):
            raise Refused(f"{found}: {reason}; set {PYTHON} in the add-on's preferences")
        return [found, "-m", PYTHON] if Path(found).stem.startswith("python") else [found]
    cpp, python = which(CPP), which(PYTHON)
    reason = _not_by_cpp(bundle, request)
    if cpp and not reason:
        return [cpp]
    if python:
        return [python]
    if cpp:
        raise Refused(f"{cpp}: {reason}; set {PYTHON} in the add-on's preferences")
    raise Refused(f"neither {CPP} nor {PYTHON} is on PATH; set one in the add-on's preferences")


def _not_by_cpp(bundle: Bundle, request: Request) -> str:
    """Why the C++ tool cannot make it; "" when it can."""
    if not bundle.by_cpp:
        return f"makes assets of ExecuTorch bundles with host steps, and {bundle.name} for {bundle.target} is none"
    if request.image or request.kind != "mesh" or request.fields or request.largest_part:
        return "makes meshes of prompts, without further options"
    return ""


def words(start: Sequence[str], bundle: Bundle, request: Request, folder: Path, threads: int = 0) -> list[str]:
    """The whole command line, which writes `request.file` into a folder.

    Args:
        threads: for the C++ tool; gen3dexport takes them from its environment.
    """
    out = [*start, "run", str(bundle.folder), "-o", str(folder / request.file), "--seed", str(request.seed), "--json"]
    # One word: a prompt may begin with a dash.
    if is_cpp(start[0]):
        out += ["--threads", str(threads)] if threads else []
        return [*out, "--progress", "--prompt", request.prompt]
    out += ["--image", request.image] if request.image else [f"--prompt={request.prompt}"]
    out += ["--kind", "gaussians"] if request.kind == "gaussians" else []
    out += ["--largest-part"] if request.largest_part else []
    return out + [word for field in request.fields for word in ("--set", field)]
