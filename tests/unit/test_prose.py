"""Docstrings are whole, and documents that texts name are in the repository."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "benchmarks", "training", "examples", "docs", "recipes", "targets")
WRITTEN = {"report.md", "comparison.md"}
"""Documents that the package writes, which texts name too."""


def texts() -> list[Path]:
    files = [
        p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".md", ".yaml", ".json")
    ]
    return [*(p for p in files if "results" not in p.parts), *ROOT.glob("*.md")]


def docstrings(path: Path) -> Iterator[str]:
    """Every text that stands alone as a statement: docstrings, and those below constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def cut(text: str) -> bool:
    """Whether a text ends in the middle of a sentence. The last line may be a row of two columns."""
    last = text.rstrip().splitlines()[-1].strip() if text.strip() else ""
    return bool(last) and last[-1] not in ".:;?!)`\"'" and not re.search(r"\S {2,}\S", last)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f not in ("docs", "recipes", "targets")])
def test_docstrings_end_a_sentence(folder: str) -> None:
    found = {str(p.relative_to(ROOT)): t[-80:] for p in (ROOT / folder).rglob("*.py") for t in docstrings(p) if cut(t)}
    assert found == {}


def test_a_cut_docstring_is_found() -> None:
    assert cut("What it is.\n\n    Attributes:\n        table: (on unless false): a quarter of a flow\n    ")
    assert not cut("What it is.") and not cut(
        "Files:\n\n  report.json   written by validate; not part of the digests\n"
    )


def test_documents_that_texts_name_are_here() -> None:
    here = {p.name for p in ROOT.rglob("*.md") if ".venv" not in p.parts}
    absent: dict[str, set[str]] = {}
    for path in texts():
        if path == Path(__file__):
            continue
        text = re.sub(r"https?://\S+", "", path.read_text(encoding="utf-8"))
        named = {name.rpartition("/")[2] for name in re.findall(r"[\w/.-]*\w\.md\b", text)}
        named |= {"SPEC"} if re.search(r"\bSPEC\b", text) else set()
        if missing := named - here - WRITTEN:
            absent[str(path.relative_to(ROOT))] = missing
    assert absent == {}
