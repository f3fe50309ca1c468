"""The stage cache's key: every module that makes programs is part of it, and harmless rooms are harmless."""

from __future__ import annotations

import ast
import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import gen3dexport
from gen3dexport.backends import eager
from gen3dexport.build import build
from gen3dexport.bundle import stage_cache
from gen3dexport.plan import make_plan, read_recipe, read_target

PACKAGE = Path(gen3dexport.__file__).parent

USED = {
    "assets": "a family makes its assets of the finished state, after the last entry",
    "bundle": "where entries and bundles lie, and the key itself",
    "provenance.py": "versions and the host, which are parts of the key themselves",
    "documents": "what was asked for, which reaches an entry through the key; the words of errors; where caches lie",
}
"""Harmless rooms whose modules program-making modules may import -> why that changes no entry."""

BELOW = {
    "documents/caches.py": "where the compiler works",
    "documents/git_lfs.py": "refuses what Git leaves in the place of weights",
    "documents/json_file.py": "reads an index of shards, whose files are part of the key",
    "documents/record.py": "the base class of records",
    "documents/shipped.py": "the words of errors",
}
"""What of them the modules that quantize, export and lower may import."""

RUN = {
    "bundle/files.py": "keeps an observation",
    "bundle/stage_cache.py": "keeps an observation",
    "provenance.py": "versions and the host, which are parts of an observation's key",
    "documents/caches.py": "where the compiler works",
    "documents/git_lfs.py": "refuses what Git leaves in the place of weights",
    "documents/json_file.py": "reads network files and indices of shards, which are part of the key",
    "documents/plain.py": "refuses what no such file may hold",
    "documents/recipe.py": "where the weights lie",
}
"""Modules of them whose code may run while an entry is made -> why that changes nothing in it."""


def imported(path: Path) -> Iterator[str]:
    """Every gen3dexport module that a file imports, at its top or inside a function; not those for type checkers."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for node in ast.walk(test)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import) and node not in typing_only:
            yield from (alias.name for alias in node.names)


def module_file(name: str) -> Path | None:
    """The file of the module that a dotted name is, or that has it; None for other packages and the package itself."""
    top, *parts = name.split(".")
    while top == "gen3dexport" and parts:
        path = PACKAGE.joinpath(*parts)
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
        parts = parts[:-1]
    return None


def test_program_making_modules_import_few_harmless_rooms() -> None:
    sources = {*stage_cache.sources()}
    rooms: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for path in sources:
        importer = path.relative_to(PACKAGE)
        for module in {module_file(name) for name in imported(path)} - {None, *sources}:
            name = module.relative_to(PACKAGE)
            rooms.setdefault(name.parts[0], []).append(str(importer))
            if importer.parts[0] in ("quantization", "export.py", "networks", "backends"):
                below.setdefault(str(name), []).append(str(importer))
    assert {room: files for room, files in rooms.items() if room not in USED} == {}
    assert {module: files for module, files in below.items() if module not in BELOW} == {}
    assert (sorted(rooms), sorted(below)) == (sorted(USED), sorted(BELOW))  # no line of the tables is out of date


def test_every_room_is_named_rightly() -> None:
    named = [PACKAGE / name for name in stage_cache.HARMLESS]
    assert all(path.is_file() if path.suffix else (path / "__init__.py").is_file() for path in named)
    data = [p.relative_to(PACKAGE) for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert {p.parts[0] for p in data} <= {*stage_cache.HARMLESS, "py.typed"}  # the key is of modules alone


def test_no_harmless_code_runs_while_an_entry_is_made(tiny_recipe: Path, tmp_path: Path) -> None:
    """Every Python call of `load`, `observe` and `quantize`, of every component; `lower` cannot call what it does not
    import."""
    found: dict[str, set[str]] = {}
    prefix, harmful = str(PACKAGE) + "/", set(stage_cache.sources())

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(prefix):
            path = code.co_filename.removeprefix(prefix)
            if PACKAGE / path not in harmful:
                found.setdefault(path, set()).add(code.co_name)

    def on_stage(component: str, stage: str) -> None:
        stages.append(stage)
        if stage in ("load", "lower"):
            sys.setprofile(watch if stage == "load" else None)

    stages: list[str] = []
    target = read_target("eager")
    plan = make_plan(read_recipe(str(tiny_recipe), target), target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
        try:
            build(plan, tmp_path / "bundle", on_stage)
        finally:
            sys.setprofile(None)
    assert stages == 2 * ["load", "observe", "quantize", "lower", "done"]
    assert {path: names for path, names in found.items() if path not in RUN} == {}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("quantization/int4_linear.py", True),
        ("quantization/float8_linear.py", True),
        ("quantization/int8_embedding.py", True),
        ("arrays.py", True),
        ("trajectory.py", True),
        ("networks/bert.py", True),
        ("backends/onnx/int4_linear.py", True),
        ("reports/html.py", False),
        ("cli/app.py", False),
    ],
)
def test_a_changed_byte_changes_the_key(name: str, changes: bool, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(PACKAGE, tmp_path / "gen3dexport", ignore=shutil.ignore_patterns("__pycache__")))
    before = stage_cache.digest_of_sources(copy)
    assert before == stage_cache.digest_of_sources(PACKAGE)
    with (copy / name).open("a") as file:
        file.write("#")
    assert (stage_cache.digest_of_sources(copy) != before) is changes


def test_code_of_other_packages_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_family").mkdir()
    (tmp_path / "other_family" / "__init__.py").write_text("")
    (tmp_path / "other_family" / "network.py").write_text("width = 1\n")
    (tmp_path / "other_backend.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    modules = [importlib.import_module(name) for name in ("other_family", "other_backend")]
    try:
        keys = [stage_cache.key({}, *modules)]
        for path, text in (("other_family/network.py", "width = 2\n"), ("other_backend.py", "SCHEMES = {}\n")):
            (tmp_path / path).write_text(text)
            keys.append(stage_cache.key({}, *modules))
        assert len({*keys, stage_cache.key({})}) == 4
        assert stage_cache.key({}, eager) == stage_cache.key({})
    finally:
        for name in ("other_family", "other_backend"):
            sys.modules.pop(name, None)
