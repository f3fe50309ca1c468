"""Wrong values for every field of a document, found by walking its JSON schema along a document that is right.

A change is kept where the schema cannot take it, by the schema's own words (types, enums, limits, required and
forbidden keys). A place that the schema leaves open gets only what no document may hold (`NEVER`).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]

NEVER: Mapping[str, Any] = {
    "not a number": float("nan"),
    "infinite": float("inf"),
    "huge": 10**400,
    "control character": "a\0b",
    "deep": [],
}
"""What no document may hold in any place; `deep` is made as deep as `DEEP`."""
DEEP = 60
POOL: Mapping[str, Any] = {
    "null": None,
    "wrong type: text": "no such word",
    "wrong type: number": 5,
    "wrong type: fraction": 1.5,
    "wrong type: true": True,
    "wrong type: list": [[]],
    "wrong type: mapping": {"no such key": 1},
    "negative": -1,
    "too large": 2**62,
    "empty text": "",
    "empty list": [],
}
DEFAULT = "left to its default"
"""The kind of change that takes a key out which need not be there: it is no wrong document, but another one."""
GONE = object()
"""A value that is to be taken out."""


@dataclass(frozen=True)
class Wrong:
    """A change of a document: what stands at a path is replaced, taken out (`GONE`) or added."""

    path: Path
    kind: str
    value: Any

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.kind}"

    def of(self, document: Any) -> Any:
        """The changed copy of a document."""
        changed = copy.deepcopy(document)
        node = changed
        for key in self.path[:-1]:
            node = node[key]
        if self.value is GONE:
            del node[self.path[-1]]
        else:
            node[self.path[-1]] = self.value
        return changed


def wrong(document: Any, schema: Schema, inside: Mapping[str, Schema] | None = None) -> Iterator[Wrong]:
    """Every wrong change of a document.

    Args:
        schema: of the whole document.
        inside: dotted path (`*` for any one part) -> schema of what stands there, where `schema` leaves it open.
    """
    yield from _walk(document, schema, schema, (), {tuple(k.split(".")): v for k, v in (inside or {}).items()})


def _walk(
    value: Any, schema: Schema, root: Schema, path: Path, inside: Mapping[tuple[str, ...], Schema]
) -> Iterator[Wrong]:
    for pattern, other in inside.items():
        if len(pattern) == len(path) and all(p in ("*", str(k)) for p, k in zip(pattern, path, strict=True)):
            schema = root = other
    if path:
        for kind, bad in NEVER.items():
            yield Wrong(path, kind, _deep() if kind == "deep" else bad)
        for kind, bad in POOL.items():
            if (type(bad), bad) != (type(value), value) and not fits(bad, schema, root):
                yield Wrong(path, kind, bad)
    if isinstance(value, Mapping):
        known = _resolved(schema, root)
        for key in value:
            if len(known) == 1 and key in known[0].get("properties", ()):
                yield Wrong((*path, key), "missing" if key in known[0].get("required", ()) else DEFAULT, GONE)
        mappings = [s for s in known if s.get("type") == "object"]
        if mappings and all(s.get("additionalProperties") is False for s in mappings):
            yield Wrong((*path, "no_such_key"), "extra key", 1)
        for key, inner in value.items():
            yield from _walk(inner, _inner(key, inner, known, root), root, (*path, key), inside)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        known = _resolved(schema, root)
        for place, inner in enumerate(value):
            yield from _walk(inner, _item(place, known), root, (*path, place), inside)


def _deep() -> Any:
    made: Any = 1
    for _ in range(DEEP):
        made = [made]
    return made


def _resolved(schema: Schema, root: Schema) -> list[Schema]:
    """The plain schemas that a schema stands for: references followed, alternatives side by side."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return [found for one in schema[key] for found in _resolved(one, root)]
    if "allOf" in schema:
        return [found for one in schema["allOf"] for found in _resolved(one, root)]
    return [schema]


def _inner(key: str, value: Any, known: Sequence[Schema], root: Schema) -> Schema:
    """The schema of a mapping's value; of several alternatives, the one that the value's neighbours fit is not known,
    so that any of them will do."""
    found = []
    for schema in known:
        if key in schema.get("properties", {}):
            found.append(schema["properties"][key])
        elif isinstance(schema.get("additionalProperties"), Mapping):
            found.append(schema["additionalProperties"])
        elif "type" not in schema or (schema["type"] == "object" and "properties" not in schema):
            return {}
    return found[0] if len(found) == 1 else {"anyOf": found} if found else {}


def _item(place: int, known: Sequence[Schema]) -> Schema:
    found = []
    for schema in known:
        first = schema.get("prefixItems", ())
        if place < len(first):
            found.append(first[place])
        elif isinstance(schema.get("items"), Mapping):
            found.append(schema["items"])
        elif "type" not in schema or schema["type"] == "array":
            return {}
    return found[0] if len(found) == 1 else {"anyOf": found} if found else {}


def fits(value: Any, schema: Schema, root: Schema) -> bool:
    """Whether a schema may take a value; True where that is not certain."""
    return any(_fits(value, one, root) for one in _resolved(schema, root))


def _fits(value: Any, schema: Schema, root: Schema) -> bool:
    if "const" in schema:
        return bool(value == schema["const"] and type(value) is type(schema["const"]))
    if "enum" in schema:
        return any(value == one and type(value) is type(one) for one in schema["enum"])
    kind = schema.get("type")
    if kind is None:
        return True
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in ("integer", "number"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if kind == "integer" and isinstance(value, float) and not value.is_integer():
            return False
        low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
        high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
        return not (
            (low is not None and value < low)
            or (above is not None and value <= above)
            or (high is not None and value > high)
            or (below is not None and value >= below)
        )
    if kind == "string":
        if not isinstance(value, str):
            return False
        long_enough = len(value) >= schema.get("minLength", 0)
        return long_enough and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
    if kind == "array":
        if not isinstance(value, list):
            return False
        enough = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return enough and all(fits(inner, _item(place, [schema]), root) for place, inner in enumerate(value))
    if kind == "object":
        if not isinstance(value, Mapping) or any(key not in value for key in schema.get("required", ())):
            return False
        closed = schema.get("additionalProperties") is False
        if closed and any(key not in schema.get("properties", {}) for key in value):
            return False
        return all(fits(inner, _inner(key, inner, [schema], root), root) for key, inner in value.items())
    return True
