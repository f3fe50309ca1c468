"""Plain values: what a document may hold, whatever its fields mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

DEEPEST = 50
"""Levels of lists and mappings in a document."""
MOST = 100_000
"""Values in a document; a YAML alias counts as all that it stands for."""
LARGEST = 2**63 - 1
_SHOWN = 80


def problems(data: Any, most: int = 20, texts: bool = True) -> list[tuple[str, str]]:
    """(dotted path, what is wrong) of each value that no document may hold, in order; the first `most`.

    Numbers that are not finite or need more than 64 bits, control characters, keys that are no text, values that are
    neither text, number, true, false, null, list nor mapping, too many levels, too many values.

    Args:
        texts: whether control characters count too; other programs' messages may have some.
    """
    return list(islice(_problems(data, texts), most))


def shown(value: Any) -> str:
    """A value in an error: short, however large it is."""
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)} keys" if value else "{}"
    if isinstance(value, str | bytes):
        text = repr(value[: _SHOWN + 1])
        return text if len(value) <= _SHOWN else f"{text[:_SHOWN]}...{text[-1]}"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else "[]"
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number of more than 64 bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _problems(data: Any, texts: bool) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), data)]
    count = 0
    while waiting:
        where, value = waiting.pop()
        path = ".".join(where)
        count += 1
        if count > MOST:
            yield path, f"the document has more than {MOST} values (aliases count as what they stand for); shorten it"
            return
        if isinstance(value, Mapping | list | tuple) and len(where) >= DEEPEST:
            yield path[:_SHOWN], f"nested deeper than {DEEPEST} levels; make it flatter"
            return
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or _control(key):
                    yield ".".join((*where, shown(key))), "a key must be text; put it in quotes"
            named = [((*where, key), inner) for key, inner in value.items() if isinstance(key, str)]
            waiting += reversed(named)
        elif isinstance(value, list | tuple):
            waiting += reversed([((*where, str(number)), inner) for number, inner in enumerate(value)])
        elif (texts or not isinstance(value, str)) and (problem := _problem(value)) is not None:
            yield path, problem


def _problem(value: Any) -> str | None:
    """What is wrong with a value that holds no others, or None."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if abs(value) <= LARGEST else "needs more than 64 bits; write a smaller number"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"needs a finite number (got {value})"
    if isinstance(value, str):
        return f"has the control character {_control(value)!r}; take it out" if _control(value) else None
    return f"is neither text nor a number but {type(value).__name__}; put it in quotes"


def _control(text: str) -> str:
    """The first character that is no text: below a space, but for line ends and tabs; or half of a surrogate pair."""
    return next((c for c in text if (c < " " and c not in "\t\n\r") or c == "\x7f" or "\ud800" <= c <= "\udfff"), "")
