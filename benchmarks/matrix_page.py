"""The status table in docs/matrix.md, from the report of a matrix of tiny recipes.

    gen3dexport matrix --size tiny --jobs 2 -o /tmp/matrix
    python benchmarks/matrix_page.py /tmp/matrix        # into benchmarks/results/matrix.json and the page
    python benchmarks/matrix_page.py                    # the page from that file

The table stands between `<!-- table matrix -->` and `<!-- end -->`. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import result_file

from gen3dexport.matrix.results import Result, counted
from gen3dexport.matrix.tables import HEAD, LEGEND, grid, made_line, markdown_table, notes, rows

ROOT = Path(__file__).parents[1]
RESULT, PAGE = ROOT / "benchmarks" / "results" / "matrix.json", ROOT / "docs" / "matrix.md"
PLACE = re.compile(r"(<!-- table matrix -->\n).*?(<!-- end -->)", re.DOTALL)
DROPPED = ("host", "attempts", "digest", "pushed")
"""What a machine is called, and the like."""


def table(content: dict[str, Any]) -> str:
    """Both tables, the reasons, and where they come from."""
    results = _results(content)
    reasons = [f"{i}. {' '.join(text.split())}" for i, text in enumerate(notes(results), 1)]
    parts = [
        markdown_table(*grid(results)),
        *(["\n".join(reasons)] if reasons else []),
        f"{_counts(results)} {LEGEND}",
        markdown_table(HEAD, rows(results)),
        f"`gen3dexport matrix --size tiny`: {made_line(content['matrix'])}; `{content['made']['commit']}`.",
    ]
    return "\n\n".join(parts) + "\n"


def summary(content: dict[str, Any]) -> str:
    """What became of the cells, and where each stands."""
    return f"{_counts(_results(content))} [Each of them](matrix.md#every-family-on-five-targets-tiny)."


def _results(content: dict[str, Any]) -> list[Result]:
    return [Result(digest="", **cell) for cell in content["cells"]]


def _counts(results: list[Result]) -> str:
    return f"{len(results)} cells: {counted(results)}."


def main() -> None:
    """Write the result file, where a folder is named, and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of a matrix")
    given = parser.parse_args()
    if given.folder is not None:
        report = json.loads((given.folder / "matrix.json").read_text())
        cells = [{k: v for k, v in cell.items() if k not in DROPPED} for cell in report["cells"]]
        result_file.write(RESULT, __file__, {"matrix": report["made"], "cells": cells})
    text = PAGE.read_text(encoding="utf-8")
    assert PLACE.search(text), f"{PAGE}: has no place for the table"
    made = table(json.loads(RESULT.read_text()))
    PAGE.write_text(PLACE.sub(lambda found: found[1] + made + found[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
