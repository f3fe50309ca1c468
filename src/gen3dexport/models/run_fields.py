"""What an application may change in a pipeline's settings when it runs a bundle. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError


def with_run_fields(settings: Any, values: Mapping[str, str]) -> Any:
    """The settings with some of their run fields set.

    Args:
        settings: of any family; its `RUN_FIELDS` names what may be set.
        values: by name.

    Raises:
        UsageError: for an unknown name, a part that this pipeline has not, or a value that the field does not take.
    """
    fields = settings.model_dump()
    for name, value in values.items():
        path = type(settings).RUN_FIELDS.get(name)
        if path is None:
            known = type(settings).RUN_FIELDS
            raise UsageError(f"{name}: this pipeline has no such field{did_you_mean(name, known) if known else ''}")
        node = fields
        *parents, last = path.split(".")
        for part in parents:
            node = node[part]
            if node is None:
                raise UsageError(f"{name}: this pipeline has no {part}, so there is nothing to set; leave it out")
        node[last] = value
    try:
        return type(settings)(**fields)
    except ValidationError as error:
        problem, said = error.errors()[0], ", ".join(f"{k}={v}" for k, v in values.items())
        words = re.findall(r"'([^']*)'", problem.get("ctx", {}).get("expected", ""))
        near = did_you_mean(str(problem["input"]), words) if words else ""
        raise UsageError(f"{said}: {problem['msg'][0].lower()}{problem['msg'][1:]}{near}") from None
