"""What there is to build: recipes, targets, families and schemes; reading and copying shipped documents. No torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gen3dexport import backends, models
from gen3dexport.bundle import disk_error
from gen3dexport.documents.document import read_yaml
from gen3dexport.documents.shipped import did_you_mean, documents
from gen3dexport.documents.target import aliases, read_target
from gen3dexport.errors import UsageError

KINDS = ("recipes", "targets", "families", "schemes")


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


def find_document(name: str) -> Path:
    """The file of a shipped recipe or target.

    Raises:
        UsageError: when there is none of that name.
    """
    known = documents("recipes") | documents("targets")
    name = aliases().get(name, name)
    if name not in known:
        raise UsageError(f"{name!r}: neither a recipe nor a target{did_you_mean(name, {*known, *aliases()})}")
    return known[name]


def copy_document(name: str, path: Path) -> Path:
    """Copy a shipped document to a new file.

    Raises:
        UsageError: when the file exists or cannot be written.
    """
    source = find_document(name)
    path = path / source.name if path.is_dir() else path
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as stream:
            stream.write(source.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise UsageError(f"{path}: exists; choose another name") from error
    except OSError as error:
        raise disk_error(error, path) from error
    return path
