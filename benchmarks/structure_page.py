"""Writes docs/structure.md: the import graph of an older checkout and of this one, and what adding one thing touches.

    python benchmarks/structure_page.py CHECKOUT_BEFORE

Needs the history between the two commits: arrows up or sideways of the older one are counted with each module in the
room that it moved to since (`git log` knows the renames).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import adding
import structure
from markdown_table import table

HERE = Path(__file__).parents[1]
TEXT = """# Structure, before and after

`python benchmarks/structure_page.py CHECKOUT_OF_5aa9f15` makes this page from the import graphs of two commits.
A room is a folder or a module directly in `src/gen3dexport`; an arrow is an import between modules of two rooms, also
inside functions and under `TYPE_CHECKING`. Arrows up or sideways are those against the floors of
[CONTRIBUTING](../CONTRIBUTING.md); the older commit's are counted with each module in the room that it has moved to.

{counts}

## Rooms at {commit}

The floor is the longest chain of imports below a room; rooms of one cycle stand together.

{rooms}

## What adding one thing touches

`python benchmarks/adding.py` counts, for one example each: files and lines of its own; files and lines elsewhere in
code and data that have its word (comments count). Those are places that the next one may have to edit.

{adding}
"""


def git(checkout: Path, *arguments: str) -> str:
    """What git says in a checkout."""
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def moved(before: Path, after: Path) -> dict[str, str]:
    """Module of the older checkout -> its name in the later one, by the renames between their commits."""
    between = f"{git(before, 'rev-parse', 'HEAD')}..HEAD"
    log = git(after, "log", "--reverse", "-M", "--diff-filter=R", "--name-status", "--format=", between, "--", "src")
    names = {
        str(path.relative_to(before)): str(path.relative_to(before)) for path in structure.modules(before).values()
    }
    for line in filter(None, log.splitlines()):
        _, old, new = line.split("\t")
        names |= {first: new for first, last in names.items() if last == old}
    after_names = {str(path.relative_to(after)): name for name, path in structure.modules(after).items()}
    modules = {str(path.relative_to(before)): name for name, path in structure.modules(before).items()}
    return {modules[first]: after_names.get(last, modules[first]) for first, last in names.items()}


def upward(before: Path, after: Path) -> list[str]:
    """Counts of arrows up or sideways in both checkouts."""
    names = moved(before, after)
    old = {names[a]: frozenset(names[b] for b in below) for a, below in structure.graph(before).items()}
    return [f"{len(structure.violations(found))}" for found in (old, structure.graph(after))]


def page(before: Path, after: Path) -> str:
    """The text of docs/structure.md."""
    both = before, after
    commits = [git(checkout, "log", "-1", "--format=`%h` (%cs)") for checkout in both]
    found = [structure.facts(structure.graph(checkout)) for checkout in both]
    counts = [(what, *(facts[what] for facts in found)) for what in found[0]]
    counts += [("arrows up or sideways by the declared floors", *upward(before, after))]
    floors = [(str(floor), name, below) for floor, name, below in structure.floors_table(structure.graph(after))]
    costs = [(e.name, *(adding.cell(adding.touched(c, e)) for c in both)) for e in adding.EXAMPLES]
    return TEXT.format(
        counts=table(["", *commits], counts),
        commit=commits[1],
        rooms=table(["floor", "room", "imports"], floors),
        adding=table(["", *commits], costs),
    )


if __name__ == "__main__":
    (HERE / "docs" / "structure.md").write_text(page(Path(sys.argv[1]), HERE), encoding="utf-8")
