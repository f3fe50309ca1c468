"""Compare: two bundles or reports side by side, with verdicts on what got worse. No torch.

Only like is judged: measured with measured on one device, estimated with estimated by one cost model (where estimates
are accepted). Everything else is shown, with the reason why it is not judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.reports.report import Report, number, worst_error

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Thresholds:
    """How much worse B may be than A; None asks for nothing.

    Attributes:
        latency, size, memory: relative increase (0.05: five percent).
        quality: loss of mean IoU or mean F-score, absolute, whichever is larger.
        accept_estimates: whether estimated latencies are judged.
    """

    latency: float | None = None
    size: float | None = None
    memory: float | None = None
    quality: float | None = None
    accept_estimates: bool = False


@dataclass(frozen=True)
class Number:
    """One number of a report: `value` is None when it is unmeasured; `by` its cost model, or why it is unmeasured."""

    value: float | None
    kind: str = "measured"
    by: str | None = None


_EXIT_CODES = {"quality": 5, "latency": 6, "memory": 6, "size": 6}


def read_report(path: Path) -> Report:
    """The report of a bundle's folder, or of a `report.json`.

    Raises:
        UsageError: when there is none.
        VerificationError: when it cannot be read as a report of this version.
    """
    file = path / "report.json" if path.is_dir() else path
    if not file.is_file():
        remedy = f"; make it with: gen3dexport validate {path}" if path.is_dir() else ""
        raise UsageError(f"{file}: no report there{remedy}")
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        version = report["schema"]
        if version == 1:
            _numbers(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise VerificationError(f"{file}: not a readable report ({error!r}); validate the bundle again") from error
    if version != 1:
        raise VerificationError(f"{file}: report format {version!r}, and this gen3dexport reads 1; upgrade gen3dexport")
    found: Report = report
    return found


def compare(a: Report, b: Report, thresholds: Thresholds) -> dict[str, Any]:
    """Rows of numbers of A and B, their change and, where a threshold asks for one, a verdict."""
    before, after = _numbers(a), _numbers(b)
    rows = []
    for key in (*before, *(k for k in after if k not in before)):
        program, metric = key
        row = _row(program, metric, before.get(key), after.get(key))
        rows.append(row | _judge(row, before.get(key), after.get(key), thresholds, _unlike(metric, a, b)))
    verdicts = [r["verdict"] for r in rows if r["verdict"]]
    return {
        "schema": 1,
        "a": _name(a),
        "b": _name(b),
        "rows": rows,
        "verdict": next((v for v in ("fail", "not judged") if v in verdicts), "pass" if verdicts else None),
    }


def exit_code(comparison: Facts) -> int:
    """0; 5 or 6 for the first failed row, quality first; 8 when a threshold could not be judged."""
    failed = [_EXIT_CODES[r["group"]] for r in comparison["rows"] if r["verdict"] == "fail"]
    return min(failed, default=8 if comparison["verdict"] == "not judged" else 0)


def _name(report: Report) -> dict[str, Any]:
    return {k: report.get(k) for k in ("bundle", "recipe", "target", "device", "created")}


def _numbers(report: Report) -> dict[tuple[str, str], Number]:
    """Every number that is compared, by (program, metric); program "" is the whole bundle."""
    found = {("", "size_mb"): Number(report["size_bytes"] / 1e6), ("", "latency_ms"): _latency(report["pipeline"])}
    quality, missing = report["pipeline"]["quality"], report["pipeline"]["missing"]
    for key in ("iou", "f_score", "chamfer"):
        mean = sum(float(q[key]) for q in quality) / len(quality) if quality else None
        found["", key] = Number(mean, "measured" if quality else "unmeasured", missing)
    for c in report["components"]:
        name, memory = c["name"], c["peak_memory"]
        found[name, "size_mb"] = Number((c["program_bytes"] + c["weights_bytes"]) / 1e6)
        found[name, "latency_ms"] = _latency(c)
        size = memory["bytes"] / 1e6 if memory["kind"] == "measured" else None
        found[name, "peak_memory_mb"] = Number(size, memory["kind"], memory.get("reason"))
        kind = "measured" if c["errors"].get("fp32") else "unmeasured"
        error = worst_error([c], "fp32") if kind == "measured" else None
        found[name, "relative_l2_fp32"] = Number(error, kind, c["missing"])
    return found


def _latency(facts: Facts) -> Number:
    latency = facts["latency"]
    match latency["kind"]:
        case "measured":
            return Number(float(latency["p50_ms"]))
        case "estimated":
            worst = max(latency["estimates"], key=lambda e: float(e["value"]))
            return Number(float(worst["value"]), "estimated", worst["by"])
    return Number(None, "unmeasured", latency["reason"])


def _unlike(metric: str, a: Report, b: Report) -> str | None:
    """Why two measured numbers of these reports say nothing about each other, or None when they do."""
    if metric in ("latency_ms", "peak_memory_mb"):
        if a["device"] != b["device"]:
            return "measured on different devices"
        threads = [{c["latency"].get("threads") for c in r["components"]} - {None} for r in (a, b)]
        return "measured with different numbers of threads" if threads[0] != threads[1] else None
    prompts = [(r["pipeline"]["prompts"], r["pipeline"]["seed"]) for r in (a, b)]
    if metric in ("iou", "f_score", "chamfer") and prompts[0] != prompts[1]:
        return "different prompts or seeds"
    return None


def _row(program: str, metric: str, a: Number | None, b: Number | None) -> dict[str, Any]:
    change = relative = None
    if a is not None and b is not None and a.kind == b.kind and a.value is not None and b.value is not None:
        change = b.value - a.value
        relative = change / abs(a.value) if a.value else None
    sides = {side: None if n is None else asdict(n) for side, n in (("a", a), ("b", b))}
    return {"program": program, "metric": metric, **sides, "change": change, "relative_change": relative}


_GROUPS = {"size_mb": "size", "latency_ms": "latency", "peak_memory_mb": "memory"} | dict.fromkeys(
    ("iou", "f_score"), "quality"
)


def _judge(
    row: Facts, a: Number | None, b: Number | None, thresholds: Thresholds, unlike: str | None
) -> dict[str, Any]:
    """Verdict of a row: on the whole bundle for size, latency and quality, on each program for memory."""
    group = _GROUPS.get(row["metric"])
    limit = getattr(thresholds, group) if group else None
    if limit is None or (group != "memory" and row["program"]):
        return {"group": group, "limit": None, "verdict": None, "reason": None}
    reason = _not_judged(a, b, thresholds.accept_estimates) or unlike
    if reason is not None:
        return {"group": group, "limit": limit, "verdict": "not judged", "reason": reason}
    worse = -row["change"] if group == "quality" else row["relative_change"]
    if worse is None:  # from nothing: any increase is infinite
        worse = 0.0 if row["change"] == 0 else float("inf")
    return {"group": group, "limit": limit, "verdict": "pass" if worse <= limit else "fail", "reason": None}


def _not_judged(a: Number | None, b: Number | None, accept_estimates: bool) -> str | None:
    if a is None or b is None:
        return f"only in {'B' if a is None else 'A'}"
    if "unmeasured" in (a.kind, b.kind):
        sides = [f"{name} is unmeasured: {n.by}" for name, n in (("A", a), ("B", b)) if n.kind == "unmeasured"]
        return "; ".join(sides)
    if a.kind != b.kind:
        return f"A is {a.kind} and B is {b.kind}"
    if a.kind == "estimated":
        if a.by != b.by:
            return f"estimated by {a.by} and by {b.by}"
        return None if accept_estimates else "only estimated, and estimates are not accepted (--accept-estimates)"
    return None


def share(text: str, option: str) -> float:
    """`5%` or `0.05` as 0.05.

    Raises:
        UsageError: when it is neither.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} {text!r}: needs a share such as 5% or 0.05")
    return value


