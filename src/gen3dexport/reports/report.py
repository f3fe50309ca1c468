"""Reports: measurements against budgets, one verdict each, as JSON, Markdown and JUnit XML. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from gen3dexport.bundle import Manifest
from gen3dexport.documents.budgets import Budgets
from gen3dexport.validation.gates import against_unquantized, worst_size_ratio, worst_slowdown

Report = dict[str, Any]
Facts = Mapping[str, Any]

EXIT_CODES = {"relative_l2": 5, "relative_l2_fp32": 5, "iou": 5, "f_score": 5} | {
    "latency_ms": 6,
    "peak_memory_mb": 6,
    "size_mb": 6,
    "size_ratio": 6,
    "allow_slowdown": 6,
}
_FLOORS = {"iou", "f_score"}
_GATES = {"size_ratio", "allow_slowdown"}
_UNITS = {"latency_ms": "ms", "peak_memory_mb": "MB", "size_mb": "MB"}


def make_report(manifest: Manifest, name: str, measured: Facts, versions: Facts, created: str) -> Report:
    """The report of a bundle: what was measured, and its verdict on every budget that is set."""
    components = [_component(manifest, p, measured["programs"][p.name]) for p in manifest.programs]
    report: Report = {
        "schema": 1,
        "bundle": name,
        "recipe": manifest.recipe["name"],
        "target": manifest.target["name"],
        "backend": manifest.target["backend"],
        "device": measured["device"],
        "created": created,
        "versions": dict(versions),
        "built_with": manifest.versions,
        "random_weights": manifest.random_weights,
        "components": components,
        "pipeline": _pipeline(manifest, measured["pipeline"], components),
        "size_bytes": sum(manifest.bytes_of(p) for p in manifest.programs),
    }
    budgets = Budgets(**_set(manifest.recipe["budgets"])).over(Budgets(**_set(manifest.target["budgets"])))
    report["budgets"] = [b for b in (_judge(key, budgets, report) for key in EXIT_CODES) if b is not None]
    report["verdict"] = _overall([b["verdict"] for b in report["budgets"]])
    report["accept_unmeasured"] = budgets.accept_unmeasured
    return report


def exit_code(report: Report) -> int:
    """0, or the code of the first budget that is missed (5, 6), or 8 when one could not be measured and had to be."""
    for verdict in ("fail",) if report["accept_unmeasured"] else ("fail", "unmeasured"):
        for budget in report["budgets"]:
            if budget["verdict"] == verdict:
                return EXIT_CODES[budget["name"]] if verdict == "fail" else 8
    return 0


def _set(fields: Facts) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v is not None}


def _overall(verdicts: Sequence[str]) -> str:
    return next((v for v in ("fail", "unmeasured") if v in verdicts), "pass")


def _component(manifest: Manifest, program: Any, measured: Facts) -> dict[str, Any]:
    missing = measured.get("missing") and (program.unmeasured or measured["missing"])
    latency = measured.get("latency", {"kind": "unmeasured", "reason": missing})
    if latency["kind"] == "unmeasured" and program.estimates.get("latency_ms"):
        latency = {"kind": "estimated", "estimates": [asdict(e) for e in program.estimates["latency_ms"]]}
    memory = measured.get("peak_memory", {"kind": "unmeasured", "reason": missing})
    return {
        "name": program.name,
        "component": program.component,
        "kind": program.kind,
        "scheme": program.scheme + _exceptions(program.facts.get("modules", {})),
        "parameters": manifest.parameters[program.component],
        "program_bytes": manifest.files[f"programs/{program.files[0]}"].bytes,
        "weights_bytes": manifest.bytes_of(program) - manifest.files[f"programs/{program.files[0]}"].bytes,
        "errors": measured.get("errors", {}),
        "latency": latency,
        "peak_memory": memory,
        "missing": missing,
        "facts": program.facts,
        "estimates": program.model_dump(mode="json")["estimates"],
        "unquantized": _unquantized(manifest, program, measured),
    }


def _exceptions(rules: Facts) -> str:
    """How many rules a program's scheme has exceptions by."""
    return f" and {len(rules)} rule{'s' if len(rules) > 1 else ''}" if rules else ""


