"""Results of damaged bundles and malformed documents as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cells import Content
from markdown_table import table


def trust_damaged(content: Content) -> str:
    """Damaged copies by the way they were damaged, harmless ones by name, and programs packed anew."""
    keys = ("copies", "refused", "harmless", "accepted", "crashes")
    rows = [(row["kind"], *(str(row[key]) for key in keys)) for row in (*content["rows"], _total(content))]
    parts = [table(("damage", *keys), rows)]
    if content["harmless"]:
        parts.append("Harmless, or told by a signature alone: " + _counted(content["harmless"]) + ".")
    if content["children"]:
        told = "; ".join(f"`{command}` {_counted(found)}" for command, found in content["children"].items())
        parts.append(f"In processes of their own: {told}.")
    packed = [(one["target"], one["program"], one["run"]) for one in content["packed"]]
    head = ("target", "program packed anew, digests right", "`run --isolate`, exit code 7")
    return "\n\n".join([*parts, table(head, packed)])


def trust_malformed(content: Content) -> str:
    """Malformed documents by their kind, and how long a refusal took."""
    keys = ("inputs", "refused", "accepted", "crashes", "without a remedy", "slow")
    slowest = max(row["slowest_s"] for row in content["rows"])
    total = {"group": "all", "slowest_s": slowest, **content["total"]}
    rows = [
        (row["group"], *(str(row[key]) for key in keys), f"{row['slowest_s']:.1f}") for row in (*content["rows"], total)
    ]
    child = content["children"]
    said = f"In processes of their own: {child['refused']} of {child['inputs']} refused."
    codes = f"Exit codes: {_counted(content['exits'])}. Drawn of {content['of']} cases."
    return "\n\n".join([table(("document", *keys, "slowest, CPU s"), rows), codes, said])


def _total(content: Content) -> Mapping[str, object]:
    return {"kind": "all", **content["total"]}


def _counted(found: Mapping[str, int] | Sequence[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in dict(found).items())
