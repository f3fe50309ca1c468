"""`report.html`: one page with everything a report says, plots and both assets; it needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from gen3dexport.assets import kinds
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.documents import licences
from gen3dexport.pages import plots
from gen3dexport.pages.page import page, plot_place, section, table
from gen3dexport.pages.viewer import splat_scene, still
from gen3dexport.reports.records import (
    Estimated,
    Judged,
    Latency,
    MeasuredMemory,
    MeasuredTimes,
    PeakMemory,
    Pipeline,
    ProgramReport,
    Report,
    Unmeasured,
)
from gen3dexport.reports.text import ENOUGH_RUNS, number, score_columns, score_heading

Row = Sequence[str]

_VERDICTS = {"pass": "pass", "fail": "fail", "unmeasured": "open"}


@dataclass(frozen=True)
class Shown:
    """The assets of one golden prompt that a page shows, by kind: of the bundle and of the float32 eager model."""

    prompt: str = ""
    generated: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)


def render_html(report: Report, shown: Shown) -> str:
    """The page of a report; what is not known is shown as unmeasured, with the reason."""
    drawn = figures(report)
    components = report.components
    body = [
        _header(report),
        _budgets(report.budgets),
        _assets(shown, report.pipeline, drawn),
        section("Programs", _programs(components)),
        _latency(report.pipeline, components, drawn),
        section("Numerics", _numerics(components), plot_place(drawn, "plot-errors"), _drift(drawn)),
        _delegation(components, drawn),
        section("Facts", *(_details(c) for c in components)),
        _versions(report),
    ]
    return page(f"{report.recipe} on {report.target}", [part for part in body if part], drawn)


def figures(report: Report) -> plots.Figures:
    """The plots of a report, by the place where they go; None where there is nothing to plot."""
    measured = {
        c.name: (t.p50_ms, t.p90_ms, t.p99_ms) if t.runs >= ENOUGH_RUNS else (t.p50_ms, t.p50_ms, t.p50_ms)
        for c in report.components
        if isinstance(t := c.latency, MeasuredTimes)
    }
    estimated = [
        (c.name, e.by, e.value)
        for c in report.components
        if isinstance(c.latency, Estimated)
        for e in c.latency.estimates
    ]
    compared = [c for c in report.components if c.errors.fp32 or c.errors.quantized]
    delegated = {c.name: d for c in report.components if (d := c.delegation) is not None}
    return {
        "plot-latency": plots.latency(measured, estimated),
        "plot-stages": plots.stages(_segments(report.pipeline)),
        "plot-errors": plots.errors(
            {
                "quantized": {c.name: c.errors.worst("quantized") for c in compared},
                "fp32": {c.name: c.errors.worst("fp32") for c in compared},
            }
        ),
        "plot-drift": plots.drift(report.pipeline.drift),
        "plot-delegation": plots.delegation(
            {
                name: (d.operators_inside, d.operators_outside)
                for name, d in delegated.items()
                if d.operators_inside is not None and d.operators_outside is not None
            }
        ),
    }


def _segments(pipeline: Pipeline) -> dict[str, float]:
    """Milliseconds of one asset by component, and the rest of its mean time: the host's work."""
    stages = dict(pipeline.stages)
    if stages and isinstance(pipeline.latency, MeasuredTimes):
        rest = pipeline.latency.mean_ms - sum(stages.values())
        stages |= {"host": rest} if rest > 0 else {}
    return stages


def _header(report: Report) -> str:
    facts = {
        "bundle": report.bundle,
        "backend": report.backend,
        "validated on": report.device,
        "size": f"{_megabytes(report.size_bytes)} MB",
        "created": report.created,
        "licences": "; ".join(f"{what} {text}" for what, text in report.licences.lines()),
    }
    entries = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items() if v)
    name = escape(f"{report.recipe} on {report.target}")
    warning = ""
    if report.random_weights:
        warning = '<p class="warn">Built with random weights, for sizing: its assets would mean nothing.</p>'
    if (limit := licences.warning(report.recipe, report.licences)) is not None:
        warning += f'<p class="warn">{escape(limit)}</p>'
    return (
        f'<header><div class="top"><h1>{name}</h1>{_verdict(report.verdict, big=True)}</div>{warning}'
        f'<dl class="facts">{entries}</dl></header>'
    )


