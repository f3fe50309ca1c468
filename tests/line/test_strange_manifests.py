"""`gen3dexport sbom` of manifests with strange words in them: refused, or a bill that is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from paper_bundle import rewrite
from sample_reports import report

from gen3dexport.bundle.report_files import write_reports

Cli = Callable[..., tuple[int, str, str]]

STRANGE = (
    "",
    " ",
    "a b",
    "%00",
    "../x",
    "<script>",
    "javascript:x",
    "\u00fc\u2028",
    "x" * 3000,
    "-1",
    "a/b@c#d?e",
    "\ud83d\ude00",
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all texts, and of the keys of all mappings of texts, marked by None at their end."""
    if isinstance(value, str):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str) and isinstance(inner, str):
            yield (*path, key, None)
        yield from _leaves(inner, (*path, key))


def _with(data: dict[str, Any], path: tuple[Any, ...], text: str) -> None:
    *parents, last = path
    if last is None:
        *parents, key = parents
    place: Any = data
    for step in parents:
        place = place[step]
    if last is None:
        place[text] = place.pop(key)
    else:
        place[last] = text


def test_strange_words_in_a_manifest_are_refused_or_make_a_bill(paper: Path, cli: Cli) -> None:
    """A hand-edited manifest with its digest made anew: whatever `verify` takes becomes a bill that is one."""
    rewrite(paper, lambda data: data.update(weights={"flow": {"flow.safetensors": "0" * 64}}))
    text = (paper / "manifest.json").read_text()
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    billed = 0
    for number, path in enumerate(p for p in _leaves(json.loads(text)) if p != ("digest",)):
        word = STRANGE[number % len(STRANGE)]
        (paper / "manifest.json").write_text(text)
        rewrite(paper, lambda data, path=path, word=word: _with(data, path, word))
        write_reports(paper, {"report.json": report().to_json(), "report.md": "measured\n"})
        code, out, error = cli("sbom", paper)
        assert code in (0, 7), (path, word, error)
        if code == 0:
            billed += 1
            wrong = validator.validate_str(out)
            assert wrong is None, (path, word, wrong)
            found = json.loads(out)
            names = [part["bom-ref"] for part in (found["metadata"]["component"], *found["components"])]
            assert len(set(names)) == len(names), (path, word)
            for part in found["components"]:
                assert "purl" not in part or PackageURL.from_string(part["purl"]), (path, word)
    assert billed > 20
