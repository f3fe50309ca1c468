"""YAML documents read into frozen models, with every problem reported at once: file, line, path and remedy."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> CommentedMap:
    """The mapping in a YAML file, with line numbers kept.

    Raises:
        UsageError: when the file is missing, not UTF-8 text, not YAML, or not a mapping.
    """
    try:
        data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except YAMLError as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(data, CommentedMap):
        raise UsageError(f"{path}:1: needs `key: value` lines at the top level")
    return data


def parse_assignment(text: str) -> tuple[str, Any]:
    """`components.flow.scheme=bf16` as (dotted path, value read as YAML).

    Raises:
        UsageError: when there is no `=` or the value is not YAML.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"{text!r}: not an override; write key=value, e.g. components.flow.scheme=fp32")
    try:
        return key.strip(), YAML(typ="safe").load(value)
    except YAMLError as error:
        raise UsageError(f"{text!r}: the value is not valid YAML") from error


def with_overrides(data: CommentedMap, overrides: Mapping[str, Any]) -> CommentedMap:
    """A copy of `data` with dotted paths set; mappings on the way are made when they are missing."""
    data = copy.deepcopy(data)
    for path, value in overrides.items():
        node: Any = data
        *parents, last = path.split(".")
        for key in parents:
            if not isinstance(node.get(key), Mapping):
                node[key] = CommentedMap()
            node = node[key]
        node[last] = value
    return data


def parse(data: CommentedMap, model: type[Model], path: Path | str, moved: Callable[[str], str] = str) -> Model:
    """`data` as a `model`.

    Args:
        moved: a key of an earlier format, as a dotted path -> where it stands in this one, for the error.

    Raises:
        UsageError: with every problem: file, line, dotted path, what is wrong and the nearest known key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_describe(detail, data, model, path, moved) for detail in error.errors()]
        raise UsageError.of(sorted(problems)) from None


def _describe(detail: Any, data: Any, model: type[BaseModel], path: Path | str, moved: Callable[[str], str]) -> str:
    location: Sequence[str | int] = detail["loc"]
    key = ".".join(map(str, location))
    where = f"{path}:{_line(data, location)}: {key}"
    if detail["type"] == "extra_forbidden" and moved(key) != key:
        return f"{where}: unknown key; this format has it as {moved(key)}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: unknown key{did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))}"
    if detail["type"] == "missing":
        return f"{where}: missing; add it"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]} (got {detail['input']!r})"


def _line(data: Any, location: Sequence[str | int]) -> int:
    """Line of the key that is nearest to `location`, counted from 1."""
    line = 1
    for key in location:
        if isinstance(data, CommentedMap) and key in data:
            line = (data.lc.key(key)[0] if key in (data.lc.data or {}) else line - 1) + 1
            data = data[key]
        elif isinstance(data, CommentedSeq) and isinstance(key, int) and key < len(data):
            line = data.lc.item(key)[0] + 1
            data = data[key]
        else:
            break
    return line


def _known_keys(model: Any, location: Sequence[str | int]) -> list[str]:
    """The keys a model takes at `location`."""
    for key in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(key))
            model = _strip_optional(field.annotation) if field else None
        elif get_origin(model) in (dict, Mapping, typing.Mapping):
            model = _strip_optional(get_args(model)[1])
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _strip_optional(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next((a for a in get_args(annotation) if a is not type(None)), annotation)
    return annotation