def _unquantized(manifest: Manifest, program: Any, measured: Facts) -> dict[str, Any] | None:
    """The program beside its unquantized one, where a budget compares them."""
    found = manifest.unquantized.get(program.component)
    if found is None or program.kind != "component":
        return None
    reason = {"kind": "unmeasured", "reason": program.unmeasured or measured.get("missing")}
    against = measured.get("against_unquantized", reason)
    return against_unquantized(program, manifest.bytes_of(program), found, against)


def _pipeline(manifest: Manifest, measured: Facts, components: Sequence[Facts]) -> dict[str, Any]:
    missing = measured.get("missing") and next((c["missing"] for c in components if c["missing"]), measured["missing"])
    latency = measured.get("latency", {"kind": "unmeasured", "reason": missing})
    if latency["kind"] == "unmeasured":
        latency = _estimated_asset(manifest, components) or latency
    return {
        "prompts": measured["prompts"],
        "seed": measured["seed"],
        "quality": measured.get("quality", []),
        "missing": missing,
        "latency": latency,
        "stages": measured.get("stages", {}),
        "drift": measured.get("drift", {}),
    }


def _estimated_asset(manifest: Manifest, components: Sequence[Facts]) -> dict[str, Any] | None:
    """The time of one asset as calls times estimates, for each cost model that every component has; of a component's
    twin where there is one, for that is what the device runs."""
    twins = {c["component"]: c for c in components if c["kind"] == "twin"}
    networks = [twins.get(c["component"], c) for c in components if c["kind"] == "component"]
    if any(c["latency"]["kind"] != "estimated" for c in networks):
        return None
    models = [{e["by"]: e["value"] for e in c["latency"]["estimates"]} for c in networks]
    shared = [by for by in models[0] if all(by in m for m in models)]
    calls = [manifest.calls[c["component"]] for c in networks]
    totals = [{"value": sum(n * m[by] for n, m in zip(calls, models, strict=True)), "by": by} for by in shared]
    return {"kind": "estimated", "estimates": totals} if totals else None


def _judge(key: str, budgets: Budgets, report: Report) -> dict[str, Any] | None:
    limit = getattr(budgets, key)
    if limit is None or (key in _GATES and not any(c["unquantized"] for c in report["components"])):
        return None  # nothing is asked, or nothing is quantized
    value, kind, by, reason = _value(key, report)
    if kind == "unmeasured" or value is None:
        verdict = "unmeasured"
    elif kind == "estimated" and not budgets.accept_estimates:
        verdict, reason = "unmeasured", "only estimated, and the recipe does not accept estimates"
    else:
        verdict = "pass" if (value >= limit if key in _FLOORS else value <= limit) else "fail"
        reason = reason if verdict == "fail" else None
    fields = {"name": key, "limit": limit, "value": value, "unit": _UNITS.get(key, ""), "kind": kind, "by": by}
    return {**fields, "floor": key in _FLOORS, "verdict": verdict, "reason": reason}


def _value(key: str, report: Report) -> tuple[float | None, str, str | None, str | None]:
    """(value, kind, cost model, reason) of what a budget limits."""
    components = [c for c in report["components"] if c["kind"] == "component"]
    missing = next((c["missing"] for c in components if c["missing"]), None)
    match key:
        case "size_ratio":
            ratio, whose = worst_size_ratio(components)
            return ratio, "measured", None, whose
        case "allow_slowdown":
            return worst_slowdown(components)
        case "size_mb":
            return report["size_bytes"] / 1e6, "measured", None, None
        case "relative_l2" | "relative_l2_fp32":
            if missing:
                return None, "unmeasured", None, missing
            kind = "fp32" if key.endswith("fp32") else "quantized"
            return worst_error(report["components"], kind), "measured", None, None
        case "iou" | "f_score":
            quality = report["pipeline"]["quality"]
            if not quality:
                return None, "unmeasured", None, report["pipeline"]["missing"]
            return sum(float(q[key]) for q in quality) / len(quality), "measured", None, None
        case "latency_ms":
            latency = report["pipeline"]["latency"]
            if latency["kind"] == "measured":
                return latency["p50_ms"], "measured", None, None
            if latency["kind"] == "estimated":
                worst = max(latency["estimates"], key=lambda e: float(e["value"]))
                return worst["value"], "estimated", worst["by"], None
            return None, "unmeasured", None, latency["reason"]
        case _:
            memories = [c["peak_memory"] for c in components]
            if any(m["kind"] != "measured" for m in memories):
                return None, "unmeasured", None, next(m["reason"] for m in memories if m["kind"] != "measured")
            return max(m["bytes"] for m in memories) / 1e6, "measured", None, None


