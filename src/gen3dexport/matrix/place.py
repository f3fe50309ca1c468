"""The folder of a matrix.

matrix.json            the report, which marks the folder as a matrix's; beside it matrix.html, matrix.md, matrix.xml
bundles/RECIPE-TARGET  bundles
cells/NAME.json        what became of a cell; cells/NAME.attempts: a line for each time that its build was begun
logs/NAME.log          what its build said
recipes/               tiny recipes, where they were asked for
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from gen3dexport import __version__
from gen3dexport.bundle.drafts import check_out
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.disk import disk_error, write_atomically
from gen3dexport.errors import UsageError
from gen3dexport.matrix.results import Result

MARKER = "matrix.json"


class Place:
    """The folder of a matrix.

    Attributes:
        folder: absolute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def check(self) -> None:
        """Refuse a folder that has something else in it.

        Raises:
            UsageError: for such a folder, or a file.
        """
        check_out(self.folder, MARKER, "matrix's folder")

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a matrix is built in the folder, which is made; no other one may be.

        Raises:
            UsageError: when another one is, or the folder cannot be written.
        """
        self.check()
        try:
            for name in ("bundles", "cells", "logs"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=0):
                if not (self.folder / MARKER).is_file():
                    write_atomically(self.folder / MARKER, json.dumps({"gen3dexport": __version__}).encode())
                yield
        except Timeout as error:
            raise UsageError(
                f"{self.folder}: another matrix is built there; wait for it or choose another -o"
            ) from error
        except OSError as error:
            raise disk_error(error, self.folder) from error

    def bundle(self, name: str) -> Path:
        """The bundle of a cell."""
        return self.folder / "bundles" / name

    def log(self, name: str) -> Path:
        """What the build of a cell said."""
        return self.folder / "logs" / f"{name}.log"

    def begin_attempt(self, name: str, where: str) -> None:
        """Note that a build of the cell begins there."""
        with self._attempts(name).open("a") as stream:
            stream.write(where + "\n")

    def attempts(self, name: str) -> tuple[str, ...]:
        """Where builds of the cell were begun, in order, since `forget_attempts`."""
        path = self._attempts(name)
        return tuple(path.read_text().splitlines()) if path.is_file() else ()

    def forget_attempts(self, name: str) -> None:
        """Count anew."""
        self._attempts(name).unlink(missing_ok=True)

    def _attempts(self, name: str) -> Path:
        return self.folder / "cells" / f"{name}.attempts"

    def keep(self, result: Result) -> None:
        """Write down what became of a cell, at once: a matrix that is killed keeps it."""
        path = self.folder / "cells" / f"{result.name}.json"
        write_atomically(path, result.model_dump_json(indent=1).encode())

    def result(self, name: str) -> Result | None:
        """What became of a cell in an earlier matrix; None where nothing is known of it, or it cannot be read."""
        try:
            return Result.model_validate_json((self.folder / "cells" / f"{name}.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def finished(self, name: str, digest: str) -> Result | None:
        """What became of a cell that passed with the same digest, if its bundle is there and whole."""
        found = self.result(name)
        if found is None or found.status != "pass" or found.digest != digest:
            return None
        return found if self._is_whole(name) else None

    def _is_whole(self, name: str) -> bool:
        """Whether the manifest is there, and every file that it lists, in its size."""
        folder = self.bundle(name)
        try:
            files = json.loads((folder / MANIFEST).read_text())["files"]
            return all((folder / file).stat().st_size == listed["bytes"] for file, listed in files.items())
        except (OSError, ValueError, KeyError, TypeError):
            return False
