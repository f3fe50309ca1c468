"""`gen3dexport ls`: recipes, targets, families and schemes. No torch."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json
from gen3dexport.cli.text_table import show_rows

EXAMPLE = "gen3dexport ls targets"
KINDS = ("recipes", "targets", "families", "schemes")


def ls(
    what: Annotated[
        str, typer.Argument(help="One of recipes, targets, families, schemes; else all.", metavar="KIND")
    ] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Schemes on targets as a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List what there is to build."""
    from gen3dexport.errors import UsageError

    if markdown:
        if what != "schemes" or as_json:
            raise UsageError("ls --markdown is of schemes, and no JSON: gen3dexport ls schemes --markdown")
        print(scheme_matrix(), end="")
        return
    found = listing(what)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        show_listing(found)


def listing(what: str = "") -> dict[str, list[dict[str, Any]]]:
    """Rows by kind: the asked one, or all.

    Raises:
        UsageError: for another kind.
    """
    from gen3dexport.documents.shipped import did_you_mean
    from gen3dexport.errors import UsageError

    if what and what not in KINDS:
        raise UsageError(f"ls {what!r}: unknown{did_you_mean(what, KINDS)}")
    makers = {"recipes": _recipes, "targets": _targets, "families": _families, "schemes": schemes}
    return {kind: makers[kind]() for kind in KINDS if what in ("", kind)}


def _recipes() -> list[dict[str, Any]]:
    from gen3dexport.documents.head import head
    from gen3dexport.documents.shipped import documents

    rows = [(name, head(path, ("family", "summary"))) for name, path in documents("recipes").items()]
    return [{"name": name, "family": d.get("family"), "summary": d.get("summary")} for name, d in rows]


def _targets() -> list[dict[str, Any]]:
    from gen3dexport.documents.head import head
    from gen3dexport.documents.shipped import documents

    fields = ("aliases", "backend", "device", "summary")
    rows = [(name, head(path, fields)) for name, path in documents("targets").items()]
    return [{"name": name, "aliases": [], **{f: d[f] for f in fields if f in d}} for name, d in rows]


def _families() -> list[dict[str, Any]]:
    from gen3dexport import models

    return [{"name": name, "summary": _summary(models.module_name(name))} for name in models.names()]


def _summary(package: str) -> str:
    """First line of a package's docstring; the package is not imported, for a family may take a second to."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return "cannot be imported; install its package again"
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (doc or "").partition("\n")[0]


def schemes() -> list[dict[str, Any]]:
    """Every scheme of every backend: what it does there, or why it is refused."""
    from gen3dexport import backends

    rows = []
    for name in backends.names():
        backend = backends.find(name)
        rows += [{"backend": name, "scheme": s, "works": True, "note": note} for s, note in backend.SCHEMES.items()]
        rows += [{"backend": name, "scheme": s, "works": False, "note": why} for s, why in backend.REFUSED.items()]
    return sorted(rows, key=lambda r: (r["scheme"], r["backend"]))


def scheme_matrix() -> str:
    """Markdown: every scheme on every shipped target, and why where it is refused. `docs/schemes.md` is this text."""
    from gen3dexport import backends
    from gen3dexport.documents.shipped import documents
    from gen3dexport.plan import backend_options, read_target

    targets = [read_target(name) for name in documents("targets")]
    known = sorted({row["scheme"] for row in schemes()})
    answers: dict[tuple[str, str], str | None] = {}
    for target in targets:
        backend, options = backends.find(target.backend), backend_options(target)
        answers |= {(target.name, scheme): backends.refused_for(backend, scheme, options) for scheme in known}
    reasons = list(dict.fromkeys(reason for reason in answers.values() if reason))
    lines = [
        "# Schemes on targets",
        "",
        "Made by `gen3dexport ls schemes --markdown`. A number is the reason below.",
        "",
    ]
    lines += [f"| target | {' | '.join(known)} |", f"|---{'|---' * len(known)}|"]
    for target in targets:
        cells = [answers[target.name, scheme] for scheme in known]
        shown = " | ".join("works" if reason is None else str(reasons.index(reason) + 1) for reason in cells)
        lines.append(f"| {target.name} | {shown} |")
    lines += ["", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]
    return "\n".join(lines) + "\n"


def show_listing(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """One table per kind, as wide as the terminal."""
    for number, (kind, rows) in enumerate(found.items()):
        if kind == "targets":  # what the backend and the device say once more; `show` and --json have it
            rows = [{field: value for field, value in row.items() if field != "summary"} for row in rows]
        if len(found) > 1:
            print(("\n" if number else "") + kind)
        show_rows(list(rows[0]) if rows else [], [[_cell(v) for v in row.values()] for row in rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value or "")
