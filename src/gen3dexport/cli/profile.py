"""`gen3dexport profile`: where a bundle's time and memory go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gen3dexport.cli.app import Bundle, Json

if TYPE_CHECKING:
    from gen3dexport.profiling.records import Profiles

EXAMPLE = "gen3dexport profile chair-maker -o chair-maker-profile"
FILES = ("profile.html", "trace.json", "profile.json")
_MOST = 15


def profile(
    bundle: Bundle,
    other: Annotated[
        Path | None, typer.Argument(help="A second bundle, to stand beside the first.", metavar="OTHER")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A folder for the files, outside the bundle (default BUNDLE-profile)."),
    ] = None,
    calls: Annotated[int, typer.Option(help="Profiled calls of each program.", min=1, max=1000)] = 10,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the CPU (default the target's).", min=1, max=1024)
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="One component, or one program of it, alone.", metavar="NAME")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where a bundle's time and memory go: by component and operator, in its target's own profiler.

    Writes profile.html, profile.json and trace.json, which ui.perfetto.dev and chrome://tracing open.
    """
    from gen3dexport.bundle.report_files import refuse_inside
    from gen3dexport.disk import check_place, write_atomically
    from gen3dexport.profiling.html import render_html
    from gen3dexport.profiling.profile import profile_bundle
    from gen3dexport.profiling.side_by_side import profiles
    from gen3dexport.profiling.trace import trace

    both = [bundle] if other is None else [bundle, other]
    folder = out or Path(f"{bundle.absolute()}-profile")
    for each in both:
        refuse_inside(each, folder)
    for name in FILES:
        check_place(folder / name)
    found = [profile_bundle(each, calls, threads, component) for each in both]
    result = profiles(*(each.profile for each in found))
    text = result.model_dump_json(by_alias=True, indent=1) + "\n"
    for name, content in zip(FILES, (render_html(result), trace(found), text), strict=True):
        write_atomically(folder / name, content.encode())
    if as_json:
        print(text, end="")
    else:
        _show(result, folder)


def _show(found: Profiles, folder: Path) -> None:
    """Programs, the operators that take most, and two bundles side by side."""
    from gen3dexport.cli.tables import terminal
    from gen3dexport.cli.text_table import show_rows
    from gen3dexport.profiling.side_by_side import WHOLE
    from gen3dexport.profiling.text import (
        OPERATOR_HEAD,
        PROGRAM_HEAD,
        RATIO_HEAD,
        notes,
        operator_rows,
        program_rows,
        ratio_rows,
    )

    console = terminal()
    for label, each in zip("AB", found.profiles, strict=False):
        prefix = f"{label}: " if len(found.profiles) > 1 else ""
        console.print(
            f"{prefix}{each.bundle}, {each.recipe} on {each.target}: {each.device}, {each.threads} threads, "
            f"{each.turns} profiled calls in turns with others",
            markup=False,
        )
        show_rows(PROGRAM_HEAD, program_rows(each))
        for note in notes(each):
            console.print(note, markup=False)
        print()
        if rows := operator_rows(each, _MOST):
            show_rows(OPERATOR_HEAD, rows)
            print()
    if found.ratios:
        whole = [r for r in found.ratios if r.operator == WHOLE]
        rest = [r for r in found.ratios if r.operator != WHOLE]
        rest.sort(key=lambda r: -max(r.a_ms or 0.0, r.b_ms or 0.0))
        show_rows(RATIO_HEAD, ratio_rows([*whole, *rest[:_MOST]]))
        print()
    for name in FILES:
        console.print(str(folder / name), markup=False, soft_wrap=True)