def _budgets(budgets: Sequence[Judged]) -> str:
    if not budgets:
        return section("Budgets", '<p class="soft">The recipe and the target set none.</p>')
    rows = [
        (
            escape(b.name),
            _verdict(b.verdict),
            f"{'≥' if b.floor else '≤'} {_number(b.limit)} {escape(b.unit)}",
            f"{_number(b.value)} {escape(b.unit)}" if b.value is not None else "–",
            _basis(b.basis) + (f" by {escape(b.by)}" if b.by else ""),
            escape(b.reason or ""),
        )
        for b in budgets
    ]
    return section("Budgets", table(("budget", "verdict", "#limit", "#value", "basis", "~reason"), rows))


def _assets(shown: Shown, pipeline: Pipeline, drawn: plots.Figures) -> str:
    pairs = [_pair(kind, shown, pipeline, drawn) for kind in dict.fromkeys((*shown.reference, *shown.generated))]
    if not pairs:
        pairs = [f"<p>{_unmeasured(pipeline.missing or 'no assets were made')}</p>"]
    if pipeline.quality:
        columns = score_columns(pipeline.quality)
        head = ("~prompt", *(f"#{score_heading(kind, score)}" for kind, score in columns), "basis")
        rows = [
            (
                escape(q.prompt),
                *(_number(None if s is None else s.value) for s in (q.score(k, c.name) for k, c in columns)),
                _basis("measured"),
            )
            for q in pipeline.quality
        ]
        scores = table(head, rows)
    else:
        scores = f"<p>{_unmeasured(pipeline.missing)}</p>"
    note = (
        '<p class="soft small">Against the float32 eager asset of the same prompt and seed. Distances are in edges of '
        "the unit cube. Meshes and Gaussians turn when they are dragged.</p>"
    )
    prompt = f"<p>“{escape(shown.prompt)}”</p>" if shown.prompt else ""
    return section("Asset", prompt, *pairs, "<h3>Quality</h3>", scores, note)


def _pair(kind: str, shown: Shown, pipeline: Pipeline, drawn: plots.Figures) -> str:
    """Both assets of one kind side by side."""
    sides = (
        ("generated", "generated by this bundle", shown.generated, pipeline.missing),
        ("reference", "float32 eager reference, same seed", shown.reference, "the bundle holds no reference asset"),
    )
    meshes = [m for _, _, assets, _ in sides if isinstance(m := assets.get(kind), Mesh) and len(m.faces)]
    parts = []
    for name, title, assets, absent in sides:
        place = _scene(assets.get(kind), f"{name}-{kind}", title, absent, drawn, meshes)
        caption = f"{kind.replace('_', ' ')}, {title}"
        parts.append(f"<figure><figcaption>{escape(caption)}</figcaption>{place}</figure>")
    return f'<div class="pair">{"".join(parts)}</div>'


def _scene(asset: Any, name: str, title: str, absent: str | None, drawn: plots.Figures, meshes: Sequence[Mesh]) -> str:
    """An asset to turn where it is a mesh or Gaussians, else its picture; or why there is none.

    Args:
        meshes: that are seen at one scale.
    """
    problem = (absent or "it was not made") if asset is None else kinds.of(asset).problem(asset)
    if problem is not None:
        return f'<div class="scene"><span>nothing to see: {escape(problem)}</span></div>'
    match asset:
        case Mesh():
            drawn[f"scene-{name}"] = plots.scene(asset, meshes)
            return f'<div class="scene" id="scene-{name}"><img alt="{title}" src="{still(asset)}"></div>'
        case Gaussians():
            return splat_scene([asset], title)
    return f'<div class="scene"><img alt="{title}" src="{still(asset)}"></div>'


def _programs(components: Sequence[ProgramReport]) -> str:
    rows = [
        (
            escape(c.name),
            escape(c.role),
            escape(c.scheme),
            f"{c.parameters / 1e6:,.2f}",
            _megabytes(c.program_bytes),
            _megabytes(c.weights_bytes),
            *_peak(c.peak_memory),
        )
        for c in components
    ]
    sizes = ("#parameters, M", "#file, MB", "#weights beside it, MB", "#peak memory, MB")
    head = ("program", "role", "scheme", *sizes, "~its basis")
    return table(head, rows) if rows else f"<p>{_unmeasured(None)}</p>"


def _peak(memory: PeakMemory) -> Row:
    if isinstance(memory, MeasuredMemory):
        return _megabytes(memory.bytes), _basis("measured")
    return "–", _unmeasured(memory.reason)


