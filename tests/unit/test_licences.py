"""Licences of recipes: SPDX expressions, notices in bundles, and what forbids commercial use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from paper_bundle import rewrite
from pydantic import ValidationError
from sample_reports import report

from gen3dexport.bundle.notices import notices
from gen3dexport.documents.licences import Licences, forbids_commerce, links, warning
from gen3dexport.documents.shipped import documents
from gen3dexport.plan import read_recipe
from gen3dexport.reports.html import Shown, render_html
from gen3dexport.reports.text import to_markdown

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
NC = Licences(code="Apache-2.0", weights="CC-BY-NC-4.0")


@pytest.mark.parametrize("name", documents("recipes"))
def test_every_recipe_names_the_licences_of_code_and_weights(name: str) -> None:
    found = read_recipe(name).licences
    assert found.code and found.weights


def test_expressions_are_written_as_spdx_writes_them() -> None:
    found = Licences(code="mit", weights="apache-2.0 and (mit or bsd-3-clause)")
    assert (found.code, found.weights) == ("MIT", "Apache-2.0 AND (MIT OR BSD-3-Clause)")
    assert links("MIT OR LicenseRef-X", "https://x.example/terms") == [
        "https://spdx.org/licenses/MIT.html",
        "https://x.example/terms",
    ]


@pytest.mark.parametrize("text", ["Use-it-after-midnight", "MIT AND", "", "(" * 100 + "MIT" + ")" * 100, "MIT " * 100])
def test_what_is_no_licence_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Licences(weights=text)


def test_own_terms_need_an_address(cli: Cli) -> None:
    code, _, error = cli("plan", "trellis-mini", "licences.weights=LicenseRef-Their-Terms")
    assert code == 2 and "LicenseRef-Their-Terms" in error and "link" in error
    code, _, error = cli("plan", "trellis-mini", "licences.weights=MITT")
    assert code == 2 and "licences.weights" in error and "mitt" in error and "CC-BY-NC-4.0" in error


@pytest.mark.parametrize(
    ("expression", "forbids"),
    [
        ("MIT", False),
        ("CC-BY-NC-4.0", True),
        ("CC-BY-NC-SA-4.0 AND MIT", True),
        ("MIT OR CC-BY-NC-4.0", False),
        ("(MIT OR Apache-2.0) AND CC-BY-NC-4.0", True),
        ("PolyForm-Noncommercial-1.0.0", True),
        ("LicenseRef-NCSA", False),
        ("NCSA", False),
    ],
)
def test_what_forbids_commercial_use(expression: str, forbids: bool) -> None:
    assert forbids_commerce(expression) is forbids


def test_terms_without_an_expression_may_forbid_it_too() -> None:
    own = Licences(weights="LicenseRef-Theirs", link="https://x.example/terms", non_commercial=True)
    said = warning("their-model", own)
    assert said is not None and "LicenseRef-Theirs" in said and said.endswith("https://x.example/terms")
    assert "not known" in str(warning("their-model", Licences(non_commercial=True)))
    assert warning("ours", Licences(code="MIT", weights="MIT")) is None


def test_notices_have_our_licence_and_the_weights_own(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Copyright somebody. Do as you like.")
    (tmp_path / "model.safetensors").write_bytes(b"LICENSE")
    licences = Licences(weights="CC-BY-NC-4.0", notice="Made with Theirs.")
    text = notices("their-model", licences, tmp_path)
    assert (ROOT / "LICENSE").read_text().strip() in text
    for words in (
        "Do as you like.",
        "code: not known; ask",
        "weights: CC-BY-NC-4.0 https://spdx.org/licenses/CC-BY-NC-4.0.html",
        "for non-commercial use only",
        "Made with Theirs.",
    ):
        assert words in text, words
    assert text == notices("their-model", licences, tmp_path)


def test_inspect_and_reports_say_what_is_forbidden(paper: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    code, out, _ = cli("inspect", paper)
    assert code == 0 and "weights Apache-2.0 AND MIT" in out and "non-commercial" not in out
    rewrite(paper, lambda data: data["recipe"]["licences"].update(weights="CC-BY-NC-4.0"))
    code, out, _ = cli("inspect", paper)
    assert code == 0 and "for non-commercial use only" in out
    made = report(licences=NC)
    for text in (to_markdown(made), render_html(made, Shown())):
        assert "for non-commercial use only" in text and "weights CC-BY-NC-4.0" in text


def test_what_says_nothing_of_licences_is_read_as_before(paper: Path, cli: Cli) -> None:
    rewrite(paper, lambda data: (data["recipe"].pop("licences"), data.pop("weights")))
    code, out, error = cli("inspect", paper)
    assert code == 0 and "weights not known" in out, error
    code, out, error = cli("sbom", paper)
    assert code == 0 and "licenses" not in json.loads(out)["metadata"]["component"], error
