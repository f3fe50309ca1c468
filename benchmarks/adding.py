"""What adding one thing touches: the files outside its own place that speak of one that is there already.

    python benchmarks/adding.py [CHECKOUT...]

For a device, a backend, a scheme and a family, one example each: the files and lines of its own, and the files and
lines of code and data elsewhere whose text has its word (comments and docstrings count, tests and pages do not). A
place that must know of one device, backend, scheme or family by name is a place that the next one may have to edit.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

SEARCHED = ("src/gen3dexport/**/*.py", "targets/*.yaml", "recipes/*.yaml", "pyproject.toml", "Makefile")


@dataclass(frozen=True)
class Example:
    """One thing that is there: its name for people, its word, and the globs of its own files."""

    name: str
    word: str
    own: tuple[str, ...]


EXAMPLES = (
    Example("device `cuda-sm90`", r"sm_?90(?!\d)", ("targets/cuda-sm90.yaml",)),
    Example("device `tpu-v6e`", r"v6e", ("targets/tpu-v6e.yaml",)),
    Example("backend `onnx`", r"onnx", ("src/gen3dexport/backends/onnx/**/*.py", "targets/onnx.yaml")),
    Example("scheme `float8-dynamic`", r"float8-dynamic", ("src/gen3dexport/quantization/float8_linear.py",)),
    Example(
        "family `trellis`",
        r"(?i)trellis|(?<![a-z])slat|occupancy|on.overflow",
        ("src/gen3dexport/models/trellis/**/*.py", "recipes/trellis*.yaml"),
    ),
    Example(
        "family `triposr`",
        r"(?i)triposr|triplane",
        ("src/gen3dexport/models/triposr/**/*.py", "recipes/triposr*.yaml"),
    ),
)


@dataclass(frozen=True)
class Touched:
    """Files and lines: the example's own, and those elsewhere that speak of it (by file)."""

    own: tuple[int, int]
    elsewhere: dict[str, int]


def touched(checkout: Path, example: Example) -> Touched:
    """What one example has of its own in a checkout, and where else its word stands."""
    mine = {path for glob in example.own for path in checkout.glob(glob)}
    mine |= {path for path in checkout.glob("src/gen3dexport/float8_linear.py") if "float8" in example.word}
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in mine)
    elsewhere = {}
    for path in sorted({p for glob in SEARCHED for p in checkout.glob(glob)} - mine):
        found = sum(bool(re.search(example.word, text)) for text in path.read_text(encoding="utf-8").splitlines())
        if found:
            elsewhere[str(path.relative_to(checkout))] = found
    return Touched((len(mine), lines), elsewhere)


def cell(found: Touched) -> str:
    """`own files and lines; files and lines elsewhere`."""
    files, lines = found.own
    return f"{files}, {lines}; {len(found.elsewhere)}, {sum(found.elsewhere.values())}"


def main() -> None:
    """Print, for every checkout, what each example touches."""
    for checkout in map(Path, sys.argv[1:] or [str(Path(__file__).parents[1])]):
        print(checkout)
        for example in EXAMPLES:
            found = touched(checkout, example)
            print(f"  {example.name}: own files, lines; elsewhere: {cell(found)}")
            print(*(f"    {count:3} {name}" for name, count in found.elsewhere.items()), sep="\n")


if __name__ == "__main__":
    main()
