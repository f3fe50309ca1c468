"""docs/ios.md against the headers: no Swift compiler is at hand, and the names are the part that rots."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INCLUDE = ROOT / "embed" / "cpp" / "include" / "gen3d"
HEADERS = {name: (INCLUDE / name).read_text() for name in ("gen3d.h", "outside.h")}
PLAIN = re.sub(r"/\*.*?\*/", "", "".join(HEADERS.values()), flags=re.DOTALL)
PAGE = (ROOT / "docs" / "ios.md").read_text()
SWIFT = "\n".join(re.findall(r"^```swift\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def _fields(struct: str) -> dict[str, str]:
    """The fields of a struct, and the arguments of those that are functions."""
    found = re.search(rf"typedef struct {struct} \{{(.*?)\}} {struct};", PLAIN, re.DOTALL)
    assert found is not None, struct
    fields = {}
    for line in " ".join(found[1].split()).split(";"):
        pointer = re.search(r"\(\*(\w+)\)\((.*)\)", line)
        name = pointer or re.search(r"(\w+)$", line.strip())
        if name is not None:
            fields[name[1]] = pointer[2] if pointer else ""
    return fields


def _arity(arguments: str) -> int:
    return len([part for part in arguments.split(",") if part.strip() not in ("", "void")])


def test_every_name_of_the_page_is_the_headers() -> None:
    declared = set(re.findall(r"\b(?:gen3d|GEN3D)_\w+", PLAIN))
    used = set(re.findall(r"\b(?:gen3d|GEN3D)_\w+", SWIFT))
    assert used <= declared, used - declared
    assert {"gen3d_open", "gen3d_run", "gen3d_write", "gen3d_close", "gen3d_free_asset", "gen3d_use_runtime"} <= used


def test_functions_are_called_with_as_many_arguments() -> None:
    functions = dict(re.findall(r"GEN3D_API [\w ]+?[ *](gen3d_\w+)\((.*?)\);", " ".join(PLAIN.split())))
    calls = re.findall(r"\b(gen3d_\w+)\(([^()]*)\)", SWIFT)
    checked = [(name, given) for name, given in calls if name in functions]
    assert len(checked) >= 7
    for name, given in checked:
        assert _arity(given) == _arity(functions[name]), (name, given)


def test_fields_and_callbacks_are_the_structs() -> None:
    for variable, struct in (
        ("request", "gen3d_request"),
        ("runtime", "gen3d_runtime"),
        ("tensor", "gen3d_tensor"),
        ("room", "gen3d_tensor"),
    ):
        fields = _fields(struct)
        used = set(re.findall(rf"\b{variable}\.(\w+)\b", SWIFT)) - {"scalars"}
        assert used and used <= set(fields), (struct, used - set(fields))
    for name, given in re.findall(r"runtime\.(\w+) = \{ ([^{}]*?) in\b", SWIFT):
        assert _arity(given) == _arity(_fields("gen3d_runtime")[name]), name
    (given,) = re.findall(r"request\.progress = \{ ([^{}]*?) in\b", SWIFT)
    (progress,) = re.findall(r"\(\*gen3d_progress\)\((.*?)\)", PLAIN)
    assert _arity(given) == _arity(progress)


def test_the_module_map_has_every_header() -> None:
    assert (
        set(re.findall(r'^    header "([\w.]+)"', PAGE, re.MULTILINE))
        == set(HEADERS)
        <= {p.name for p in INCLUDE.iterdir()}
    )


def test_the_sources_that_the_page_leaves_out_are_there() -> None:
    left_out = re.findall(r"`(\w+\.cpp)`", PAGE)
    listed = (ROOT / "embed/cpp/CMakeLists.txt").read_text()
    (names,) = re.findall(r"EXCLUDE REGEX \"/src/\(([\w|]+)\)", listed)
    assert sorted(left_out) == sorted(f"{name}.cpp" for name in names.split("|"))
    assert all((ROOT / "embed/cpp/src" / name).is_file() for name in left_out)
    assert "-ffp-contract=off" in PAGE and "-ffp-contract=off" in listed
