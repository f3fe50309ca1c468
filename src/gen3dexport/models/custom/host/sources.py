"""Which files a factory's code stands in, so that a changed one gives another build; none of them is run. No torch."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from gen3dexport.bundle.files import digest
from gen3dexport.bundle.stage_cache import digest_of_sources

_INSTALLED = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
_OWN = Path(__file__).resolve().parents[3]


def digests(module: str) -> dict[str, str]:
    """SHA-256 of a module's file and of every module that it imports, wherever the import stands, by module name.

    Installed packages are left out (their versions are in the manifest); of a module of an installed package it is the
    whole package's, under its name. What is imported by a computed name is not seen.
    """
    own = module.partition(".")[0]
    if (top := _spec(own)) is not None and top.origin is not None and not of_user(Path(top.origin).resolve()):
        places = top.submodule_search_locations
        return {own: digest_of_sources(Path(next(iter(places)) if places else top.origin))}
    found: dict[str, str] = {}
    waiting = [*_with_parents(module)]
    while waiting:
        name = waiting.pop()
        if name in found or (spec := _spec(name)) is None or spec.origin is None:
            continue
        path = Path(spec.origin).resolve()
        if path.suffix != ".py" or not of_user(path):
            continue
        found[name] = digest(path)
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        waiting += [one for imported in _imports(path, package) for one in _with_parents(imported)]
    return dict(sorted(found.items()))


def _with_parents(name: str) -> list[str]:
    """`a.b.c`, `a.b` and `a`: Python runs them all."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def of_user(path: Path) -> bool:
    """Whether a file is of nobody's installed package."""
    return not path.is_relative_to(_OWN) and not any(path.is_relative_to(folder) for folder in _INSTALLED)


def _spec(name: str) -> ModuleSpec | None:
    """Where a module stands, without importing it or a package around it; none for a class, a function, or what is not
    installed."""
    parent = name.rpartition(".")[0]
    try:
        if not parent:
            return None if not name or name in sys.stdlib_module_names else importlib.util.find_spec(name)
        around = _spec(parent)
        places = None if around is None else around.submodule_search_locations
        return None if places is None else PathFinder.find_spec(name, list(places))
    except (ImportError, ValueError):
        return None


def _imports(path: Path, package: str) -> Iterator[str]:
    """Names that a file imports; `from a import b` gives `a.b`, too, which may be a module."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                around = ".".join(parts[: len(parts) - node.level + 1])
                base = f"{around}.{base}" if base else around
            if base:
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
