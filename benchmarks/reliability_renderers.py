"""Result files of benchmarks/trust/kills.py, concurrency.py and reproducible.py as Markdown."""

from __future__ import annotations

from cells import DASH, Content, megabytes
from markdown_table import table


def kills(content: Content) -> str:
    """Builds killed at random times: what was left, and the resume ratio, by target."""
    head = ("target", "kills", "old / new bundle", "broken", "resumes failed", "drafts left")
    head += ("finished components made again", "children after 1 s")
    head += ("cold build, s", "resume ratio p50", "p90", "max")
    rows = []
    for row in content["rows"]:
        children = ", ".join(f"{count} × {name}" for name, count in row["children_after_1_s"].items())
        ratios = (f"{row[key]:.2f}" for key in ("p50", "p90", "max"))
        cold = f"{min(row['cold_s']):.1f} to {max(row['cold_s']):.1f}"
        found = f"{row['old']} / {row['new']}", row["broken"], row["failed_resumes"], row["drafts"]
        again = str(row["lost"] + row["made_again"])
        rows.append((row["target"], str(row["kills"]), *map(str, found), again, children or "0", cold, *ratios))
    total = content["total"]
    counts = (str(total[key]) for key in ("broken", "failed_resumes", "drafts"))
    ratios = (f"{total[key]:.2f}" for key in ("p50", "p90", "max"))
    again = str(total["lost"] + total["made_again"])
    rows.append(("**all**", str(total["kills"]), DASH, *counts, again, DASH, DASH, *ratios))
    return table(head, rows)


def concurrency(content: Content) -> str:
    """Commands at once: builds on one cache, and what ran beside what."""
    parts = [_builds(content["builds"])]
    replaced, prune, validate = content["replaced"], content["prune"], content["validate"]
    rows = [
        (
            "`run` while `build` replaces the bundle",
            f"{sum(replaced['runs'].values())} runs, {replaced['builds']} builds",
            _counts(replaced["runs"]),
        ),
        (
            "`load` and an asset in one process, quick exchanges",
            f"{sum(replaced['loads'].values())} loads, {replaced['exchanges']} exchanges",
            _counts(replaced["loads"]),
        ),
        ("`run` at once from one bundle", f"{content['runs']['runs']} runs", f"{content['runs']['assets']} asset"),
        ("`cache prune --max-size 0` during builds", f"{prune['builds']} builds", _counts(prune["prunes"])),
        ("`validate` (two at a time), `verify` and `run`", f"{validate['validations']} validations", _counts(validate)),
    ]
    parts += [table(("at once", "how many", "found"), rows), f"Errors: {content['errors']}."]
    return "\n\n".join(parts)


def _builds(rows: list[Content]) -> str:
    head = ("target", "builds", "caches", "lowered", "s", "× one build")
    cells = []
    for row in rows:
        one = row["one_build_s"]
        cells.append((row["target"], "1", "1", DASH, f"{one:.1f}", "1"))
        for name, found in row.items():
            if isinstance(found, dict):
                caches = "1" if name.endswith("one_cache") else str(found["builds"])
                counts = str(found["builds"]), caches, _counts(found["lowered"])
                cells.append((row["target"], *counts, f"{found['seconds']:.1f}", f"{found['seconds'] / one:.2f}"))
    return table(head, cells)


def _counts(found: Content) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items())


def loads(content: Content) -> str:
    """Loads of one process during exchanges."""
    found = content["loads"]
    cells = str(sum(found.values())), str(content["exchanges"]), _counts(found), str(content["errors"])
    return table(("loads", "exchanges", "found", "errors"), [cells])


def reproducible(content: Content) -> str:
    """Two builds of every target: files, bytes, and what differs."""
    rows = []
    for row in content["rows"]:
        seconds, name = f"{row['seconds']:.0f}", (row["target"], row["recipe"])
        if "error" in row:
            rows.append((*name, DASH, DASH, f"not built: {row['error']}", seconds))
            continue
        measured = [d for d in row["differences"] if d["measured"]]
        others = [f"{d['file']}: {d['where']}" for d in row["differences"] if not d["measured"]]
        verdict = "**" + "; ".join(others) + "**" if others else "nothing"
        verdict += f"; {len(measured)} measured fields" if measured else ""
        rows.append((*name, str(row["files"]), megabytes(row["bytes"]), verdict, seconds))
    return table(("target", "recipe", "files", "MB", "differs", "s for both"), rows)
