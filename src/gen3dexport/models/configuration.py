"""A checkpoint's `config.json`: read, and made a family's model of it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

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


def fields_of(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are fields of a model: files say more, of training or of what is given elsewhere."""
    return {name: value for name, value in values.items() if name in model.model_fields}


def check_equal(pairs: Mapping[str, tuple[Any, Any]]) -> None:
    """Check that the parts of a model fit each other.

    Args:
        pairs: names of two values, and these.

    Raises:
        ValueError: naming two that differ.
    """
    for names, (one, other) in pairs.items():
        if one != other:
            raise ValueError(f"{names} must be equal, and are {one} and {other}")


def checked(model: type[Model], values: Mapping[str, Any], what: str, where: str, remedy: str = "") -> Model:
    """The model of a configuration's values.

    Args:
        what: it is, in words; where: it lies; remedy: what to do where it is none.

    Raises:
        UsageError: when it is none, in words for people.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise UsageError(f"{where}: not {what}: {told(error)}{remedy and f'; {remedy}'}") from error
