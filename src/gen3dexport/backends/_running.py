"""A call of a vendor's runtime: whatever it raises becomes one error, which names the component."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.errors import GenExportError, ProgramError


@contextmanager
def running(program: ProgramRecord, runtime: str) -> Iterator[None]:
    """Around a call of `program` in a runtime.

    Raises:
        ProgramError: for whatever the runtime raises; the cause is kept.
    """
    try:
        yield
    except GenExportError:
        raise
    except MemoryError as error:
        raise ProgramError(f"{_named(program)}: {runtime} ran out of memory; use a machine with more") from error
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ProgramError(
            f"{_named(program)}: {runtime} failed on it ({said[0]}); run `gen3dexport verify` on the bundle, "
            "then build it again or install the versions that its manifest names"
        ) from error


def _named(program: ProgramRecord) -> str:
    own = program.name == program.component
    return f"component {program.component}" + ("" if own else f" (program {program.name})")
