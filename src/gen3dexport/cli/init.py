"""`gen3dexport init`: what blocks of one's own model each target takes, and a recipe to begin with."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gen3dexport.cli.app import Json, emit, require_folder
from gen3dexport.errors import ExportError, UsageError

EXAMPLE = "gen3dexport init --from my_models.net:Net --shape x=1,3,64,64 -o my-recipe.yaml"
_LARGEST_AXIS = 2**31


def init(
    factory: Annotated[
        str, typer.Option("--from", metavar="PACKAGE.MODULE:NAME", help="A torch module's class, or what makes one.")
    ],
    example: Annotated[
        Path | None, typer.Option("--example", metavar="FILE", help="A .safetensors file of real inputs by name.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="NAME=1,3,64,64", help="Shape of an input of noise; may be given again."),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option("--argument", metavar="NAME=VALUE", help="What it is called with; may be given again."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Targets to try (default: one of each backend).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The recipe.")] = Path("recipe.yaml"),
    as_json: Json = False,
) -> None:
    """Try a model of one's own on targets, say what fails where, and write a recipe.

    The module's code is imported and run.
    """
    from gen3dexport.documents.document import parse_assignment
    from gen3dexport.plan import read_target

    _check_place(out)
    arguments = dict(parse_assignment(text) for text in argument or [])
    knobs = _knobs(factory, example, _shapes(shape or []), arguments)
    from gen3dexport.search.first_recipe import TARGETS

    names = [read_target(name).name for name in (target or TARGETS)]
    result = examine(knobs, names, lambda text: print(text, file=sys.stderr))
    result["recipe"] = str(out)
    words = ["init", "--from", factory, *(f"--shape {text}" for text in shape or [])]
    _write(out, _recipe(knobs, result, f"gen3dexport {' '.join(words)}"))
    emit(as_json, {key: value for key, value in result.items() if key != "settings"}, told(result, out))
    if all(row["state"] != "works" for row in result["targets"]):
        raise ExportError(f"{factory}: no target takes it as it is; change the lines above, and run init again")


def _knobs(factory: str, example: Path | None, shapes: dict[str, Any], arguments: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    from gen3dexport.documents.record import told as lines
    from gen3dexport.models.custom.host.settings import Knobs

    try:
        return Knobs(factory=factory, example=str(example or ""), inputs=shapes, arguments=dict(arguments))
    except ValidationError as error:
        raise UsageError(f"init: {lines(error)}") from None


def examine(knobs: Any, targets: Sequence[str], say: Any) -> dict[str, Any]:
    """The parts of a factory's pipeline, and what each target takes of them.

    Raises:
        UsageError: when the factory gives no pipeline that runs in eager mode.
    """
    from gen3dexport.models.custom.host.reading import read_settings
    from gen3dexport.models.custom.host.settings import OWN, Knobs
    from gen3dexport.search.first_recipe import tried

    settings = read_settings(Knobs.WEIGHTS.folder(OWN, "init"), knobs, False)
    rows = []
    for name in targets:
        rows.append(tried(knobs, name, lambda block, name=name: say(f"{name}: {block}")))  # type: ignore[misc]
    specs = {n: {"shape": list(s.shape), "dtype": s.dtype} for n, s in {**settings.takes, **settings.gives}.items()}
    parts = [
        {"name": p.name, "inputs": {n: specs[n] for n in p.inputs}, "outputs": {n: specs[n] for n in p.outputs}}
        for p in settings.parts
    ]
    return {"factory": knobs.factory, "parts": parts, "targets": rows, "settings": settings}


def _recipe(knobs: Any, result: Mapping[str, Any], command: str) -> str:
    from gen3dexport.search.first_recipe import recipe

    name = re.sub(r"[^\w.+-]+", "-", knobs.factory.partition(":")[2]).strip("-") or "model"
    return recipe(name, result["settings"], knobs, result["targets"], command)


def told(result: Mapping[str, Any], out: Path) -> str:
    """What came of every target, for people."""
    lines = []
    for part in result["parts"]:
        inputs, outputs = (
            ", ".join(f"{n} {s['dtype']} {s['shape']}" for n, s in part[what].items()) for what in ("inputs", "outputs")
        )
        lines.append(f"{part['name']}: {inputs} -> {outputs}")
    for row in result["targets"]:
        lines += ["", *_target_lines(row)]
    works = [row["target"] for row in result["targets"] if row["state"] == "works"]
    lines += ["", f"{out}: the recipe" + (f"; next: gen3dexport build {out} --target {works[0]}" if works else "")]
    return "\n".join(lines)


def _target_lines(row: Mapping[str, Any]) -> list[str]:
    if row["state"] == "missing":
        return [f"{row['target']}: not tried", *(f"  {line}" for line in row["missing"])]
    whole = [trial for trial in row["trials"] if "." not in trial["block"]]
    if row["state"] == "works":
        ran = all(trial["ran"] for trial in whole)
        how = "lowered, loaded and run: eager's numbers" if ran else "lowered; its device is not here to run it"
        return [f"{row['target']}: works ({how}), {row['seconds']} s"]
    lines = [f"{row['target']}: fails, {row['seconds']} s"]
    for trial in row["trials"]:
        what = f"  {trial['block']} ({trial['type']})"
        if trial["works"]:
            lines.append(f"{what}: works" + (f", as {trial['alike']}" if trial["alike"] else ""))
            continue
        same = f", as {trial['alike']}" if trial["alike"] else ""
        place = f" at {trial['line']}" if trial["line"] else ""
        operator = f": {trial['operator']}" if trial["operator"] else ""
        lines.append(f"{what}: fails in {trial['stage']}{operator}{place}{same}")
        if not trial["alike"]:
            lines.append(f"    {trial['message']}")
            lines += [f"    instead: {trial['rewrite']}"] if trial["rewrite"] else []
    return lines


def _shapes(texts: Sequence[str]) -> dict[str, Any]:
    """`x=1,3,64,64` as a shape by name."""
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, sizes = text.partition("=")
        parts = [part.strip() for part in re.split(r"[,x]", sizes)]
        if not sign or not name.strip() or not all(p.isdecimal() and 0 < int(p) < _LARGEST_AXIS for p in parts):
            raise UsageError(f"--shape {text}: write NAME=SIZE,SIZE,..., e.g. --shape x=1,3,64,64")
        if name.strip() in found:
            raise UsageError(f"--shape {name.strip()}: given twice; leave one out")
        found[name.strip()] = tuple(int(part) for part in parts)
    return found


def _check_place(out: Path) -> None:
    """Refuse a recipe that could not be written, before minutes of trials."""
    if out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{out}: a recipe is a .yaml file; name one")
    if out.exists():
        raise UsageError(f"{out}: exists; choose another name with -o")
    require_folder(out)


def _write(out: Path, text: str) -> None:
    from gen3dexport.disk import disk_error

    try:
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise disk_error(error, out) from error
