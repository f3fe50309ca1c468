"""The base of all data that is checked when it is made: frozen, and closed to unknown keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^\w[\w .+-]*$", max_length=100)]
"""What a document calls itself: a part of a file's name, so it leads to no other folder."""


class Record(BaseModel):
    """A frozen record; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
