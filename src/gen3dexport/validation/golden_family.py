"""Which family a golden set is of, where several families' sets lie in one folder."""

from __future__ import annotations

from pathlib import Path

from gen3dexport import models
from gen3dexport.documents.json_file import read_json
from gen3dexport.documents.shipped import did_you_mean
from gen3dexport.errors import UsageError


def golden_family(name: str, folder: Path) -> str:
    """The family of a golden set.

    Args:
        name: a family, or a folder of golden data that families share (their `GOLDEN`); `-` and `_` are alike.
        folder: the set, whose `meta.json` says what it is of.

    Raises:
        UsageError: when there is neither such a family nor such a folder, or no family reads this set of it.
    """
    families = models.names()
    found = next((family for family in families if _alike(family, name)), None)
    if found is not None:
        return found
    shared: dict[str, dict[str, str]] = {}
    for family in families:
        for place, components in getattr(models.package(family), "GOLDEN", {}).items():
            shared.setdefault(place, {}).update(dict.fromkeys(components, family))
    place = next((known for known in shared if _alike(known, name)), None)
    if place is None:
        raise UsageError(f"family {name!r}: unknown{did_you_mean(name, [*families, *shared])}")
    kind = str(read_json(folder / "meta.json", "a golden set's file").get("component"))
    if kind not in shared[place]:
        raise UsageError(f"{folder}: no family reads a set of {kind!r} of {place}{did_you_mean(kind, shared[place])}")
    return shared[place][kind]


def _alike(one: str, other: str) -> bool:
    return one.replace("-", "_") == other.replace("-", "_")