def _latency(pipeline: Pipeline, components: Sequence[ProgramReport], drawn: plots.Figures) -> str:
    rows = [(escape(c.name), *_times(c.latency)) for c in components]
    rows.append(("<b>one asset</b>", *_times(pipeline.latency)))
    head = ("program", "basis", "#p50, ms", "#p90, ms", "#p99, ms", "#mean, ms", "~conditions")
    shares = plot_place(drawn, "plot-stages")
    where = f"<h3>Where the time of one asset goes</h3>{shares}" if shares else ""
    return section("Latency", table(head, rows), plot_place(drawn, "plot-latency"), where)


def _times(latency: Latency) -> Row:
    none = ("–", "–", "–", "–")
    match latency:
        case MeasuredTimes():
            few = latency.runs < ENOUGH_RUNS
            times = (latency.p50_ms, None if few else latency.p90_ms, None if few else latency.p99_ms, latency.mean_ms)
            cells = (_number(t) for t in times)
            how = f"{latency.warmup} warm-up, {latency.runs} runs, {latency.threads} threads"
            return (_basis("measured"), *cells, how)
        case Estimated():
            text = "; ".join(f"{_number(e.value)} ms by {escape(e.by)}" for e in latency.estimates)
            return (_basis("estimated"), *none, text)
        case Unmeasured():
            return (_basis("unmeasured"), *none, escape(latency.reason))


def _numerics(components: Sequence[ProgramReport]) -> str:
    rows: list[Row] = []
    for c in components:
        for title, found in (("float32", c.errors.fp32), ("quantized", c.errors.quantized)):
            rows += [
                (
                    escape(f"{c.name}.{output}"),
                    title,
                    _number(e.relative_l2, 2),
                    _number(e.max_abs, 2),
                    _number(e.cosine, 7),
                    _number(e.psnr_db),
                    _basis("measured"),
                )
                for output, e in found.items()
            ]
            if not found:
                rows.append((escape(c.name), title, "–", "–", "–", "–", _unmeasured(c.missing)))
    head = ("output", "against eager", "#relative L2", "#max abs", "#cosine", "#PSNR, dB", "~basis")
    return table(head, rows) if rows else f"<p>{_unmeasured(None)}</p>"


def _drift(drawn: plots.Figures) -> str:
    """The plot of a sampler's drift, where one was measured."""
    if drawn["plot-drift"] is None:
        return ""
    note = '<p class="soft small">Each loop begins at the same noise as the float32 eager one; higher is nearer.</p>'
    return "<h3>Drift over the sampler's steps</h3>" + plot_place(drawn, "plot-drift") + note


def _delegation(components: Sequence[ProgramReport], drawn: plots.Figures) -> str:
    rows = []
    for c in components:
        if (d := c.delegation) is None:
            continue
        outside = ", ".join(f"{op} × {n}" for op, n in d.outside.items()) or "nothing"
        rows.append(
            (
                escape(c.name),
                _number(d.operators_inside, 6),
                _number(d.operators_outside, 6),
                f"{100 * d.flops_share:.1f}" if d.flops_share is not None else "–",
                escape(outside),
            )
        )
    head = ("program", "#operators inside", "#operators outside", "#FLOPs inside, %", "~what stayed outside")
    note = '<p class="soft small">Counted in the lowered programs, not measured.</p>'
    return section("Delegation", table(head, rows), note, plot_place(drawn, "plot-delegation")) if rows else ""


def _details(component: ProgramReport) -> str:
    facts = {k: v for k, v in component.facts.items() if k != "delegation"}
    text = json.dumps(facts, indent=1, default=str) if facts else "none recorded"
    return f"<details><summary>{escape(component.name)}</summary><pre>{escape(text)}</pre></details>"


def _versions(report: Report) -> str:
    here, built = report.versions, report.built_with
    rows = [(escape(n), escape(built.get(n, "–")), escape(here.get(n, "–"))) for n in sorted({*here, *built})]
    return section("Versions", table(("package", "built with", "measured with"), rows)) if rows else ""


def _verdict(verdict: str, big: bool = False) -> str:
    return f'<span class="badge {_VERDICTS[verdict]}{" big" if big else ""}">{escape(verdict)}</span>'


def _basis(name: str) -> str:
    return f'<span class="badge {escape(name)}">{escape(name)}</span>'


def _unmeasured(reason: str | None) -> str:
    return f"{_basis('unmeasured')} {escape(reason or 'no reason given')}"


def _number(value: float | None, digits: int = 3) -> str:
    return escape(number(value, digits))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f}"
