"""The application, and what its commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="gen3dexport",
    help="3D generation models out to ExecuTorch, TPU and CUDA programs, validated from disk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Recipe = Annotated[str, typer.Argument(help="A shipped recipe or a YAML file.", metavar="RECIPE")]
TargetName = Annotated[str, typer.Option("--target", "-t", help="A shipped target, an alias or a YAML file.")]
Assignments = Annotated[list[str] | None, typer.Argument(help="Override single fields.", metavar="[KEY=VALUE]...")]
Bundle = Annotated[Path, typer.Argument(help="A folder made by `gen3dexport build`.", metavar="BUNDLE")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from gen3dexport import __version__

        print(__version__)
        raise typer.Exit


def split_arguments(arguments: list[str]) -> tuple[str, list[str]]:
    """The recipe (trellis-mini when none is named) and the `key=value` overrides."""
    from gen3dexport.errors import UsageError

    names = [a for a in arguments if "=" not in a]
    if len(names) > 1:
        raise UsageError(f"{' '.join(names)}: one recipe at a time; overrides are written key=value")
    return (names[0] if names else "trellis-mini"), [a for a in arguments if "=" in a]


def plan_of(recipe: str, target_name: str, assignments: list[str], allow_pickle: bool = False) -> Any:
    """The plan of a recipe on a target, with `key=value` overrides."""
    from gen3dexport.plan import make_plan, read_recipe, read_target

    target = read_target(target_name)
    return make_plan(read_recipe(recipe, target, assignments), target, allow_pickle)


def emit(as_json: bool, data: Any, text: str) -> None:
    """Print `data` as JSON, or `text`."""
    print(json.dumps(data, indent=1) if as_json else text)
