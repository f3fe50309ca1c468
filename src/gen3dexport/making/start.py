"""What makes components' entries, and what is known of one that is being made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gen3dexport.making.keys import states_after
from gen3dexport.models.declaration import State
from gen3dexport.plan import Plan

OnStage = Callable[[str, str], None]
"""Called with (component, stage) as a stage begins: load, observe, quantize, lower; cached or wait (for another build
that does the same work) in their place; done when the component is."""


class Making(Protocol):
    """A component's entry that is being made. Both raise GenExportError of the stage that failed, of any component."""

    def states(self) -> list[State]:
        """The pipeline's states after the component, one a prompt."""

    def entry(self) -> Path:
        """The folder of the finished entry."""


@dataclass(frozen=True)
class Made:
    """An entry that is there."""

    path: Path

    def states(self) -> list[State]:
        """See `Making`."""
        return states_after(self.path)

    def entry(self) -> Path:
        """See `Making`."""
        return self.path


class Makers(Protocol):
    """What makes entries."""

    def check(self, plan: Plan) -> None:
        """Check a plan's rules and its weights against its networks' shapes, see `sizing`; before anything is made.

        Raises:
            UsageError: with every problem.
        """

    def start(self, plan: Plan, name: str, states: list[State], on_stage: OnStage) -> Making:
        """Begin a component's entry, as soon as there is a process and memory for it.

        Args:
            states: the pipeline's before the component, one a prompt.
        """
