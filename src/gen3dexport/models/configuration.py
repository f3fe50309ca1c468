"""A checkpoint's `config.json`: read, and made a family's model of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.record import Record, told
from gen3dexport.errors import UsageError

Model = TypeVar("Model", bound=Record)


def read_configuration(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The values of a configuration.

    Args:
        what: it is, in words; remedy: where there is none, what to do.

    Raises:
        UsageError: when the file is missing or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path}: not found; {remedy}")
    return read_json(path, what)


def checked(model: type[Model], values: Mapping[str, Any], what: str, where: str) -> Model:
    """The model of a configuration's values.

    Raises:
        UsageError: when it is none, in words for people.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UsageError(f"{where}: not {what}: {told(error)}") from error
