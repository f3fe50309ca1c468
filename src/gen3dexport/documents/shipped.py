"""Data that ships with the package: recipes, targets and weights. The folder is the registry."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from gen3dexport.errors import UsageError

_PACKAGE = Path(__file__).parents[1]
_MOST_WORDS = 20
_HARDLY_LONGER = 0.8
_NEAR = 0.6
_SHORTEST_BEGINNING = 3


def shipped(kind: str) -> Path:
    """The folder `recipes`, `targets` or `weights`: inside an installed package, or in the checkout."""
    inside = _PACKAGE / kind
    return inside if inside.is_dir() else _PACKAGE.parent.parent / kind


def own_licence() -> Path:
    """The file LICENSE of this package: inside an installed one, or in the checkout."""
    inside = _PACKAGE / "LICENSE"
    return inside if inside.is_file() else _PACKAGE.parent.parent / "LICENSE"


def documents(kind: str) -> dict[str, Path]:
    """Every shipped YAML file of that kind, by name."""
    return {path.stem: path for path in sorted(shipped(kind).glob("*.yaml"))}


def did_you_mean(word: str, known: Collection[str], see: str = "") -> str:
    """`; did you mean X?`, or the known words when none is near: of many the first, and the command `see` for the rest.

    What begins with the word is near; of several such, one that is hardly longer, else the first.
    """
    words = sorted(set(known))
    near = [other for other in words if len(word) >= _SHORTEST_BEGINNING and other.startswith(word)]
    near = difflib.get_close_matches(word, near, n=1, cutoff=_HARDLY_LONGER) or near
    near = near or difflib.get_close_matches(word, words, n=1, cutoff=_NEAR)
    if near or not words:
        return f"; did you mean {near[0]!r}?" if near else ""
    more = len(words) - _MOST_WORDS
    text = f"; there {'is' if len(words) == 1 else 'are'} {', '.join(words[:_MOST_WORDS])}" + (
        f" and {more} more" if more > 0 else ""
    )
    return text + (f"; see: {see}" if see else "")


def locate(kind: str, name: str, aliases: dict[str, str] | None = None) -> Path:
    """The file of a shipped name, an alias, or a path ending in .yaml.

    Raises:
        UsageError: when there is none, with the nearest known name.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if path.is_file():
            return path
        what = "a folder, a pipe or a device, and no file" if path.exists() else "not found"
        one = kind.removesuffix("s")
        raise UsageError(f"{one} file {name!r}: {what}; give a YAML file, or a name of `gen3dexport ls {kind}`")
    found = documents(kind)
    name = (aliases or {}).get(name, name)
    if name not in found:
        known = did_you_mean(name, {*found, *(aliases or {})}, f"gen3dexport ls {kind}")
        raise UsageError(f"{kind.removesuffix('s')} {name!r}: unknown{known}")
    return found[name]
