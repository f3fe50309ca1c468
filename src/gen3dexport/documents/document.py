"""YAML documents read into frozen models, with every problem reported at once: file, line, path and remedy."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gen3dexport.documents.plain import DEEPEST, problems, shown
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)

_LARGEST_FILE = 2**18


def read_yaml(path: Path) -> CommentedMap:
    """The mapping in a YAML file, with line numbers kept.

    Raises:
        UsageError: when the file is missing, not UTF-8 text, not YAML, not a mapping, or holds what no document may:
            see `plain.problems`.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UsageError(f"{path}: larger than {_LARGEST_FILE // 2**10} KiB, which no recipe or target needs")
        data = _load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); copy it again, or name another file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not valid YAML: {error.problem}; write that line anew") from error
    except YAMLError as error:  # characters that no YAML text has
        raise UsageError(f"{path}: not valid YAML: {str(error).splitlines()[0]}; save it as plain text") from error
    except (ValueError, OverflowError) as error:  # a number that no number type takes
        raise UsageError(f"{path}: not valid YAML: {error}; write a smaller number, or put it in quotes") from error
    if not isinstance(data, CommentedMap):
        raise UsageError(f"{path}:1: needs `key: value` lines at the top level")
    if found := problems(data):
        raise UsageError.of([f"{path}:{_line(data, key.split('.'))}: {key}: {problem}" for key, problem in found])
    return data


def _load(text: str) -> Any:
    """What YAML text stands for, with line numbers."""
    yaml = YAML(typ="rt")
    yaml.Composer = _FlatComposer
    return yaml.load(text)


class _FlatComposer(Composer):
    """Refuses what is nested so deep that reading it takes long or overflows the stack."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node and those inside it."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.loader.parser.peek_event().start_mark
            raise MarkedYAMLError(problem=f"nested deeper than {DEEPEST} levels; make it flatter", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse_assignment(text: str) -> tuple[str, Any]:
    """`components.flow.scheme=bf16` as (dotted path, value read as YAML).

    Raises:
        UsageError: when there is no `=`, or the value is not YAML or holds what no document may.
    """
    key, sign, value = text.partition("=")
    key = key.strip()
    if not sign or not all(key.split(".")):
        raise UsageError(f"{shown(text)}: not an override; write key=value, e.g. components.flow.scheme=fp32")
    try:
        found = _load(value)
    except (YAMLError, ValueError, OverflowError) as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UsageError(f"{shown(text)}: the value is not valid YAML ({problem}); put a text in quotes") from error
    if wrong := problems(found):
        raise UsageError.of([f"override {'.'.join(filter(None, (key, at)))}: {problem}" for at, problem in wrong])
    return key, found


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


def parse(
    data: CommentedMap,
    model: type[Model],
    path: Path | str,
    moved: Callable[[str], str] = str,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> Model:
    """`data` as a `model`.

    Args:
        moved: a key of an earlier format, as a dotted path -> where it stands in this one, for the error.
        origins: dotted paths that were set over the file's -> what stands before the key in an error.

    Raises:
        UsageError: with every problem: file, line, dotted path, what is wrong and the nearest known key.
    """
    try:
        made = model.model_validate(data)
    except ValidationError as error:
        found = [(_where(detail["loc"], data, path, origins), detail) for detail in error.errors()]
        raise UsageError.of(sorted(f"{where}: {_describe(detail, model, moved)}" for where, detail in found)) from None
    if wrong := [_where(location, data, path, origins) for location in _numbers_from_bools(data, made)]:
        raise UsageError.of([f"{where}: needs a number (got true or false)" for where in wrong])
    return made


def _numbers_from_bools(data: Any, made: Any, location: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where `data` has true or false and the model, which takes them for 1 and 0, a number."""
    if isinstance(data, bool):
        if not isinstance(made, bool):
            yield location
    elif isinstance(data, Mapping):
        fields = (
            {field.alias or name: name for name, field in type(made).model_fields.items()}
            if isinstance(made, BaseModel)
            else {}
        )
        for key, value in data.items():
            inner = getattr(made, fields[key]) if key in fields else made[key] if isinstance(made, Mapping) else value
            yield from _numbers_from_bools(value, inner, (*location, key))
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for number, (value, inner) in enumerate(zip(data, made, strict=True)):
            yield from _numbers_from_bools(value, inner, (*location, number))


def _where(location: Sequence[str | int], data: Any, path: Path | str, origins: Mapping[str, str]) -> str:
    """Where a value stands: file and line, or the override that set it or something around it, and its key."""
    keys = [str(key) for key in location]
    key = ".".join(keys)
    around = (".".join(keys[:end]) for end in range(len(keys), 0, -1))
    inside = () if _stands_in_file(data, location) else (name for name in origins if name.startswith(f"{key}."))
    for name in (*around, *inside):
        if name in origins:
            return f"{origins[name]} {key}"
    return f"{path}:{_line(data, location)}: {key}"


def _stands_in_file(data: Any, location: Sequence[str | int]) -> bool:
    """Whether a key was read from the file, and not made for an override."""
    for key in location:
        if not isinstance(data, CommentedMap):
            return True
        if key not in (data.lc.data or {}):
            return False
        data = data[key]
    return True


def _describe(detail: Any, model: type[BaseModel], moved: Callable[[str], str]) -> str:
    location: Sequence[str | int] = detail["loc"]
    key = ".".join(map(str, location))
    if detail["type"] == "extra_forbidden" and moved(key) != key:
        return f"unknown key; this format has it as {moved(key)}"
    if detail["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))}"
    if detail["type"] == "missing":
        return "missing; add it"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]} (got {shown(detail['input'])})"


def _line(data: Any, location: Sequence[str | int]) -> int:
    """Line of the key that is nearest to `location`, counted from 1."""
    line = 1
    for key in location:
        if isinstance(data, CommentedSeq) and isinstance(key, str) and key.isdecimal():
            key = int(key)
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
