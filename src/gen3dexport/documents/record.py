"""The base of all data that is checked when it is made: frozen, and closed to unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

_MOST = 20

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w .+-]*$", max_length=100)]
"""What a document calls itself: a part of a file's name, so it leads to no other folder."""


class Record(BaseModel):
    """A frozen record; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def told(error: ValidationError) -> str:
    """What data lacks to be a record, in one line: each field with what is wrong there."""
    problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)]
    more = [f"and {len(problems) - _MOST} more"] if len(problems) > _MOST else []
    return "; ".join(problem.removeprefix(": ") for problem in (*problems[:_MOST], *more))
