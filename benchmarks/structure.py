"""The import graph of a checkout: rooms, floors, cycles, upward arrows and skipping arrows.

    python benchmarks/structure.py [CHECKOUT] [--violations]

A room is a folder or a module that lies directly in `src/gen3dexport`. An arrow is an import from a module of one room
into a module of another, counted once a pair of modules, wherever in the file it stands: at the top, inside a function,
or under `TYPE_CHECKING` (who names another module's type knows that module). Modules that are found by name at run time
(`importlib`: families, backends, kinds of assets) are no arrows. Nothing is imported: files are parsed.

Two orders are printed. The derived floor of a room is the length of the longest chain of imports below it, rooms of one
cycle standing together; every checkout has one. The declared floor is its place in `FLOORS`, which the test holds
(tests/unit/test_floors.py); a checkout that has other rooms than these has none.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGE = "gen3dexport"

FLOORS = (
    ("gen3dexport", "arrays", "errors", "plugins", "telemetry"),
    ("children", "disk", "machine_memory", "operator_times", "tensor_error", "trajectory"),
    ("documents",),
    ("assets", "bundle"),
    ("pages", "networks", "registry", "web"),
    ("android", "models"),
    ("quantization",),
    ("export",),
    ("backends",),
    ("provenance", "reports"),
    ("plan",),
    ("runtime", "sizing"),
    ("host_steps", "validation"),
    ("observe", "profiling"),
    ("making",),
    ("build",),
    ("matrix", "search"),
    ("cli", "testing"),
    ("__main__",),
)
"""Rooms from the ground up. A room imports rooms of lower floors only: none above it and none beside it."""

Graph = Mapping[str, frozenset[str]]


def modules(checkout: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name without the package's (the package itself keeps its own)."""
    found, root = {}, checkout / "src" / PACKAGE
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts) or PACKAGE] = path
    return found


def graph(checkout: Path) -> Graph:
    """Module -> the modules of this package that it imports."""
    paths = modules(checkout)
    return {name: frozenset(_imports(path, paths)) - {name} for name, path in paths.items()}


def _imports(path: Path, known: Iterable[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}  # a module, or a name inside one
    inside = {name for name in found if name == PACKAGE or name.startswith(f"{PACKAGE}.")}
    return {_module(name.removeprefix(f"{PACKAGE}."), known) for name in inside}


def _module(name: str, known: Iterable[str]) -> str:
    """The module that a dotted name is or lies in."""
    while name not in known:
        name = name.rpartition(".")[0]
        if not name:
            return PACKAGE
    return name


def room(module: str) -> str:
    """The room that a module lies in."""
    return module.partition(".")[0]


def between_rooms(found: Graph) -> list[tuple[str, str]]:
    """Every arrow (module, module) that leaves a room."""
    return sorted((a, b) for a, targets in found.items() for b in targets if room(a) != room(b))


def rooms(found: Graph) -> Graph:
    """Room -> the rooms that it imports."""
    arrows = between_rooms(found)
    return {name: frozenset(room(b) for a, b in arrows if room(a) == name) for name in {room(m) for m in found}}


def cycles(found: Graph) -> list[tuple[str, ...]]:
    """Every set of two or more nodes that reach each other."""
    reached = {node: _reach(found, node) for node in found}
    groups = {tuple(sorted(n for n in reached[node] if node in reached[n])) for node in found if node in reached[node]}
    return sorted(groups)


def _reach(found: Graph, node: str) -> set[str]:
    reached: set[str] = set()
    waiting = [*found[node]]
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting += found[name]
    return reached


def derived_floors(found: Graph) -> dict[str, int]:
    """Node -> the longest chain of imports below it, 1 where there is none; nodes of one cycle stand on one floor."""
    group = {node: nodes for nodes in cycles(found) for node in nodes}
    floors: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in floors:
            together = group.get(node, (node,))
            below = {b for a in together for b in found[a]} - {*together}
            height = 1 + max(map(floor, below), default=0)
            floors.update(dict.fromkeys(together, height))
        return floors[node]

    for node in found:
        floor(node)
    return floors


def declared_floors() -> dict[str, int]:
    """Room -> its place in `FLOORS`, 1 on the ground."""
    return {name: number for number, names in enumerate(FLOORS, 1) for name in names}


def violations(found: Graph) -> list[tuple[str, str]]:
    """Arrows to a room that does not stand on a lower declared floor; rooms that stand on none are left out."""
    floors = declared_floors()
    known = [(a, b) for a, b in between_rooms(found) if room(a) in floors and room(b) in floors]
    return [(a, b) for a, b in known if floors[room(a)] <= floors[room(b)]]


def facts(found: Graph) -> dict[str, str]:
    """What is counted, by the name of the count."""
    arrows, between = between_rooms(found), rooms(found)
    floors, tangled = derived_floors(between), cycles(between)
    inside = [(a, b) for a, b in arrows if any({room(a), room(b)} <= {*names} for names in tangled)]
    drops = [floors[room(a)] - floors[room(b)] for a, b in arrows]
    return {
        "modules": f"{len(found)}",
        "modules in no folder": f"{sum('.' not in name and not _is_folder(name, found) for name in found)}",
        "rooms": f"{len(between)}",
        "floors of rooms (longest chain)": f"{max(floors.values())}",
        "floors of modules (longest chain)": f"{max(derived_floors(found).values())}",
        "cycles between modules (modules in them)": _count(cycles(found)),
        "cycles between rooms (rooms in them)": _count(tangled),
        "arrows between rooms": f"{len(arrows)}",
        "arrows inside cycles of rooms": f"{len(inside)}",
        "arrows that skip a floor": f"{sum(drop > 1 for drop in drops)}",
    }


def _count(groups: list[tuple[str, ...]]) -> str:
    return f"{len(groups)} ({sum(map(len, groups))})"


def _is_folder(name: str, found: Graph) -> bool:
    return any(other.startswith(f"{name}.") for other in found)


def floors_table(found: Graph) -> list[tuple[int, str, str]]:
    """(floor, room, the rooms that it imports) from the top down, by the derived floors."""
    between = rooms(found)
    floors = derived_floors(between)
    ordered = sorted(between, key=lambda name: (-floors[name], name))
    return [(floors[name], name, " ".join(sorted(between[name], key=lambda n: (-floors[n], n)))) for name in ordered]


def main() -> None:
    """Print what the graph holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--violations", action="store_true", help="only arrows against the declared floors, to paste")
    given = parser.parse_args()
    found = graph(given.checkout)
    if given.violations:
        print(*(f'    ("{a}", "{b}"),' for a, b in violations(found)), sep="\n")
        return
    for floor, name, below in floors_table(found):
        print(f"{floor:3} {name:16} {below}")
    for what, value in facts(found).items():
        print(f"{what}: {value}")
    print(f"arrows up or sideways by the declared floors: {len(violations(found))}")
    for kind, groups in (("modules", cycles(found)), ("rooms", cycles(rooms(found)))):
        for names in groups:
            print(f"cycle between {kind}: {' '.join(names)}")


if __name__ == "__main__":
    main()
