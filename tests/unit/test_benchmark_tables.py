"""Pages of figures: docs/benchmarks.md and README's tables are what the JSON in benchmarks/results says."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "benchmarks"))

import result_file  # noqa: E402
import tables  # noqa: E402

PAGES = [HERE / "README.md", HERE / "CONTRIBUTING.md", *sorted((HERE / "docs").glob("*.md"))]


@pytest.fixture
def found() -> dict[str, dict[str, Any]]:
    return tables.results()


def test_pages_are_what_the_results_say() -> None:
    done = subprocess.run([sys.executable, tables.__file__, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python benchmarks/tables.py"


def test_a_changed_figure_makes_both_pages_stale(found: dict[str, dict[str, Any]]) -> None:
    changed = copy.deepcopy(found)
    changed["heldout"]["rows"][1]["iou"] -= 0.01
    assert {*tables.stale(changed)} == {tables.PAGE, tables.README}


def test_a_result_without_a_section_is_an_error(found: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(LookupError, match=r"other\.json has no section"):
        tables.page({**found, "other": found["heldout"]})


@pytest.mark.parametrize("name", sorted(tables.results()))
def test_every_result_says_where_it_comes_from(name: str, found: dict[str, dict[str, Any]]) -> None:
    made = found[name]["made"]
    assert {*made} == {"date", "commit", "device", "versions", "script"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"]) and re.fullmatch(r"[0-9a-f]{7,}(-dirty)?", made["commit"])
    assert made["device"]
    assert "result_file.write" in (HERE / made["script"]).read_text(encoding="utf-8")


def test_a_result_is_written_with_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "results" / "some.json"
    assert result_file.read(path) == {}
    result_file.write(path, "/elsewhere/benchmarks/some.py", {"rows": [1]}, "a GPU")
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written == result_file.read(path) and written["rows"] == [1]
    assert written["made"]["script"] == "benchmarks/some.py" and written["made"]["device"] == "a GPU"
    assert written["made"]["versions"]["python"].startswith("3.")
    assert {**result_file.stamp(), **written["made"]} == written["made"]


def test_readme_is_short() -> None:
    assert len((HERE / "README.md").read_text(encoding="utf-8").splitlines()) <= 140


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Files that pages of this repository point to are there, and so are the headings."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        if "://" in name:
            continue
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


def test_a_result_of_one_machine_keeps_those_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.json"
    for device, value in (("one", 1), ("two", 2), ("one", 3)):
        monkeypatch.setattr(result_file, "cpu", lambda name=device: name)
        result_file.write_of_machine(path, "/elsewhere/benchmarks/some.py", {"rows": [value]})
    written = result_file.read(path)
    assert [(m["made"]["device"], m["rows"]) for m in written["machines"]] == [("two", [2]), ("one", [3])]
    assert written["made"]["device"] == "one"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx avx2 fma", ("AVX2",)),
        ("flags\t\t: avx2 avx512f avx512_vnni avx512_bf16 amx_int8", ("AVX-512", "VNNI", "bf16", "AMX")),
        ("Features\t: fp asimd asimddp i8mm", ("NEON", "dot products", "int8 matrices")),
        ("model name\t: some", ()),
    ],
)
def test_instruction_sets(line: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (path := tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\nprocessor\t: 1\n{line}\n")
    assert result_file.instruction_sets(path) == expected
    assert result_file.instruction_sets(tmp_path / "nowhere") == ()