def worst_error(components: Sequence[Facts], kind: str) -> float:
    """The largest relative L2 error of any output of any program."""
    return max(
        (float(e["relative_l2"]) for c in components for e in c["errors"].get(kind, {}).values()), default=float("nan")
    )


def number(value: float | str | None, digits: int = 3) -> str:
    """A number as people read it."""
    return "–" if value is None else f"{float(value):.{digits}g}"


def latency_text(latency: Facts) -> str:
    """`1.2 ms (p90 1.4)`, `0.58 ms (estimated: roofline v5e)` or `unmeasured: reason`."""
    if latency["kind"] == "measured":
        return f"{number(latency['p50_ms'])} ms (p90 {number(latency['p90_ms'])}, p99 {number(latency['p99_ms'])})"
    if latency["kind"] == "estimated":
        return "; ".join(f"{number(e['value'])} ms (estimated: {e['by']})" for e in latency["estimates"])
    return f"unmeasured: {latency['reason']}"


def error_text(errors: Facts, kind: str) -> str:
    """The largest relative L2 error of one program, as people read it."""
    found = [float(e["relative_l2"]) for e in errors.get(kind, {}).values()]
    return number(max(found), 2) if found else "unmeasured"


def to_markdown(report: Report) -> str:
    """The report for people and pull requests."""
    lines = [
        f"# {report['recipe']} on {report['target']}: {report['verdict']}",
        "",
        f"Measured on {report['device']}." + (" **Random weights: sizes only.**" if report["random_weights"] else ""),
        "",
        "| budget | limit | value | kind | verdict |",
        "|---|---|---|---|---|",
    ]
    for b in report["budgets"]:
        sign = "≥" if b["floor"] else "≤"
        reason = f" ({b['reason']})" if b["reason"] else ""
        lines.append(
            f"| {b['name']} | {sign} {number(b['limit'])} {b['unit']} | {number(b['value'])} {b['unit']} "
            f"| {b['kind']} | {b['verdict']}{reason} |"
        )
    lines += ["", "| program | scheme | size | rel. L2 to quantized | to fp32 | latency |", "|---|---|---|---|---|---|"]
    for c in report["components"]:
        size = (c["program_bytes"] + c["weights_bytes"]) / 1e6
        lines.append(
            f"| {c['name']} | {c['scheme']} | {number(size)} MB | {error_text(c['errors'], 'quantized')} "
            f"| {error_text(c['errors'], 'fp32')} | {latency_text(c['latency'])} |"
        )
    lines += ["", f"One asset: {latency_text(report['pipeline']['latency'])}", ""]
    if report["pipeline"]["quality"]:
        lines += ["| prompt | IoU | Chamfer | F-score |", "|---|---|---|---|"]
        lines += [
            f"| {q['prompt']} | {number(q['iou'])} | {number(q['chamfer'])} | {number(q['f_score'])} |"
            for q in report["pipeline"]["quality"]
        ]
    return "\n".join(lines) + "\n"


def to_junit(report: Report) -> str:
    """One test case per budget, for continuous integration."""
    budgets = report["budgets"]
    counts = {v: str(sum(b["verdict"] == v for b in budgets)) for v in ("fail", "unmeasured")}
    name = f"{report['recipe']} on {report['target']}"
    suite = ElementTree.Element(
        "testsuite", name=name, tests=str(len(budgets)), failures=counts["fail"], skipped=counts["unmeasured"]
    )
    for b in budgets:
        case = ElementTree.SubElement(suite, "testcase", classname=f"gen3dexport.{report['target']}", name=b["name"])
        text = f"{b['name']}: {number(b['value'])}, limit {number(b['limit'])} {b['unit']} ({b['kind']})"
        if b["verdict"] == "fail":
            ElementTree.SubElement(case, "failure", message=text)
        elif b["verdict"] == "unmeasured":
            ElementTree.SubElement(case, "skipped", message=b["reason"] or "unmeasured")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