def cells(row: Facts) -> tuple[str, str, str, str, str]:
    """A row as people read it: what, A, B, change, verdict."""
    relative, verdict = row["relative_change"], row["verdict"] or ""
    change = "–" if row["change"] is None else f"{row['change']:+.3g}" + (f" ({relative:+.1%})" if relative else "")
    if row["reason"]:
        verdict += f": {row['reason']}"
    elif verdict:
        verdict += f" (limit -{row['limit']:.3g})" if row["group"] == "quality" else f" (limit +{row['limit']:.3g})"
    return f"{row['program'] or 'bundle'} {row['metric']}", _cell(row["a"]), _cell(row["b"]), change, verdict


def _cell(side: Facts | None) -> str:
    if side is None:
        return "–"
    if side["value"] is None:
        return "unmeasured"
    return number(side["value"]) + (f" (estimated: {side['by']})" if side["kind"] == "estimated" else "")


def to_markdown(comparison: Facts) -> str:
    """The comparison as a pull-request comment."""
    names = [f"{side['recipe']} on {side['target']} ({side['bundle']})" for side in (comparison["a"], comparison["b"])]
    lines = [f"**gen3dexport compare: {comparison['verdict'] or 'no thresholds'}**", ""]
    lines += [f"A: {names[0]}, {comparison['a']['device']}", f"B: {names[1]}, {comparison['b']['device']}", ""]
    lines += ["| what | A | B | change | verdict |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(c.replace('|', '/') for c in cells(row))} |" for row in comparison["rows"]]
    return "\n".join(lines) + "\n"
