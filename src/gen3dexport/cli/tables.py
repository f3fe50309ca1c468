"""What the command line prints for people: tables on stdout, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from gen3dexport.cli.time_left import TimeLeft
from gen3dexport.documents.licences import Licences, warning

COLOURS = {"pass": "green", "fail": "red", "unmeasured": "yellow"}


def terminal() -> Console:
    """The console on stdout."""
    return Console(highlight=False, soft_wrap=False)


def columns(*columns: str, title: str | None = None) -> Table:
    """A table without lines, under the names of its columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def size_text(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


@contextmanager
def stages(
    components: Sequence[str], quiet: bool, left: TimeLeft | None = None
) -> Iterator[Callable[[str, str], None]]:
    """Progress on stderr: one line per component and stage, when it ends, with the time it took.

    Args:
        left: what is left of a build, whose components go through their stages side by side: then a stage ends with its
            component's next one, or with "done"; without it, with the next one of any component.
    """
    console = Console(stderr=True, quiet=quiet, highlight=False)
    width = max(map(len, components))
    running: dict[str, tuple[str, float]] = {}

    def finish(component: str) -> None:
        stage, start = running.pop(component)
        console.print(f"{component:{width}}  {stage:9}  [dim]{time.perf_counter() - start:6.1f} s[/dim]")

    with console.status("starting") as status:

        def on_stage(component: str, stage: str) -> None:
            for name in [name for name in running if name == component or left is None]:
                finish(name)
            if stage != "done":
                running[component] = stage, time.perf_counter()
            if left is None:
                status.update(f"{component}: {stage}")
            else:
                left.begins(component, stage)
                status.update(left)

        yield on_stage
        for component in [*running]:
            finish(component)


def say_limits(name: str, licences: Licences) -> None:
    """Say on stderr that a model must not be used commercially, where that is so.

    Args:
        name: of the recipe.
    """
    if (limit := warning(name, licences)) is not None:
        print(limit, file=sys.stderr)


@contextmanager
def progress_bar(count: int | None) -> Iterator[Callable[[], None]]:
    """A bar on a terminal's stderr, with frames a second; what is called after each frame."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("frames"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("frames", total=count, rate="")

        def advance() -> None:
            done = progress.tasks[0]
            progress.update(task, advance=1, rate=f"{(done.completed + 1) / max(done.elapsed or 0, 1e-9):.2f} a second")

        yield advance
