"""The application, and what its commands share."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from gen3dexport.errors import UsageError

COMMANDS = {
    "build": "Build a bundle for a target and validate it",
    "matrix": "Build recipes on targets, one report",
    "validate": "Run a bundle's programs and judge them",
    "run": "Make an asset with a bundle",
    "web": "Write a page that makes assets in the browser",
    "serve": "Serve such a page on this machine",
    "android": "Write an Android project that makes assets",
    "plan": "Show what would be built",
    "init": "Try a model of one's own, write its recipe",
    "ls": "List recipes, targets, families and schemes",
    "show": "Print a shipped recipe or target",
    "cp": "Copy a shipped recipe or target to change it",
    "verify": "Check a bundle's files and signature",
    "inspect": "Show a bundle's programs, sizes and operators",
    "doctor": "Say what is missing here and how to mend it",
    "parity": "Compare a network with golden data",
    "profile": "Show where a bundle's time and memory go",
    "compare": "Compare two bundles or reports",
    "sensitivity": "Show what quantizing each layer costs",
    "tune": "Search which layers to quantize",
    "cache": "Show or prune what is kept between commands",
    "embed-kit": "Write golden values for embedders",
    "sbom": "Write a bundle's bill of materials",
    "sign": "Sign a bundle",
    "push": "Send a bundle to an OCI registry",
    "pull": "Get a bundle from an OCI registry",
}
"""Commands in the order of `--help`, and what that says of them: no line of it is cut on 80 columns. Each is a function
in the module of its name (`_` for `-`), with an EXAMPLE beside it."""

DEFAULT_RECIPE = "trellis-mini"
LARGEST_SEED = 2**63 - 1


def module_name(command: str) -> str:
    """The module of a command, and its function there."""
    return command.replace("-", "_")


class Command(TyperCommand):
    """A command whose numbers are finite, and whose module may have `notes()`: text that `--help` ends with.

    Of an argument that may be given several times, the help says its name alone: Typer's `<list[str]>` is Python.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The arguments and options."""
        for parameter in self.params:
            if parameter.nargs == -1:
                vars(parameter)["display_type_rich"] = lambda ctx: None
        super().format_options(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments; `nan` and `inf`, which Python reads as numbers, are refused."""
        rest: list[str] = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"{value} is no finite number", ctx=ctx, param_hint=f"'{parameter.opts[0]}'")
        return rest

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The example, and the notes."""
        super().format_epilog(ctx, formatter)
        notes = getattr(import_module(f"gen3dexport.cli.{module_name(str(self.name))}"), "notes", None)
        if notes is not None:
            formatter.write_paragraph()
            formatter.write(notes() + "\n")


class Commands(TyperGroup):
    """The commands: the module of one is imported when that one is asked for, all of them for `--help`."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        name = module_name(cmd_name)
        module = import_module(f"gen3dexport.cli.{name}")
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        example = f"Example: {module.EXAMPLE}"
        alone.command(cmd_name, cls=Command, short_help=COMMANDS[cmd_name], epilog=example)(getattr(module, name))
        return typer.main.get_command(alone)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that arguments start with; an unknown one is told with the nearest name."""
        if args[0] not in COMMANDS:
            from gen3dexport.documents.shipped import did_you_mean

            ctx.fail(f"{args[0]!r}: no such command{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="gen3dexport",
    cls=Commands,
    help="3D generation models out to ExecuTorch, TPU and CUDA programs, validated from disk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
RecipeAndOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"A shipped recipe or a YAML file (default {DEFAULT_RECIPE}), then what to override in it.",
        metavar="RECIPE|KEY=VALUE",
    ),
]
TargetName = Annotated[str, typer.Option("--target", "-t", help="A shipped target, an alias or a YAML file.")]
Bundle = Annotated[Path, typer.Argument(help="A folder made by `gen3dexport build`.", metavar="BUNDLE")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from gen3dexport import __version__

        print(__version__)
        raise typer.Exit


def split_arguments(arguments: Sequence[str] | None) -> tuple[str, list[str]]:
    """The recipe, the default one where none is named, and the `key=value` overrides.

    Raises:
        UsageError: for a target among them, or two recipes.
    """
    names = [word for word in arguments or () if "=" not in word]
    if (target := next((word for word in names if is_target(word)), None)) is not None:
        raise UsageError(f"{target!r}: is a target and no recipe; did you mean --target {target}?")
    if len(names) > 1:
        raise UsageError(f"{' '.join(names)}: one recipe at a time; overrides are written key=value")
    return (names[0] if names else DEFAULT_RECIPE), [word for word in arguments or () if "=" in word]


def plan_of(recipe: str, target_name: str, assignments: list[str], allow_pickle: bool = False) -> Any:
    """The plan of a recipe on a target, with `key=value` overrides."""
    from gen3dexport.plan import make_plan, read_recipe, read_target

    target = read_target(target_name)
    read = read_recipe(recipe, target, assignments)
    _check_seeds(read)
    if read.licences.notice:  # before anything of the model is downloaded or read
        print(f"{read.name}: {read.licences.notice.strip()}", file=sys.stderr)
    return make_plan(read, target, allow_pickle)


def is_target(word: str) -> bool:
    """Whether a word is the name or an alias of a shipped target."""
    from gen3dexport.documents.shipped import documents
    from gen3dexport.documents.target import aliases

    return word in documents("targets") or word in aliases()


def _check_seeds(recipe: Any) -> None:
    seeds = {"golden.seed": recipe.golden.seed, "calibration.seed": recipe.calibration and recipe.calibration.seed}
    problems = [
        f"recipe {recipe.name}: {field}: needs a whole number from 0 to {LARGEST_SEED} (got {seed}); none is drawn, so "
        "that a build can be repeated"
        for field, seed in seeds.items()
        if seed is not None and not 0 <= seed <= LARGEST_SEED
    ]
    if problems:
        raise UsageError.of(problems)


def require_folder(path: Path) -> None:
    """See that a file can be made at `path`, before there is anything to write.

    Raises:
        UsageError: when its folder is not there.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}; make it, or choose another place")


def emit(as_json: bool, data: Any, text: str) -> None:
    """Print `data` as JSON, or `text`."""
    print(json.dumps(data, indent=1) if as_json else text)
