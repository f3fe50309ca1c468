"""`gen3dexport ls`: recipes, targets, families and schemes. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json

EXAMPLE = "gen3dexport ls targets"


def list_(
    what: Annotated[str, typer.Argument(help="recipes, targets, families or schemes; all when left out.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Schemes on targets as a Markdown table.")] = False,
    as_json: Json = False,
) -> None:
    """List what there is to build."""
    from gen3dexport.cli.listing import listing, scheme_matrix
    from gen3dexport.cli.show import show_listing
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
    if what and what not in KINDS:
        raise UsageError(f"ls {what!r}: unknown{did_you_mean(what, KINDS)}")
    makers = {"recipes": _recipes, "targets": _targets, "families": _families, "schemes": schemes}
    return {kind: makers[kind]() for kind in KINDS if what in ("", kind)}


def _recipes() -> list[dict[str, Any]]:
    rows = [(name, read_yaml(path)) for name, path in documents("recipes").items()]
    return [{"name": name, "family": d.get("family"), "summary": d.get("summary")} for name, d in rows]


def _targets() -> list[dict[str, Any]]:
    targets = [read_target(name) for name in documents("targets")]
    return [
        {"name": t.name, "aliases": list(t.aliases), "backend": t.backend, "device": t.device, "summary": t.summary}
        for t in targets
    ]


def _families() -> list[dict[str, Any]]:
    docs = {name: (models.pipeline(name).__doc__ or "").splitlines()[0] for name in models.names()}
    return [{"name": name, "summary": doc} for name, doc in docs.items()]


def schemes() -> list[dict[str, Any]]:
    """Every scheme of every backend: what it does there, or why it is refused."""
    rows = []
    for name in backends.names():
        backend = backends.find(name)
        rows += [{"backend": name, "scheme": s, "works": True, "note": note} for s, note in backend.SCHEMES.items()]
        rows += [{"backend": name, "scheme": s, "works": False, "note": why} for s, why in backend.REFUSED.items()]
    return sorted(rows, key=lambda r: (r["scheme"], r["backend"]))


def scheme_matrix() -> str:
    """Markdown: every scheme on every shipped target, and why where it is refused. `docs/schemes.md` is this text."""
    targets = [read_target(name) for name in documents("targets")]
    known = sorted({row["scheme"] for row in schemes()})
    answers: dict[tuple[str, str], str | None] = {}
    for target in targets:
        backend, options = backends.find(target.backend), target.backend_options()
        own = getattr(backend, "refused_for", lambda scheme, _, refused=backend.REFUSED: refused.get(scheme))
        answers |= {(target.name, scheme): own(scheme, options) for scheme in known}
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
    """One table per kind."""
    console = _console()
    for kind, rows in found.items():
        columns = list(rows[0]) if rows else []
        table = _table(*columns, title=kind if len(found) > 1 else None)
        for row in rows:
            table.add_row(*(_cell(row[c]) for c in columns))
        console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value or "")
