"""Rooms import downwards: the order of the floors, no cycle between modules, and a map that names every room.

Imports are read with `ast`, wherever they stand: at the top, inside functions and under `TYPE_CHECKING` alike (who
names another module's type knows that module). The floors are `FLOORS` in benchmarks/structure.py.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]
sys.path.insert(0, str(HERE / "benchmarks"))

import structure  # noqa: E402

# Arrows that still go up or sideways. The list only shrinks: whoever removes one removes its line.
# `python benchmarks/structure.py --violations` prints what is left.
ALLOWED: set[tuple[str, str]] = set()
ALLOWED_CYCLES: set[tuple[str, ...]] = set()


@pytest.fixture(scope="module")
def found() -> structure.Graph:
    return structure.graph(HERE)


def test_every_room_stands_on_a_floor(found: structure.Graph) -> None:
    missing = {*structure.rooms(found)} - {*structure.declared_floors()}
    assert not missing, f"rooms on no floor, add them to FLOORS in benchmarks/structure.py: {sorted(missing)}"


def test_rooms_import_lower_floors_alone(found: structure.Graph) -> None:
    violations = {*structure.violations(found)}
    assert not violations - ALLOWED, f"imports of a room that is not below: {sorted(violations - ALLOWED)}"
    assert not ALLOWED - violations, f"gone, remove from ALLOWED: {sorted(ALLOWED - violations)}"


def test_modules_import_in_no_circle(found: structure.Graph) -> None:
    cycles = {*structure.cycles(found)}
    assert not cycles - ALLOWED_CYCLES, f"modules that import each other: {sorted(cycles - ALLOWED_CYCLES)}"
    assert not ALLOWED_CYCLES - cycles, f"gone, remove from ALLOWED_CYCLES: {sorted(ALLOWED_CYCLES - cycles)}"


def test_map_in_contributing_names_every_room_on_its_floor(found: structure.Graph) -> None:
    text = (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([a-z_]+)(?:/|\.py)` \| .", text, re.MULTILINE)
    there = {*structure.rooms(found)} - {structure.PACKAGE}
    assert sorted(name for _, name in rows) == sorted(there), "the map's rooms against those of src/gen3dexport"
    floors = structure.declared_floors()
    assert [(int(floor), name) for floor, name in rows] == sorted((floors[name], name) for name in there)


def _checkout(folder: Path, **texts: str) -> Path:
    for name, text in {"": "", **texts}.items():
        path = folder / "src" / "gen3dexport" / f"{name.replace('__', '/') or '__init__'}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_graph_sees_imports_wherever_they_stand(tmp_path: Path) -> None:
    late = "def f():\n    from gen3dexport.models import one\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gen3dexport.models.one import Thing\n"
    plain = "import gen3dexport.models.one\nimport torch\n"
    checkout = _checkout(tmp_path, assets__late=late, assets__typed=typed, assets__plain=plain, models__one="X = 1")
    found = structure.graph(checkout)
    for name in ("late", "typed", "plain"):
        assert found[f"assets.{name}"] == {"models.one"}
    assert len(structure.violations(found)) == 3


def test_graph_finds_cycles_and_upward_arrows(tmp_path: Path) -> None:
    checkout = _checkout(
        tmp_path,
        errors="",
        backends__one="from gen3dexport.backends import two\nfrom gen3dexport.errors import E",
        backends__two="from gen3dexport.backends.three import three",
        backends__three="from gen3dexport.backends.one import x\nfrom gen3dexport.plan import Plan",
        plan="from gen3dexport.errors import E",
    )
    found = structure.graph(checkout)
    assert structure.cycles(found) == [("backends.one", "backends.three", "backends.two")]
    assert structure.violations(found) == [("backends.three", "plan")]
    assert structure.derived_floors(structure.rooms(found)) == {"gen3dexport": 1, "errors": 1, "plan": 2, "backends": 3}
