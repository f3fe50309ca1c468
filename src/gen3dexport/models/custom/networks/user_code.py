"""Where in the user's own code an error came from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from gen3dexport.models.custom.host.sources import of_user

_LONGEST = 300


def line_of(error: BaseException) -> str:
    """`file.py:12` of the innermost frame in a file of no installed package, of the error or what caused it; "" where
    there is none. The path is relative to the current folder where it lies in it."""
    seen: set[int] = set()
    found, one = "", error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        frames = traceback.extract_tb(one.__traceback__)
        if mine := [
            f for f in frames if f.lineno and Path(f.filename).suffix == ".py" and of_user(Path(f.filename).resolve())
        ]:
            found = short(mine[-1].filename, mine[-1].lineno)
        one = one.__cause__ or one.__context__  # type: ignore[assignment]
    return found


def short(file: str, line: int | None) -> str:
    """A file and line for people."""
    path = Path(file).resolve()
    for around in (Path.cwd(), *(Path(sysconfig.get_path(kind)) for kind in ("purelib", "stdlib"))):
        if path.is_relative_to(around.resolve()):
            path = path.relative_to(around.resolve())
            break
    return f"{path}:{line}" if line else str(path)


def told(error: BaseException) -> str:
    """An error in one line: its type, the first line of its message, and where in the user's code it arose."""
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
    place = line_of(error)
    if isinstance(error, SyntaxError) and error.filename:
        place = short(error.filename, error.lineno)
    return f"{said} ({place})" if place else said
