"""`profile.html`: bars of each component by kind, and of its operators; it needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from gen3dexport.pages import plots
from gen3dexport.pages.page import page, plot_place, section, table
from gen3dexport.profiling.kinds import ORDER
from gen3dexport.profiling.records import Profile, Profiles, ProgramProfile
from gen3dexport.profiling.side_by_side import WHOLE, kinds_with_rest
from gen3dexport.profiling.text import (
    OPERATOR_HEAD,
    PROGRAM_HEAD,
    RATIO_HEAD,
    notes,
    operator_rows,
    program_rows,
    ratio_rows,
)

_MOST = 15
"""Operators of a program that have a bar."""


def render_html(found: Profiles) -> str:
    """The page of one profile, or of two side by side."""
    drawn = figures(found)
    body = [_header(found), section("Where the time goes", _legend(found), plot_place(drawn, "plot-kinds"))]
    if found.ratios:
        whole = [r for r in found.ratios if r.operator == WHOLE]
        rest = [r for r in found.ratios if r.operator != WHOLE]
        body.append(section("Side by side", table(RATIO_HEAD, _escaped(ratio_rows([*whole, *rest])))))
        if found.names:
            body.append(section("Operators that both name alike", table(RATIO_HEAD, _escaped(ratio_rows(found.names)))))
    for label, profile in _labelled(found):
        prefix = f"{label}: " if label else ""
        body.append(section(f"{prefix}programs", table(PROGRAM_HEAD, _escaped(program_rows(profile))), _notes(profile)))
        for program in profile.programs:
            if program.operators:
                place = plot_place(drawn, _place(label, program))
                alone = profile.model_copy(update={"programs": (program,)})
                rows = _escaped([row[1:] for row in operator_rows(alone, None)])
                all_of_them = f"<details><summary>all operators</summary>{table(OPERATOR_HEAD[1:], rows)}</details>"
                body.append(section(f"{prefix}operators of {escape(program.program)}", place, all_of_them))
    titles = " and ".join(f"{p.recipe} on {p.target}" for p in found.profiles)
    return page(f"Profile of {titles}", [part for part in body if part], drawn)


def figures(found: Profiles) -> plots.Figures:
    """The plots by the place where they go."""
    drawn: plots.Figures = {}
    bars: dict[str, dict[str, float]] = {}
    for label, profile in _labelled(found):
        for program in profile.programs:
            name = f"{program.program}{f' ({label})' if label else ''}"
            kinds = kinds_with_rest(program)
            if kinds and program.role != "sampler":
                bars[name] = {k: program.calls * kinds[k] for k in ORDER if k in kinds}
            longest = program.operators[:_MOST]
            names = [row.operator if len(row.operator) < 60 else f"{row.operator[:57]}..." for row in longest]
            title = f"ms of one call, {program.basis}"
            drawn[_place(label, program)] = plots.bars(names, [row.ms for row in longest], title)
    if len(found.profiles) == 2:  # the same component of both, one below the other
        bars = dict(sorted(bars.items(), key=lambda item: list(bars).index(item[0]) % max(1, len(bars) // 2)))
    drawn["plot-kinds"] = plots.stacked(bars, "ms of one asset, all calls of a program")
    return drawn


def _labelled(found: Profiles) -> list[tuple[str, Profile]]:
    labels = ("A", "B") if len(found.profiles) == 2 else ("",)
    return list(zip(labels, found.profiles, strict=True))


def _place(label: str, program: ProgramProfile) -> str:
    return "plot-operators-" + re.sub(r"[^\w-]", "_", f"{label}{program.program}")


def _header(found: Profiles) -> str:
    lines = "".join(
        f"<div><dt>{label or 'bundle'}</dt><dd>{escape(f'{p.bundle}: {p.recipe} on {p.target}')}<br>"
        f"{escape(p.device)}, {p.threads} threads, {p.turns} profiled calls, {escape(p.created)}</dd></div>"
        for label, p in _labelled(found)
    )
    title = " and ".join(escape(f"{p.recipe} on {p.target}") for p in found.profiles)
    return f'<header><div class="top"><h1>Profile: {title}</h1></div><dl class="facts">{lines}</dl></header>'


def _legend(found: Profiles) -> str:
    estimated = any(p.basis == "estimated" for profile in found.profiles for p in profile.programs)
    note = " Bars of programs that no device ran are estimated: see their notes." if estimated else ""
    return (
        "<p>One bar a program: the profiled time of all its calls in one asset, by kind of operator; what a call takes "
        f"beyond its operators is the last part.{note}</p>"
    )


def _notes(profile: Profile) -> str:
    return "".join(f"<p>{escape(note)}</p>" for note in notes(profile))


def _escaped(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]
