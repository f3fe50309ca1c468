"""How long a build still takes, by how long its stages took the last time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from pydantic import Field, ValidationError

from gen3dexport.disk import write_atomically
from gen3dexport.documents.caches import cache_folder, private_folder
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError

_KIND = "times"
_LAST = "bundle"
"""What stands in a component's place where all are judged together, after them."""


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Past(Record):
    """A build of the same recipe on the same target.

    Attributes:
        seconds: component -> stage -> how long it took.
        side_by_side: seconds of the whole by those of all components' stages: less than 1 where some ran at a time.
    """

    seconds: dict[str, dict[str, Seconds]]
    side_by_side: Seconds


class TimeLeft:
    """What is left of a build, which tells it each stage that begins."""

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        """Args:
        name: of the recipe and the target, for the file of past times.
        """
        self._file, self._now = f"{name}.json", now
        self._start = now()
        self._past = self._read()
        self._running: dict[str, tuple[str, float]] = {}
        self._seconds: dict[str, dict[str, float]] = {}
        self._whole: set[str] = set()  # components that are done, or cached
        self._cached: set[str] = set()

    def begins(self, component: str, stage: str) -> None:
        """A stage of a component begins, or (`done`, `cached`) nothing of it is left."""
        if component in self._running:
            before, start = self._running.pop(component)
            if before != "wait":
                self._seconds.setdefault(component, {})[before] = self._now() - start
        if stage == "cached":
            self._cached.add(component)
        if stage in ("done", "cached"):
            self._whole.add(component)
        else:
            self._running[component] = stage, self._now()

    def __rich__(self) -> str:
        """What runs, and what is left where it is known; rich asks while it shows it."""
        running = ", ".join(f"{name}: {stage}" for name, (stage, _) in self._running.items()) or "starting"
        left = self.seconds()
        return running if left is None else f"{running}; about {_text(left)} left"

    def seconds(self) -> float | None:
        """Seconds that are left; None where no build of this recipe and target has ended here."""
        if self._past is None:
            return None
        of = {name: self._left_of(name, past) for name, past in self._past.seconds.items()}
        last = of.pop(_LAST, 0.0)
        return self._past.side_by_side * sum(of.values()) + last

    def _left_of(self, component: str, past: dict[str, float]) -> float:
        if component in self._whole:
            return 0.0
        ended = self._seconds.get(component, {})
        left = sum(seconds for stage, seconds in past.items() if stage not in ended)
        if component not in self._running:
            return left
        stage, start = self._running[component]
        return left - min(past.get(stage, 0.0), self._now() - start)

    def keep(self) -> None:
        """Keep the times of this build, which has ended, for the next one; a cached component keeps its former ones."""
        self.begins(_LAST, "done")
        before = self._past or Past(seconds={}, side_by_side=1.0)
        made = {name: stages for name, stages in self._seconds.items() if name not in self._cached}
        former = {name: stages for name, stages in before.seconds.items() if name in (*self._cached, _LAST)}
        of_components = sum(sum(stages.values()) for name, stages in made.items() if name != _LAST)
        whole = self._now() - self._start - sum(made.get(_LAST, {}).values())
        share = before.side_by_side if self._cached or not of_components else min(1.0, whole / of_components)
        kept = Past(seconds={**former, **made}, side_by_side=share)
        with suppress(OSError, UsageError):  # the build is whole without
            write_atomically(private_folder(_KIND) / self._file, kept.model_dump_json().encode())

    def _read(self) -> Past | None:
        with suppress(OSError, ValidationError, json.JSONDecodeError):
            return Past.model_validate_json((cache_folder(_KIND) / self._file).read_bytes())
        return None


def _text(seconds: float) -> str:
    """Seconds for people, never more exact than they are."""
    if seconds < 10:
        return "10 s"
    return f"{10 * round(seconds / 10)} s" if seconds < 120 else f"{round(seconds / 60)} min"
