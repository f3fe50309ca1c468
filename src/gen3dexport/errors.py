"""The errors a user can meet, each with the exit code of the command line.

    GenExportError                1  internal
    ├── UsageError                2  recipe, target or command line is wrong
    │   └── RefusedError          2  a target does not take what a recipe asks of it
    ├── MissingError              3  a target's package or device is missing
    ├── ExportError               4  export or lowering refused
    ├── AccuracyError             5  accuracy or quality below its floor
    ├── VerificationError         7  digest, signature or format is wrong
    │   └── ProgramError          7  a program failed in its runtime, on inputs that fit it
    └── UnmeasuredError           8  nothing measured where a measurement was asked for
    Interrupted                 130  stopped by SIGINT or SIGTERM; no `except Exception` holds it up

A budget that is missed is a result and no error: `reports.report.exit_code` gives 5, 6 (latency, memory or size over
its budget) or 8 for it. So are bytes of a build that do not repeat: 9 (`validation.reproducible`). A message says what
is wrong, where, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence


class GenExportError(Exception):
    """Anything this package raises on purpose."""

    exit_code = 1

    @property
    def kind(self) -> str:
        """The name of the class of this module that it is: what another process knows of it."""
        return next(c.__name__ for c in type(self).__mro__ if c.__module__ == __name__)


class Interrupted(BaseException):
    """The user or the system asked the command to stop."""

    exit_code = 130


class UsageError(GenExportError):
    """A recipe, a target or the command line is wrong."""

    exit_code = 2

    @classmethod
    def of(cls, problems: Sequence[str]) -> UsageError:
        """One error for all problems found, one per line."""
        return cls("\n".join(problems))


class RefusedError(UsageError):
    """A target does not take what a recipe asks of it: nothing mends that but another choice."""


class MissingError(GenExportError):
    """A package or device that the target needs is missing."""

    exit_code = 3


class ExportError(GenExportError):
    """torch.export or the backend's compiler refused the component."""

    exit_code = 4


class AccuracyError(GenExportError):
    """Accuracy or asset quality is below its floor."""

    exit_code = 5


class VerificationError(GenExportError):
    """A bundle's digest, signature or format is wrong."""

    exit_code = 7


class ProgramError(VerificationError):
    """A program failed in its runtime, on inputs that fit what the bundle says of it."""


class UnmeasuredError(GenExportError):
    """Nothing was measured where the recipe asked for a measurement."""

    exit_code = 8


def of_kind(kind: str, message: str) -> GenExportError:
    """The error that another process had; see `GenExportError.kind`."""
    known = globals().get(kind)
    found = known if isinstance(known, type) and issubclass(known, GenExportError) else GenExportError
    return found(message)
