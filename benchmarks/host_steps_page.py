"""Writes the made parts of docs/host-steps.md: operations, families, an example, marching cubes' table.

    python benchmarks/host_steps_page.py

A part stands between `<!-- made NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path

from markdown_table import table

from gen3dexport import models
from gen3dexport.documents.host_steps import OPERATIONS, RULES, HostSteps
from gen3dexport.documents.record import Record
from gen3dexport.documents.shipped import shipped
from gen3dexport.models import trellis

PAGE = Path(__file__).parents[1] / "docs" / "host-steps.md"


def fields(known: Mapping[str, type[Record]], key: str) -> str:
    """Every operation or rule, what it is and its fields; those in brackets may be left out."""
    rows = []
    for name, model in known.items():
        own = {n: f for n, f in model.model_fields.items() if n != key}
        said = ", ".join(f"`{n}`" if f.is_required() else f"[`{n}`]" for n, f in own.items())
        rows.append((f"`{name}`", str(inspect.getdoc(model)).partition("\n")[0], said))
    return table([key, "what", "fields"], rows)


def families() -> str:
    """What each family declares."""
    rows = []
    for name in models.names():
        declare = getattr(models.find(name), "host_steps", None)
        said = "nothing" if declare is None else " ".join(str(inspect.getdoc(declare)).split())
        rows.append((name, said))
    return table(["family", "declares"], rows)


def example() -> str:
    """The shipped trellis-mini's host steps, its sampler cut to two steps."""
    settings = trellis.read_settings(shipped("weights") / "trellis-mini", trellis.Knobs())
    declared = trellis.host_steps(settings)
    assert isinstance(declared, HostSteps)
    data = declared.model_dump(mode="json")
    steps = data.pop("steps")
    flow = next(step for step in steps if step["op"] == "flow_euler")
    flow["steps"] = [flow["steps"][0], "...", flow["steps"][-1]]
    lines = [" " + json.dumps(step) for step in steps]
    text = "{" + json.dumps(data)[1:-1] + ', "steps": [\n' + ",\n".join(lines) + "\n]}"
    return f"```\n{text}\n```"


def cases() -> str:
    """Of each of the 256 cases the edges of its triangles, in hexadecimal, eight cases a line; `-` for none."""
    from skimage.measure import _marching_cubes_lewiner as reader
    from skimage.measure import _marching_cubes_lewiner_luts as tables

    rows = reader._to_array(tables.CASESCLASSIC)
    words = ["".join(f"{edge:x}" for edge in row if edge >= 0) or "-" for row in rows]
    lines = [f"{start:3} | {' '.join(words[start : start + 8])}" for start in range(0, 256, 8)]
    return "```\n" + "\n".join(lines) + "\n```"


def page(text: str) -> str:
    """The page's text with every made part anew."""
    parts = {
        "operations": lambda: fields(OPERATIONS, "op"),
        "rules": lambda: fields(RULES, "rule"),
        "families": families,
        "example": example,
        "cases": cases,
    }
    for name, make in parts.items():
        start, end = f"<!-- made {name} -->", "<!-- end -->"
        pattern = re.compile(rf"{re.escape(start)}\n.*?{re.escape(end)}", re.DOTALL)
        made = f"{start}\n{make()}\n{end}"
        text, count = pattern.subn(lambda _, made=made: made, text)  # type: ignore[misc]
        assert count == 1, name
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
