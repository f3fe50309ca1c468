"""Targets: a device or runtime, its backend, that backend's options and how to measure. Data only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field

from gen3dexport.documents.budgets import Budgets
from gen3dexport.documents.document import parse, read_yaml
from gen3dexport.documents.record import Name, Record
from gen3dexport.documents.shipped import documents, locate
from gen3dexport.errors import UsageError


class Measure(Record):
    """How programs are timed: calls that do not count, calls that do, CPU threads.

    Attributes:
        seconds: a program of which so many calls take longer is timed by fewer, five at least.
    """

    warmup: int = Field(default=3, ge=0)
    runs: int = Field(default=20, ge=1)
    threads: int = Field(default=2, ge=1, le=1024)
    seconds: float = Field(default=10, gt=0)


class Target(Record):
    """A file of `targets/`.

    Attributes:
        name: as the file is called; aliases: other names for the command line.
        backend: the module of `backends/` that lowers, loads and runs.
        device: the device, for people.
        machine: the architecture (aarch64, x86_64) that alone gives its times, where there is one.
        default_scheme: what a component gets when the recipe names no scheme.
        options: what the backend's `Options` take.
        measure: how to time; budgets: limits used where the recipe sets none.
    """

    name: Name
    aliases: tuple[Name, ...] = ()
    summary: str
    backend: str
    device: str
    machine: Literal["aarch64", "x86_64"] | None = None
    default_scheme: str = "fp32"
    options: dict[str, Any] = {}
    measure: Measure = Measure()
    budgets: Budgets = Budgets()


@cache
def aliases() -> Mapping[str, str]:
    """Alias -> name, of every shipped target."""
    return {
        alias: name for name, path in documents("targets").items() for alias in read_yaml(path).get("aliases") or ()
    }


def read_target(name: str, checked: Callable[[Mapping[str, Any]], type[Target]] | None = None) -> Target:
    """The target of that name, alias or YAML path; `plan.read_target` checks its backend, scheme and options too.

    Args:
        checked: what a document says -> a model of targets that takes only what its backend does.

    Raises:
        UsageError: with every problem.
    """
    path = locate("targets", name, dict(aliases()))
    data = read_yaml(path)
    if "family" in data and "backend" not in data:
        raise UsageError(f"{path}: is a recipe, where a target is needed; use one of: gen3dexport ls targets")
    if checked is not None:
        parse(data, checked(data), path)
    return parse(data, Target, path)
